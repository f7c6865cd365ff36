package checkpoint

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/gorun-ml/gorun/kernels"
)

// gateDisk is the real file system, at which a write waits for the test's word.
type gateDisk struct {
	osDisk
	arrived chan struct{}
	pass    chan error
}

func newGate() *gateDisk {
	return &gateDisk{arrived: make(chan struct{}), pass: make(chan error)}
}

func (d *gateDisk) create(path string) (file, error) {
	d.arrived <- struct{}{}
	if err := <-d.pass; err != nil {
		return nil, err
	}
	return d.osDisk.create(path)
}

type result struct {
	path string
	step int
	err  error
}

func save(t *testing.T, s *Saver, step int, tensors []Tensor) {
	t.Helper()
	if err := s.Save(meta(step), tensors); err != nil {
		t.Fatal(err)
	}
}

func TestSaverWritesAndRetains(t *testing.T) {
	dir := t.TempDir()
	var got []result
	s := NewSaver(dir, 2, func(path string, step int, err error) { got = append(got, result{path, step, err}) })
	state := sample(0)
	for step := range 5 {
		copyInto(state, sample(step))
		save(t, s, step, state)
		if err := s.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(meta(9), state); err == nil {
		t.Error("saved after Close")
	}
	if err := s.Close(t.Context()); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	for step, r := range got {
		if r.step != step || r.err != nil || r.path != dir+"/"+stepName(step) {
			t.Errorf("result %d: %+v", step, r)
		}
	}
	if len(got) != 5 {
		t.Errorf("%d results, want 5", len(got))
	}
	wantLatest(t, dir, 4)
	if found, err := candidates(dir); len(found) != 2 || err != nil {
		t.Errorf("kept %v, %v, want 2", found, err)
	}
}

func copyInto(dst, src []Tensor) {
	for i := range dst {
		copy(dst[i].Data.Bytes, src[i].Data.Bytes)
	}
}

// While one is written the newest request waits, and holds the state of its own moment.
func TestNewestRequestWins(t *testing.T) {
	dir, gate := t.TempDir(), newGate()
	results := make(chan result, 10)
	s := newSaver(gate, dir, 0, func(path string, step int, err error) { results <- result{path, step, err} })
	state := sample(1)
	save(t, s, 1, state)
	<-gate.arrived // step 1 is in flight
	for _, step := range []int{2, 3, 4} {
		copyInto(state, sample(step))
		save(t, s, step, state)
	}
	copyInto(state, sample(99)) // training goes on
	var steps []int
	for range 2 {
		gate.pass <- nil
		<-gate.arrived
		gate.pass <- nil
		r := <-results
		if r.err != nil {
			t.Error(r.err)
		}
		steps = append(steps, r.step)
		wantLatest(t, dir, r.step)
		if len(steps) == 1 {
			<-gate.arrived
		}
	}
	if !slices.Equal(steps, []int{1, 4}) {
		t.Errorf("written: %v, want 1 and 4", steps)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if len(results) > 0 {
		t.Errorf("and %v", <-results)
	}
}

// A failure is told, and the next request is served.
func TestSaverGoesOnAfterAFailure(t *testing.T) {
	dir, gate := t.TempDir(), newGate()
	results := make(chan result, 10)
	s := newSaver(gate, dir, 1, func(path string, step int, err error) { results <- result{path, step, err} })
	save(t, s, 1, sample(1))
	<-gate.arrived
	gate.pass <- errPoint
	if r := <-results; r.path != "" || r.step != 1 || !errors.Is(r.err, errPoint) {
		t.Errorf("%+v, want the failure", r)
	}
	save(t, s, 2, sample(2))
	<-gate.arrived
	gate.pass <- nil
	<-gate.arrived
	gate.pass <- nil
	if r := <-results; r.step != 2 || r.err != nil {
		t.Errorf("%+v, want step 2", r)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	wantLatest(t, dir, 2)
}

// Wait and Close end with their context, even if the disk hangs; what hangs publishes
// nothing afterwards.
func TestHangingDisk(t *testing.T) {
	dir, gate := t.TempDir(), newGate()
	results := make(chan result, 10)
	s := newSaver(gate, dir, 1, func(path string, step int, err error) { results <- result{path, step, err} })
	save(t, s, 1, sample(1))
	<-gate.arrived
	cause := errors.New("the grace period is over")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if err := s.Wait(ctx); !errors.Is(err, cause) {
		t.Errorf("Wait: %v, want the cause", err)
	}
	if err := s.Close(ctx); !errors.Is(err, cause) {
		t.Errorf("Close: %v, want the cause", err)
	}
	gate.pass <- nil // the disk lets go
	if r := <-results; !errors.Is(r.err, cause) || r.path != "" {
		t.Errorf("%+v, want the cause", r)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if got := listing(t, dir); len(got) > 0 {
		t.Errorf("left behind: %v", got)
	}
}

// Save costs a copy, no memory.
func TestSaveDoesNotAllocate(t *testing.T) {
	gate := newGate()
	s := newSaver(gate, t.TempDir(), 1, nil)
	m, state := meta(2), sample(1)
	save(t, s, 1, state)
	<-gate.arrived
	if n := testing.AllocsPerRun(100, func() { s.Save(m, state) }); n > 0 {
		t.Errorf("Save allocates %v times", n)
	}
	gate.pass <- errPoint
	<-gate.arrived
	gate.pass <- errPoint
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func BenchmarkSave(b *testing.B) {
	gate := newGate()
	s := newSaver(gate, b.TempDir(), 1, nil)
	state := []Tensor{{"w", []int{1 << 20}, kernels.Of(make([]float32, 1<<20))}}
	if err := s.Save(meta(1), state); err != nil {
		b.Fatal(err)
	}
	<-gate.arrived
	b.SetBytes(4 << 20)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Save(meta(2), state); err != nil {
			b.Fatal(err)
		}
	}
	gate.pass <- errPoint
	<-gate.arrived
	gate.pass <- errPoint
	if err := s.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
}
