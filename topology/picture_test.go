package topology

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

func TestPicturesLookAsTheyDid(t *testing.T) {
	for _, c := range []struct {
		file, name string
		kind       Kind
		np, hosts  int
		bytes      int64
	}{
		{"ring-4", "ring", AllReduce, 4, 2, 1 << 20},
		{"chosen-12", "", AllReduce, 12, 3, 4096},
		{"hierarchical-5", "hierarchical-4", AllReduce, 5, 2, 1 << 20},
		{"broadcast-6", "binomial", Broadcast, 6, 2, 4096},
	} {
		t.Run(c.file, func(t *testing.T) {
			p, err := NewPicture(Uniform(c.np, c.hosts), Collective{Kind: c.kind}, c.name, c.bytes, TenGigabit())
			if err != nil {
				t.Fatal(err)
			}
			var text, svg bytes.Buffer
			if err := errors.Join(Describe(&text, p), DrawSVG(&svg, p)); err != nil {
				t.Fatal(err)
			}
			golden(t, c.file+".txt", text.Bytes())
			golden(t, c.file+".svg", svg.Bytes())
			for d := xml.NewDecoder(&svg); ; {
				if _, err := d.Token(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatalf("the SVG is not XML: %v", err)
				}
			}
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; run with -update and look at the difference. Got:\n%s", path, got)
	}
}

func TestPictureRefusesWhatIsNotThere(t *testing.T) {
	for _, c := range []struct {
		np   int
		of   Collective
		name string
		want string
	}{
		{0, Collective{}, "ring", "0 ranks"},
		{4, Collective{}, "rink", `no all-reduce algorithm "rink": choose one of ring, hierarchical-16`},
		{4, Collective{Kind: Broadcast, Root: 4}, "", "root 4 is not a rank: want 0 to 3"},
	} {
		_, err := NewPicture(Uniform(c.np, 1), c.of, c.name, 1024, Loopback())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want %q", c, err, c.want)
		}
	}
}
