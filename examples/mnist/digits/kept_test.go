package digits

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMNISTIsKeptUnpacked(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv("HOME", cache)
	load := func(what string) {
		t.Helper()
		train, test, err := Files{}.Load()
		if err != nil || train.Len() != 60000 || test.Len() != 10000 {
			t.Fatalf("%s: %d and %d images: %v", what, train.Len(), test.Len(), err)
		}
	}
	load("nothing kept")
	kept, err := keptMNIST(mnist.TestLabels)
	if err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(filepath.Dir(kept.Path))
	if err != nil || len(left) != 4 {
		t.Fatalf("%d files are kept, want 4: %v", len(left), err)
	}
	// What is kept needs no go command.
	path := os.Getenv("PATH")
	t.Setenv("PATH", cache)
	load("all kept")

	// What was altered is not used.
	t.Setenv("PATH", path)
	data, err := os.ReadFile(kept.Path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 1
	if err := os.WriteFile(kept.Path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	load("altered")
	if again, err := os.ReadFile(kept.Path); err != nil || again[len(data)-1] == data[len(data)-1] {
		t.Errorf("the altered file is still kept: %v", err)
	}
}
