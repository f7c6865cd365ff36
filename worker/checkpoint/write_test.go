package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/gorun-ml/gorun/kernels"
)

// second is another state of step 7.
func second() []Tensor {
	s := sample(7)
	kernels.As[float32](s[0].Data)[0] = -1
	return s
}

// holds says which of the two states the newest checkpoint in dir is.
func holds(t *testing.T, dir string, before, after []Tensor) (isAfter bool) {
	t.Helper()
	_, tensors, path, skipped, err := Latest(dir)
	if err != nil {
		t.Fatalf("Latest: %v; files %v", err, listing(t, dir))
	}
	if len(skipped) > 0 {
		t.Fatalf("Latest skipped %v; files %v", skipped, listing(t, dir))
	}
	if !same(tensors, before) && !same(tensors, after) {
		t.Fatalf("%s is neither the old nor the new one: %v", path, tensors)
	}
	return same(tensors, after)
}

// quickWrite writes without waiting for the disk.
func quickWrite(t *testing.T, dir string, step int) {
	t.Helper()
	d := &crashDisk{cut: -1}
	defer d.close()
	if _, err := write(context.Background(), d, dir, meta(step), sample(step)); err != nil {
		t.Fatal(err)
	}
}

// everyPoint runs a write over a checkpoint of step 7, once for each operation and every
// stride-th byte of it at which a disk made by make fails, until one run passes undisturbed.
func everyPoint(t *testing.T, stride int64, make func() *crashDisk, after func(t *testing.T, dir string, d *crashDisk, before, want []Tensor, err error)) {
	for _, c := range []struct {
		name string
		meta Meta
		want []Tensor
	}{
		{"the next step", meta(8), sample(8)},
		{"the same step", meta(7), second()},
	} {
		t.Run(c.name, func(t *testing.T) {
			one := func(name string, d *crashDisk) (failed bool) {
				t.Run(name, func(t *testing.T) {
					defer d.close()
					dir := t.TempDir()
					quickWrite(t, dir, 7)
					_, err := write(context.Background(), d, dir, c.meta, c.want)
					failed = err != nil
					after(t, dir, d, sample(7), c.want, err)
				})
				return failed
			}
			n := 1
			for ; ; n++ {
				d := make()
				d.at = n
				one(fmt.Sprintf("operation %d", n), d)
				if d.ops < n { // past the last
					break
				}
			}
			if n < 12 {
				t.Errorf("only %d operations seen", n-1)
			}
			var bytes int64
			for ; ; bytes += stride {
				d := make()
				d.cut = bytes
				if !one(fmt.Sprintf("byte %d", bytes), d) {
					break
				}
			}
			if bytes < 800 {
				t.Errorf("only %d bytes seen", bytes)
			}
		})
	}
}

// A kill at any operation and at any byte leaves the previous checkpoint or the new one.
func TestKilledAnywhere(t *testing.T) {
	everyPoint(t, 11,
		func() *crashDisk { return &crashDisk{kill: true, cut: -1} },
		func(t *testing.T, dir string, _ *crashDisk, before, want []Tensor, err error) {
			if !holds(t, dir, before, want) && err == nil {
				t.Error("the write succeeded, the old one is the newest")
			}
			cleansUp(t, dir)
		})
}

// So does losing the power, whichever of the changes that were not synced survive it.
func TestPowerCutAnywhere(t *testing.T) {
	for name, lost := range map[string]func(change) bool{
		"all names lost":         func(change) bool { return true },
		"new files lost":         func(n change) bool { return n.from == "" },
		"renames lost":           func(n change) bool { return n.from != "" },
		"only the contents lost": func(change) bool { return false },
	} {
		t.Run(name, func(t *testing.T) {
			everyPoint(t, 61,
				func() *crashDisk { return &crashDisk{kill: true, cut: -1} },
				func(t *testing.T, dir string, d *crashDisk, before, want []Tensor, err error) {
					if e := d.powerCut(lost); e != nil {
						t.Fatal(e)
					}
					if !holds(t, dir, before, want) && err == nil {
						t.Error("the write succeeded, the power took it back")
					}
				})
		})
	}
}

// An operation that fails once, with or without taking effect, fails the write, leaves the
// old checkpoint or the new one, and nothing else.
func TestFailingAnywhere(t *testing.T) {
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprintf("late=%t", late), func(t *testing.T) {
			everyPoint(t, 61,
				func() *crashDisk { return &crashDisk{cut: -1, late: late} },
				func(t *testing.T, dir string, d *crashDisk, before, want []Tensor, err error) {
					var failed *IOError
					if err != nil && (!errors.As(err, &failed) || !errors.Is(err, errPoint) || !strings.Contains(err.Error(), dir)) {
						t.Errorf("error %q: want an IOError that names the folder", err)
					}
					if names := listing(t, dir); err != nil && slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, tempPrefix) }) {
						t.Errorf("the write failed and left %v", names)
					}
					if !holds(t, dir, before, want) && err == nil {
						t.Error("the write succeeded, the old one is the newest")
					}
					cleansUp(t, dir)
				})
		})
	}
}

// cleansUp says whether the next write and Retain leave only what belongs there.
func cleansUp(t *testing.T, dir string) {
	t.Helper()
	quickWrite(t, dir, 9)
	if err := Retain(dir, 1); err != nil {
		t.Fatal(err)
	}
	want := []string{"step-000000009", "step-000000009/manifest.json", "step-000000009/model.safetensors"}
	if got := listing(t, dir); !slices.Equal(got, want) {
		t.Errorf("files %v, want %v", got, want)
	}
}

// The same for a single model file.
func TestModelFileFailingAnywhere(t *testing.T) {
	for _, d := range []crashDisk{{kill: true}, {late: false}, {late: true}} {
		for n := 1; ; n++ {
			disk := d
			disk.at, disk.cut = n, -1
			dir := t.TempDir()
			path := dir + "/m.safetensors"
			if err := WriteModel(path, sample(1), nil); err != nil {
				t.Fatal(err)
			}
			err := writeModel(&disk, path, sample(2), nil)
			disk.close()
			got, _, e := ReadModel(path)
			if e != nil || !same(got, sample(1)) && !same(got, sample(2)) {
				t.Fatalf("operation %d: %v, %v", n, got, e)
			}
			if err == nil && !same(got, sample(2)) {
				t.Fatalf("operation %d: the write succeeded, the old one is there", n)
			}
			if disk.ops < n {
				break
			}
			if err == nil {
				t.Errorf("operation %d failed unnoticed", n)
			}
		}
	}
}

func TestFullDisk(t *testing.T) {
	dir, d := smallDisk(t)
	if _, err := write(context.Background(), d, dir, meta(1), sample(1)); err != nil {
		t.Fatal(err)
	}
	big := []Tensor{{"w", []int{1 << 20}, kernels.Of(make([]float32, 1<<20))}}
	_, err := write(context.Background(), d, dir, meta(2), big)
	var failed *IOError
	if !errors.As(err, &failed) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("%v, want an IOError of a full disk", err)
	}
	text := err.Error()
	if !strings.HasPrefix(text, "checkpoint of step 2 in "+dir+" needs 4194") || !strings.HasSuffix(text, "no space left on device: free some or choose another folder") {
		t.Errorf("error %q: want the folder and the bytes", text)
	}
	if got := listing(t, dir); len(got) != 3 {
		t.Errorf("left behind: %v", got)
	}
	wantLatest(t, dir, 1)
	if _, err := write(context.Background(), d, dir, meta(3), sample(3)); err != nil {
		t.Errorf("after the failure: %v", err)
	}
	wantLatest(t, dir, 3)
}

func TestCancelledWrite(t *testing.T) {
	dir := t.TempDir()
	mustWrite(t, dir, 1)
	cause := errors.New("the job was stopped")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	path, err := Write(ctx, dir, meta(2), sample(2))
	var failed *IOError
	if path != "" || !errors.Is(err, cause) || errors.As(err, &failed) {
		t.Errorf("%q, %v, want the cause", path, err)
	}
	if got := listing(t, dir); len(got) != 3 {
		t.Errorf("left behind: %v", got)
	}
	wantLatest(t, dir, 1)
}
