package worker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gorun-ml/gorun/internal/control"
)

// guarded trains the regression on size ranks with guards. before is called on every rank
// before every step, with what may go wrong there; what it returns is read in the place of
// the rank's samples, unless it is nil. It returns what ranks ended with, the ledger and the
// last parameters of those that finished.
func guarded(t *testing.T, size int, p Sampler, saves control.Checkpointing, g control.Guards, before func(s *Session, m *regression, o *heavyBall, step int) Row) ([]error, *Cluster, *ledger, map[int][]float32) {
	t.Helper()
	data := newWaves(p.Samples, 5)
	l := newLedger()
	weights := map[int][]float32{}
	errs, c := RunCluster(t, size, saves, func(r *Rank) error {
		r.P.guards = g
		m, o := newRegression(5, 8, uint64(r.Slot)+1), &heavyBall{}
		st := &State{Model: m, Optimizer: o, Rate: Constant(0.01), BucketBytes: 64}
		return r.Run(st, func(_ context.Context, s *Session) error {
			for step := range s.Steps(p) {
				read := before(s, m, o, step.Number)
				if read == nil {
					read = data.row
				}
				if _, err := l.train(s, step, read); err != nil {
					if e := (*NonFiniteError)(nil); errors.As(err, &e) || errors.As(err, new(disagreement)) {
						r.P.elastic = false // there is no supervisor to end what waits for a new generation
					}
					return err
				}
			}
			l.mu.Lock()
			weights[s.Rank()] = slices.Concat(m.w1, m.w2)
			l.mu.Unlock()
			return nil
		})
	}, nil)
	return errs, c, l, weights
}

// nan is a row without a sensible target.
func nan(_ int, in ...[]float32) error {
	in[0][0], in[1][0] = 0, float32(math.NaN())
	return nil
}

func TestSkippedStepChangesNothing(t *testing.T) {
	p := Sampler{Samples: 64, Batch: 8, Epochs: 2, Seed: 1}
	var mu sync.Mutex
	held := map[int][]float32{} // by rank, before the bad step
	errs, c, l, weights := guarded(t, 3, p, control.Checkpointing{}, control.Guards{OnNaN: control.OnNaNSkip}, func(s *Session, m *regression, o *heavyBall, step int) Row {
		mu.Lock()
		defer mu.Unlock()
		all := slices.Concat(m.w1, m.w2, o.velocity())
		switch {
		case step == 5:
			held[s.Rank()] = all
		case step == 6 && !slices.Equal(all, held[s.Rank()]):
			t.Errorf("rank %d: the step that was skipped changed its state", s.Rank())
		}
		if step == 5 && s.Rank() == 1 {
			return nan
		}
		return nil
	})
	if len(errs) > 0 {
		t.Fatal(errors.Join(errs...))
	}
	sameBits(t, weights, 3)
	l.check(t, p, 3)
	for step, loss := range l.losses {
		if math.IsNaN(loss) != (step == 5) {
			t.Errorf("loss of step %d is %g", step, loss)
		}
	}
	want := "step 6 is skipped on all ranks: the gradient of w2 on rank 1 is not finite (1 skipped so far)"
	if len(c.said) != 1 || c.said[0] != want {
		t.Errorf("said %q, want %q", c.said, want)
	}
}

func TestSkipsInARowEnd(t *testing.T) {
	p := Sampler{Samples: 64, Batch: 8, Epochs: 4, Seed: 1}
	// A good step between makes a new row: steps 3 to 12 are skipped, 13 is fine, and of 14 to
	// 24 the last is one too many.
	errs, _, _, _ := guarded(t, 2, p, control.Checkpointing{}, control.Guards{OnNaN: control.OnNaNSkip}, func(s *Session, _ *regression, _ *heavyBall, step int) Row {
		if s.Rank() == 1 && step >= 2 && step != 12 {
			return nan
		}
		return nil
	})
	if len(errs) != 2 {
		t.Fatalf("%v, want an error a rank", errs)
	}
	for _, err := range errs {
		var e *NonFiniteError
		if !errors.As(err, &e) || e.Step != 24 || e.Rank != 1 || !strings.Contains(err.Error(), "the 10 steps before it were skipped") {
			t.Errorf("%v, want step 24 to end it", err)
		}
	}
}

// TestGoBack has a value that isn't finite only once: the job goes back to a checkpoint, and
// then follows the undisturbed trajectory.
func TestGoBack(t *testing.T) {
	p := Sampler{Samples: 200, Batch: 20, Epochs: 6, Seed: 8}
	undisturbed, want := fit(t, 3, p, 1, nil)
	for _, rank := range []int{0, 2} {
		t.Run(fmt.Sprintf("rank %d", rank), func(t *testing.T) {
			saves := control.Checkpointing{Dir: t.TempDir(), Every: 7, Keep: 2}
			errs, c, l, weights := guarded(t, 3, p, saves, control.Guards{OnNaN: control.OnNaNRestore}, func(s *Session, _ *regression, _ *heavyBall, step int) Row {
				if s.Rank() == rank && (step == 30 && s.Generation() == 1 || step == 28 && s.Generation() == 2) {
					return nan
				}
				return nil
			})
			if len(errs) > 0 {
				t.Fatal(errors.Join(errs...))
			}
			if c.current.ID != 4 {
				t.Errorf("ended with generation %d, want 3 and the last", c.current.ID)
			}
			near(t, l, undisturbed, 1e-4)
			l.check(t, p, 3)
			sameBits(t, weights, 3)
			weights[3] = want[0]
			sameBits(t, weights, 4)
			if len(c.said) != 2 || !strings.Contains(c.said[1], "resumed from ") {
				t.Errorf("said %q", c.said)
			}
		})
	}
}

func TestGoBackInVain(t *testing.T) {
	p := Sampler{Samples: 200, Batch: 20, Epochs: 6, Seed: 8}
	for _, x := range []struct {
		name  string
		every int
		bad   func(s *Session, step int) bool
		step  int
		tried string
	}{
		{"none", 0, func(*Session, int) bool { return true }, 1, "there is no checkpoint"},
		{"another run's", 0, func(_ *Session, step int) bool { return step == 9 }, 10, "no checkpoint can be gone back to"},
		{"the same step", 7, func(_ *Session, step int) bool { return step == 20 }, 21, "it is so again"},
		{"too often", 7, func(s *Session, step int) bool { return step == 20+int(s.Generation()) }, 25, "for the 3. time"},
	} {
		t.Run(x.name, func(t *testing.T) {
			saves := control.Checkpointing{Dir: t.TempDir(), Every: x.every, Keep: 2}
			if x.name == "another run's" {
				guarded(t, 2, p, control.Checkpointing{Dir: saves.Dir, Keep: 1}, control.Guards{}, func(*Session, *regression, *heavyBall, int) Row { return nil })
			}
			errs, _, _, _ := guarded(t, 2, p, saves, control.Guards{OnNaN: control.OnNaNRestore}, func(s *Session, _ *regression, _ *heavyBall, step int) Row {
				if s.Rank() == 1 && x.bad(s, step) {
					return nan
				}
				return nil
			})
			if len(errs) != 2 {
				t.Fatalf("%v, want an error a rank", errs)
			}
			for _, err := range errs {
				var e *NonFiniteError
				if !errors.As(err, &e) || e.Step != x.step || e.Rank != 1 || !strings.Contains(e.Tried, x.tried) {
					t.Errorf("%v, want step %d on rank 1, and %q", err, x.step, x.tried)
				}
			}
		})
	}
}

// TestNewcomersCount kills a rank between steps that are skipped.
func TestNewcomersCount(t *testing.T) {
	p := Sampler{Samples: 80, Batch: 8, Epochs: 3, Seed: 1}
	data := newWaves(p.Samples, 5)
	var mu sync.Mutex
	counts := map[int]strikes{} // by rank, at the end
	reached := make(chan struct{})
	reach := sync.OnceFunc(func() { close(reached) })
	errs, _ := RunCluster(t, 3, control.Checkpointing{}, func(r *Rank) error {
		r.P.guards.OnNaN = control.OnNaNSkip
		st := &State{Model: newRegression(5, 8, 1), Optimizer: &heavyBall{}, Rate: Constant(0.01)}
		return r.Run(st, func(_ context.Context, s *Session) error {
			for step := range s.Steps(p) {
				if step.Number == 6 && s.Generation() == 1 {
					reach()
					if r.Slot == 2 {
						<-r.Ctx.Done() // until it is killed
						return context.Cause(r.Ctx)
					}
				}
				read := data.row
				if s.Rank() == 0 && (step.Number == 4 || step.Number == 8) {
					read = nan
				}
				if _, err := s.Train(step, read); err != nil {
					return err
				}
			}
			mu.Lock()
			defer mu.Unlock()
			counts[s.Rank()] = st.strikes
			return nil
		})
	}, func(c *Cluster) {
		<-reached
		c.Kill(2)
	})
	if len(errs) > 0 {
		t.Fatal(errors.Join(errs...))
	}
	for rank, got := range counts {
		if got.skipped != 2 {
			t.Errorf("rank %d counts %+v, want 2 steps skipped", rank, got)
		}
	}
}

// velocity is all of the optimizer's memory.
func (o *heavyBall) velocity() []float32 {
	var all []float32
	for _, v := range o.v {
		all = append(all, floats(v)...)
	}
	return all
}
