package digits

import (
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// unpacked are the SHA-256 of MNIST's files as they are kept.
var unpacked = map[string]string{
	mnist.TrainImages.Path: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
	mnist.TrainLabels.Path: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
	mnist.TestImages.Path:  "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
	mnist.TestLabels.Path:  "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}

// keptMNIST is where one of MNIST's files is kept unpacked, in the user's cache. To unpack it takes
// a quarter of a second, for which all others wait when a rank is started anew.
func keptMNIST(packed File) (File, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return File{}, err
	}
	return File{filepath.Join(dir, "gorun", "mnist", strings.TrimSuffix(packed.Path, ".gz")), unpacked[packed.Path]}, nil
}

// unpack writes what a file holds to another one, which is there as a whole or not at all. Several
// processes may do so at once.
func unpack(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	packed, err := gzip.NewReader(in)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	out, err := os.CreateTemp(filepath.Dir(to), "."+filepath.Base(to)+"-")
	if err != nil {
		return err
	}
	_, err = io.Copy(out, packed)
	if err = errors.Join(err, out.Close()); err == nil {
		err = os.Rename(out.Name(), to)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(out.Name()))
	}
	return err
}
