package checkpoint

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gorun-ml/gorun/kernels"
)

// sample is a small state in which every element says which step it is of.
func sample(step int) []Tensor {
	x := float32(step)
	return []Tensor{
		{"conv1.w", []int{2, 3}, kernels.Of([]float32{x, x + 1, x + 2, x + 3, x + 4, x + 5})},
		{"mask", []int{3}, kernels.Of([]uint8{uint8(step), 1, 2})},
		{"adam.step", []int{}, kernels.Of([]int64{int64(step)})},
		{"empty", []int{0, 4}, kernels.Of([]float64{})},
		{"half", []int{1, 1, 2}, kernels.Of([]kernels.BF16{kernels.BF16(step), 7})},
	}
}

func meta(step int) Meta {
	return Meta{Job: "7f3a", Generation: 2, Step: step, Epoch: 1, Seed: 1<<63 + 5, Model: "sha256:abc", Extra: map[string]string{"rate": "0.1"}}
}

func mustWrite(t *testing.T, dir string, step int) string {
	t.Helper()
	path, err := Write(context.Background(), dir, meta(step), sample(step))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func same(a, b []Tensor) bool {
	return slices.EqualFunc(a, b, func(a, b Tensor) bool {
		return a.Name == b.Name && slices.Equal(a.Shape, b.Shape) && a.Data.Type == b.Data.Type && bytes.Equal(a.Data.Bytes, b.Data.Bytes)
	})
}

// wantLatest asks for a whole checkpoint of one of the given steps.
func wantLatest(t *testing.T, dir string, steps ...int) (step int, skipped []error) {
	t.Helper()
	m, tensors, path, skipped, err := Latest(dir)
	if err != nil {
		t.Fatalf("Latest: %v (skipped %v)", err, skipped)
	}
	if !slices.Contains(steps, m.Step) {
		t.Fatalf("Latest is step %d, want one of %v (skipped %v)", m.Step, steps, skipped)
	}
	if !same(tensors, sample(m.Step)) {
		t.Fatalf("%s: the tensors aren't those of step %d: %v", path, m.Step, tensors)
	}
	return m.Step, skipped
}

func listing(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if path != dir {
			names = append(names, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestRoundTrip(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "run")
	path := mustWrite(t, dir, 120)
	if want := filepath.Join(dir, "step-000000120"); path != want {
		t.Errorf("path %s, want %s", path, want)
	}
	m, tensors, from, skipped, err := Latest(dir)
	if err != nil || len(skipped) > 0 || from != path {
		t.Fatalf("Latest: %s, %v, %v", from, skipped, err)
	}
	if !reflect.DeepEqual(m, meta(120)) {
		t.Errorf("meta %+v, want %+v", m, meta(120))
	}
	if !same(tensors, sample(120)) {
		t.Errorf("tensors %v, want %v", tensors, sample(120))
	}
	want := []string{"step-000000120", "step-000000120/manifest.json", "step-000000120/model.safetensors"}
	if got := listing(t, dir); !slices.Equal(got, want) {
		t.Errorf("files %v, want %v", got, want)
	}
	for _, name := range append(want, ".") {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v: others can read it", name, info.Mode())
		}
	}
}

func TestSameStepIsReplaced(t *testing.T) {
	dir := t.TempDir()
	mustWrite(t, dir, 7)
	first := sample(7)
	kernels.As[float32](first[0].Data)[0] = -1
	if _, err := Write(context.Background(), dir, meta(7), first); err != nil {
		t.Fatal(err)
	}
	_, tensors, _, _, err := Latest(dir)
	if err != nil || !same(tensors, first) {
		t.Errorf("got %v, %v, want the second one", tensors, err)
	}
	if got := listing(t, dir); len(got) != 3 {
		t.Errorf("left behind: %v", got)
	}
}

func TestNone(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Join(dir, "absent")} {
		if _, _, _, skipped, err := Latest(d); !errors.Is(err, ErrNone) || len(skipped) > 0 {
			t.Errorf("%s: %v, %v, want ErrNone", d, skipped, err)
		}
	}
	// Names that are none of ours.
	for _, name := range []string{"step-12", "step-00000000x", "step-", "step--00000001", "other"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "step-000000009"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, _, _, err := Latest(dir); !errors.Is(err, ErrNone) {
		t.Errorf("%v, want ErrNone", err)
	}
}

func TestBadTensorsAreRefused(t *testing.T) {
	one := kernels.Of([]float32{1})
	for name, tensors := range map[string][]Tensor{
		`the name "w" occurs twice`:          {{"w", []int{1}, one}, {"w", []int{1}, one}},
		`can't be a tensor's name`:           {{"", []int{1}, one}},
		`"__metadata__" can't be`:            {{"__metadata__", []int{1}, one}},
		`"\xff" can't be`:                    {{"\xff", []int{1}, one}},
		`takes 8 bytes, its data has 4`:      {{"w", []int{2}, one}},
		`impossible shape [-1]`:              {{"w", []int{-1}, one}},
		`impossible shape [1073741824 10737`: {{"w", []int{1 << 30, 1 << 30, 1 << 30}, one}},
		`unknown element type 0`:             {{"w", []int{0}, kernels.Vector{}}},
		`unknown element type 99`:            {{"w", []int{0}, kernels.Vector{Type: 99}}},
		`impossible shape [0 -1]`:            {{"w", []int{0, -1}, kernels.Of([]float32{})}},
		`takes 0 bytes, its data has 4`:      {{"w", []int{1 << 30, 0, 1 << 30, 1 << 30}, one}},
	} {
		dir := t.TempDir()
		_, err := Write(context.Background(), dir, Meta{}, tensors)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want an error with %s", err, name)
		}
		if got := listing(t, dir); len(got) > 0 {
			t.Errorf("left behind: %v", got)
		}
	}
}

func TestCheckNamesTheFirstDifference(t *testing.T) {
	a := sample(1)
	for want, got := range map[string][]Tensor{
		`tensor "mask", uint8 [3] here, isn't in the checkpoint: from another model`:                 {a[0], a[2], a[3], a[4]},
		`tensor "more", int64 [] in the checkpoint, isn't here: from another model`:                  append(slices.Clone(a), Tensor{"more", []int{}, a[2].Data}),
		`tensor "conv1.w" is float32 [2 3] here, float32 [6] in the checkpoint: from another model`:  append([]Tensor{{"conv1.w", []int{6}, a[0].Data}}, a[1:]...),
		`tensor "conv1.w" is float32 [2 3] here, int32 [2 3] in the checkpoint: from another model`:  append([]Tensor{{"conv1.w", []int{2, 3}, kernels.Of(make([]int32, 6))}}, a[1:]...),
		`tensor "conv1.w" is float32 [2 3] here, float32 [3 2] in the checkpoint: from another mode`: append([]Tensor{{"conv1.w", []int{3, 2}, a[0].Data}}, a[2:]...),
	} {
		into := sample(2)
		err := Restore(into, got)
		if !errors.Is(err, ErrMismatch) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		if !same(into, sample(2)) {
			t.Error("a refused restore has changed tensors")
		}
	}
	if err := Check(a, sample(9)); err != nil {
		t.Error(err)
	}
	into := sample(2)
	shuffled := slices.Clone(a)
	slices.Reverse(shuffled)
	if err := Restore(into, shuffled); err != nil || !same(into, a) {
		t.Errorf("restored %v, %v, want %v", into, err, a)
	}
}

func TestModelFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out", "mnist.safetensors")
	for step := range 2 { // the second replaces the first
		note := map[string]string{"format": "pt", "note": "\"quoted\" <é>"}
		if err := WriteModel(path, sample(step), note); err != nil {
			t.Fatal(err)
		}
		tensors, metadata, err := ReadModel(path)
		if err != nil || !same(tensors, sample(step)) || !reflect.DeepEqual(metadata, note) {
			t.Errorf("got %v, %v, %v", tensors, metadata, err)
		}
	}
	if got := listing(t, filepath.Dir(path)); len(got) != 1 {
		t.Errorf("files %v, want the model only", got)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, int64(len(raw)-1)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ReadModel(path); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
		t.Errorf("truncated: %v", err)
	}
	var failed *IOError
	if _, _, err := ReadModel(filepath.Join(path, "none")); !errors.As(err, &failed) {
		t.Errorf("absent: %v, want an IOError", err)
	}
}

// The bytes of a file by hand, from the format's description.
func TestModelBytes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.safetensors")
	err := WriteModel(path, []Tensor{
		{"b", []int{1}, kernels.Of([]uint8{9})},
		{"a", []int{2, 1}, kernels.Of([]float32{1, -2})},
	}, map[string]string{"k": "v"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	header := `{"__metadata__":{"k":"v"},"b":{"dtype":"U8","shape":[1],"data_offsets":[8,9]},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}`
	header += strings.Repeat(" ", -len(header)&7)
	want := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	want = append(want, header...)
	want = append(want, 0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0, 9)
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}
