package checkpoint

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestRetainKeepsTheNewest(t *testing.T) {
	dir := t.TempDir()
	for _, step := range []int{9, 10, 1_000_000_000, 11, 100} {
		mustWrite(t, dir, step)
	}
	// Neither a damaged one nor the twin of a kept one counts as kept.
	if err := os.Remove(filepath.Join(mustWrite(t, dir, 50), modelName)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(mustWrite(t, dir, 101), filepath.Join(dir, stepName(100)+asideMark+"X")); err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(dir, "notes")
	if err := os.Mkdir(foreign, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Retain(dir, 3); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, name := range listing(t, dir) {
		if !strings.Contains(name, "/") {
			got = append(got, name)
		}
	}
	want := []string{"notes", "step-000000011", "step-000000050", "step-000000100", "step-1000000000"}
	if !slices.Equal(got, want) {
		t.Errorf("kept %v, want %v", got, want)
	}
	if err := Retain(dir, 0); err == nil {
		t.Error("Retain 0 was accepted")
	}
	if err := Retain(filepath.Join(dir, "absent"), 1); err != nil {
		t.Error(err)
	}
}

// Leftovers go with the next write, the next Latest and the next Retain, but not while a
// writer lives, and never anything that has another name.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	mustWrite(t, dir, 1)
	left := filepath.Join(dir, tempPrefix+rand.Text())
	other := filepath.Join(dir, tempPrefix+"x")
	plant := func() {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(left, "inner"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	is := func(want bool, after string) {
		t.Helper()
		if _, err := os.Lstat(left); (err == nil) != want {
			t.Errorf("after %s the leftover: %v", after, err)
		}
		if _, err := os.Lstat(other); err != nil {
			t.Errorf("after %s: %v", after, err)
		}
	}
	plant()
	mustWrite(t, dir, 2)
	is(false, "Write")
	plant()
	wantLatest(t, dir, 2)
	is(false, "Latest")
	plant()
	if err := Retain(dir, 1); err != nil {
		t.Fatal(err)
	}
	is(false, "Retain")
	plant()
	unlock := lockShared(dir)
	mustWrite(t, dir, 3)
	wantLatest(t, dir, 3)
	is(true, "Write and Latest beside a live writer")
	unlock()
	wantLatest(t, dir, 3)
	is(false, "the writer's end")
}

// Readers beside a writer that also removes what is old see whole checkpoints, never an
// older one than before, and nothing damaged.
func TestReadersBesideAWriter(t *testing.T) {
	dir := t.TempDir()
	mustWrite(t, dir, 1)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			seen := 0
			for {
				m, tensors, path, skipped, err := Latest(dir)
				switch {
				case err != nil || len(skipped) > 0:
					t.Errorf("after step %d: skipped %v, %v", seen, skipped, err)
				case m.Step < seen:
					t.Errorf("step %d after step %d", m.Step, seen)
				case !same(tensors, sample(m.Step)):
					t.Errorf("%s is not of step %d", path, m.Step)
				}
				seen = m.Step
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for step := range 60 {
		mustWrite(t, dir, step+2)
		if err := Retain(dir, 1); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	readers.Wait()
}

// Writers of one step at the same time, as a fenced rank and its successor may be, leave
// one of the states whole.
func TestWritersOfOneStep(t *testing.T) {
	dir := t.TempDir()
	mustWrite(t, dir, 1)
	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() {
			for range 10 {
				if _, err := Write(context.Background(), dir, meta(2), sample(2)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	wantLatest(t, dir, 2)
	if err := Retain(dir, 1); err != nil {
		t.Error(err)
	}
	if got := listing(t, dir); len(got) != 3 {
		t.Errorf("left behind: %v", got)
	}
}
