package cluster

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func TestKeyIsMadeOnceAndKeptPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config", "gorun", "cluster.key")
	_, err := ReadKey(path)
	wants(t, err, ErrKey, path, "gorun agent", "ssh HOST")
	keys := make([]Key, 8)
	made := make([]string, 8)
	var makers sync.WaitGroup
	for i := range keys {
		makers.Go(func() {
			var err error
			if keys[i], made[i], err = EnsureKey(path); err != nil {
				t.Error(err)
			}
		})
	}
	makers.Wait()
	told := 0
	for i := range keys {
		if keys[i] != keys[0] || keys[i] == (Key{}) {
			t.Errorf("maker %d has another key than maker 0, or none", i)
		}
		if made[i] != "" {
			told++
		}
	}
	if told != 1 {
		t.Errorf("%d makers say that they made it, want 1", told)
	}
	for _, c := range []struct {
		path string
		mode os.FileMode
	}{{path, 0o600}, {filepath.Dir(path), 0o700}} {
		if info, err := os.Stat(c.path); err != nil || info.Mode().Perm() != c.mode {
			t.Errorf("%s has mode %v (%v), want %v", c.path, info.Mode(), err, c.mode)
		}
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
	if text := fmt.Sprintf("%v %s", keys[0], keys[0]); text != "a cluster key a cluster key" {
		t.Errorf("printed as %s", text)
	}
}

func TestKeyThatOthersMayReadIsRefused(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "cluster.key")
	for _, c := range []struct {
		name  string
		bytes int
		file  os.FileMode
		dir   os.FileMode
		parts []string
	}{
		{"group", 32, 0o640, 0o700, []string{path, "640", "chmod 600"}},
		{"others", 32, 0o604, 0o700, []string{path, "604", "chmod 600"}},
		{"folder", 32, 0o600, 0o777, []string{dir, "777", "chmod 700"}},
		{"short", 31, 0o600, 0o700, []string{path, "32 bytes", "copy"}},
		{"long", 33, 0o600, 0o700, []string{path, "32 bytes", "copy"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.WriteFile(path, bytes.Repeat([]byte{1}, c.bytes), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, c.file); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(dir, c.dir); err != nil {
				t.Fatal(err)
			}
			_, _, err := EnsureKey(path)
			wants(t, err, ErrKey, c.parts...)
			if Status(err) != 77 {
				t.Errorf("status %d, want 77", Status(err))
			}
		})
	}
}

func TestKeysForPurposesDiffer(t *testing.T) {
	a, b := Key{1}, Key{2}
	if bytes.Equal(a.derive("x"), a.derive("y")) || bytes.Equal(a.derive("x"), b.derive("x")) {
		t.Error("one key for two purposes, or of two clusters")
	}
}
