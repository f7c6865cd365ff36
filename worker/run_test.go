package worker

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/internal/control"
)

// ledger counts which samples the steps of a run consumed, over all incarnations.
type ledger struct {
	mu      sync.Mutex
	tried   map[[2]int][]int // (step, generation) -> samples of all ranks that tried it
	applied map[int]int      // step -> newest generation that applied it
	losses  map[int]float64  // step -> loss as applied last
	done    chan int         // steps as they are applied, for who wants to meddle
}

func newLedger() *ledger {
	return &ledger{tried: map[[2]int][]int{}, applied: map[int]int{}, losses: map[int]float64{}, done: make(chan int, 1<<16)}
}

func (l *ledger) train(s *Session, step Step, read Row) (float64, error) {
	key := [2]int{step.Number, int(s.Generation())}
	l.mu.Lock()
	l.tried[key] = append(l.tried[key], step.Samples...)
	l.mu.Unlock()
	loss, err := s.Train(step, read)
	if err == nil {
		l.mu.Lock()
		l.applied[step.Number] = max(l.applied[step.Number], int(s.Generation()))
		l.losses[step.Number] = loss
		l.mu.Unlock()
		l.done <- step.Number
	}
	return loss, err
}

// check fails unless every step was applied once and every sample used once an epoch.
func (l *ledger) check(t *testing.T, p Sampler, size int) {
	t.Helper()
	per := p.stepsPerEpoch(size)
	for epoch := range p.Epochs {
		var used []int
		for i := range per {
			step := epoch*per + i
			gen, ok := l.applied[step]
			if !ok {
				t.Fatalf("step %d was never applied", step)
			}
			used = append(used, l.tried[[2]int{step, gen}]...)
		}
		slices.Sort(used)
		if len(used) != p.Samples || len(slices.Compact(used)) != p.Samples {
			t.Fatalf("epoch %d used %d samples, %d of them different; want each of %d once", epoch, len(used), len(slices.Compact(used)), p.Samples)
		}
	}
}

// fit trains the regression on size ranks and returns the ledger and every rank's last
// parameters.
func fit(t *testing.T, size int, p Sampler, accumulate int, meddle func(*Cluster, *ledger)) (*ledger, map[int][]float32) {
	t.Helper()
	data := newWaves(p.Samples, 5)
	l := newLedger()
	weights := map[int][]float32{}
	errs, _ := RunCluster(t, size, control.Checkpointing{}, func(r *Rank) error {
		m := newRegression(5, 8, uint64(r.Slot)+1) // other initial values on every rank: rank 0's count
		st := &State{Model: m, Optimizer: &heavyBall{}, Rate: Constant(0.01), Accumulate: accumulate, BucketBytes: 64}
		return r.Run(st, func(_ context.Context, s *Session) error {
			for step := range s.Steps(p) {
				if _, err := l.train(s, step, data.row); err != nil {
					return err
				}
			}
			l.mu.Lock()
			weights[s.Rank()] = slices.Concat(m.w1, m.w2)
			l.mu.Unlock()
			return nil
		})
	}, func(c *Cluster) {
		if meddle != nil {
			meddle(c, l)
		}
	})
	if len(errs) > 0 {
		t.Fatal(errors.Join(errs...))
	}
	return l, weights
}

func sameBits(t *testing.T, weights map[int][]float32, size int) {
	t.Helper()
	if len(weights) != size {
		t.Fatalf("%d ranks ended, want %d", len(weights), size)
	}
	for r, w := range weights {
		for i := range w {
			if math.Float32bits(w[i]) != math.Float32bits(weights[0][i]) {
				t.Fatalf("rank %d: parameter %d = %g, rank 0 has %g", r, i, w[i], weights[0][i])
			}
		}
	}
}

func near(t *testing.T, got, want *ledger, tolerance float64) {
	t.Helper()
	if len(got.losses) != len(want.losses) {
		t.Fatalf("%d steps, want %d", len(got.losses), len(want.losses))
	}
	for step, w := range want.losses {
		if g := got.losses[step]; math.Abs(g-w) > tolerance {
			t.Fatalf("loss of step %d = %.7f, want %.7f within %g", step, g, w, tolerance)
		}
	}
}

func TestManyRanksFollowOne(t *testing.T) {
	p := Sampler{Samples: 500, Batch: 32, Epochs: 7, Seed: 2}
	one, _ := fit(t, 1, p, 1, nil)
	for _, size := range []int{2, 3, 4, 7} {
		for _, accumulate := range []int{1, 3} {
			t.Run(fmt.Sprintf("%d ranks, %d parts", size, accumulate), func(t *testing.T) {
				many, weights := fit(t, size, p, accumulate, nil)
				near(t, many, one, 1e-4)
				sameBits(t, weights, size)
				many.check(t, p, size)
			})
		}
	}
}

func TestOneSeedOneResult(t *testing.T) {
	p := Sampler{Samples: 300, Batch: 20, Epochs: 4, Seed: 2}
	_, a := fit(t, 3, p, 1, nil)
	_, b := fit(t, 3, p, 1, nil)
	b[3] = a[0]
	sameBits(t, b, 4)
}

// TestKilledRankLosesNothing kills a random rank at a random step, several times a run.
func TestKilledRankLosesNothing(t *testing.T) {
	p := Sampler{Samples: 600, Batch: 20, Epochs: 10, Seed: 4} // 300 steps
	undisturbed, _ := fit(t, 4, p, 1, nil)
	for seed := range 5 {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(seed), 1))
			victims := []int{r.IntN(4), r.IntN(4), r.IntN(4)}
			at := []int{5 + r.IntN(80), 100 + r.IntN(80), 200 + r.IntN(80)}
			disturbed, weights := fit(t, 4, p, 1, func(c *Cluster, l *ledger) {
				for i, slot := range victims {
					for step := range l.done {
						if step >= at[i] {
							break
						}
					}
					c.Kill(slot)
				}
			})
			near(t, disturbed, undisturbed, 1e-4)
			disturbed.check(t, p, 4)
			sameBits(t, weights, 4)
		})
	}
}

// TestBrokenConnectionsAreMadeAnew ends a mesh under ranks that live: nobody died, and
// training goes on in a new generation.
func TestBrokenConnectionsAreMadeAnew(t *testing.T) {
	p := Sampler{Samples: 200, Batch: 20, Epochs: 6, Seed: 4}
	undisturbed, _ := fit(t, 3, p, 1, nil)
	l := newLedger()
	data := newWaves(p.Samples, 5)
	errs, c := RunCluster(t, 3, control.Checkpointing{}, func(r *Rank) error {
		st := &State{Model: newRegression(5, 8, uint64(r.Slot)+1), Optimizer: &heavyBall{}, Rate: Constant(0.01), BucketBytes: 64}
		return r.Run(st, func(_ context.Context, s *Session) error {
			for step := range s.Steps(p) {
				if step.Number == 30 && s.Generation() == 1 && s.Rank() == 1 {
					s.mesh.Close(fmt.Errorf("%w: a cable was pulled", transport.ErrLost))
				}
				if _, err := l.train(s, step, data.row); err != nil {
					return err
				}
			}
			return nil
		})
	}, nil)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	near(t, l, undisturbed, 1e-4)
	l.check(t, p, 3)
	if c.current.ID != 3 || !strings.Contains(c.current.Why+c.why, "connecting anew") {
		t.Errorf("ended in generation %d (%s)", c.current.ID, c.why)
	}
}

func TestEvaluateAndMean(t *testing.T) {
	data := newWaves(103, 5)
	var mu sync.Mutex
	got := map[int]float64{}
	errs, _ := RunCluster(t, 4, control.Checkpointing{}, func(r *Rank) error {
		st := &State{Model: newRegression(5, 8, 1), Optimizer: &heavyBall{}, Rate: Constant(0)}
		return r.Run(st, func(_ context.Context, s *Session) error {
			mean, err := s.Evaluate(103, data.row, func(sample int, _ []float32) float64 { return float64(sample) })
			mu.Lock()
			got[s.Rank()] = mean
			mu.Unlock()
			return err
		})
	}, nil)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for r, v := range got {
		if v != 51 {
			t.Errorf("rank %d: mean %g, want 51", r, v)
		}
	}
}

// TestDisagreement lets one rank differ; all must end at once with the same explanation.
func TestDisagreement(t *testing.T) {
	for _, odd := range []int{0, 2} {
		errs, _ := RunCluster(t, 4, control.Checkpointing{}, func(r *Rank) error {
			r.P.elastic = false
			hidden := 8
			if r.Slot == odd {
				hidden = 9
			}
			st := &State{Model: newRegression(5, hidden, 1), Optimizer: &heavyBall{}, Rate: Constant(0.1)}
			return r.Run(st, func(context.Context, *Session) error { return errors.New("trained all the same") })
		}, nil)
		if len(errs) != 4 {
			t.Fatalf("%d ranks failed, want 4: %v", len(errs), errs)
		}
		named := 0
		for _, err := range errs {
			kind, status := classify(err)
			if kind == control.KindMismatch && status == 76 && strings.Contains(err.Error(), fmt.Sprintf("rank %d has w1 float32[5 9]", odd)) {
				named++
			}
		}
		if named == 0 {
			t.Errorf("no rank names rank %d and w1 with status 76: %v", odd, errs)
		}
	}
}

func TestNonFiniteIsNotApplied(t *testing.T) {
	data := newWaves(64, 5)
	data.y[17] = float32(math.NaN())
	var mu sync.Mutex
	done := map[int]int{}
	errs, _ := RunCluster(t, 3, control.Checkpointing{}, func(r *Rank) error {
		m := newRegression(5, 8, 1)
		st := &State{Model: m, Optimizer: &heavyBall{}, Rate: Constant(0.01)}
		return r.Run(st, func(_ context.Context, s *Session) error {
			defer func() {
				mu.Lock()
				defer mu.Unlock()
				done[s.Rank()] = s.StepsDone()
				for _, w := range m.w1 {
					if math.IsNaN(float64(w)) {
						t.Errorf("rank %d applied NaN", s.Rank())
						return
					}
				}
			}()
			for step := range s.Steps(Sampler{Samples: 64, Batch: 8, Epochs: 1, Seed: 1}) {
				if _, err := s.Train(step, data.row); err != nil {
					return err
				}
			}
			return nil
		})
	}, nil)
	if len(errs) != 3 {
		t.Fatalf("%d ranks failed, want 3: %v", len(errs), errs)
	}
	for _, err := range errs {
		var e *NonFiniteError
		if !errors.As(err, &e) {
			t.Errorf("%v, want a NonFiniteError", err)
		}
	}
	if done[0] != done[1] || done[1] != done[2] {
		t.Errorf("ranks stopped after different steps: %v", done)
	}
}

func TestStopEndsAllAfterTheSameStep(t *testing.T) {
	dir := t.TempDir()
	data := newWaves(4000, 5)
	var mu sync.Mutex
	var stopAt []int
	asked := make(chan struct{})
	ask := sync.OnceFunc(func() { close(asked) })
	errs, c := RunCluster(t, 4, control.Checkpointing{Dir: dir, Keep: 2}, func(r *Rank) error {
		st := &State{Model: newRegression(5, 8, 1), Optimizer: &heavyBall{}, Rate: Constant(0.01)}
		return r.Run(st, func(_ context.Context, s *Session) error {
			for step := range s.Steps(Sampler{Samples: 4000, Batch: 4, Epochs: 1000}) {
				if step.Number == 20 && r.Slot == 2 {
					r.P.stop()
					ask()
				}
				if _, err := s.Train(step, data.row); err != nil {
					return err
				}
			}
			mu.Lock()
			stopAt = append(stopAt, s.StepsDone())
			mu.Unlock()
			return nil // Run must know all the same
		})
	}, func(*Cluster) { <-asked })
	if len(errs) != 4 {
		t.Fatalf("%d ranks say that they were stopped, want 4: %v", len(errs), errs)
	}
	for _, err := range errs {
		if !errors.Is(err, ErrStopped) {
			t.Errorf("%v, want ErrStopped", err)
		}
	}
	slices.Sort(stopAt)
	if len(stopAt) != 4 || stopAt[0] != 21 || stopAt[3] != 21 {
		t.Errorf("stopped after steps %v, want 21 on all", stopAt)
	}
	if len(c.saved) != 1 || c.saved[0].Step != 21 {
		t.Errorf("saved %+v, want step 21", c.saved)
	}
}

// TestResume stops a run by a bad step and goes on from its checkpoint, on other ranks.
func TestResume(t *testing.T) {
	p := Sampler{Samples: 200, Batch: 20, Epochs: 6, Seed: 8}
	want, _ := fit(t, 2, p, 1, nil)
	dir := t.TempDir()
	data := newWaves(p.Samples, 5)
	got := newLedger()
	run := func(size int, resume bool, until int) []error {
		errs, _ := RunCluster(t, size, control.Checkpointing{Dir: dir, Every: 7, Keep: 3, Resume: resume}, func(r *Rank) error {
			r.P.elastic = false // there is no supervisor to end what waits for a new generation
			st := &State{Model: newRegression(5, 8, uint64(r.Slot)+1), Optimizer: &heavyBall{}, Rate: Constant(0.01)}
			return r.Run(st, func(_ context.Context, s *Session) error {
				for step := range s.Steps(p) {
					if step.Number == until {
						return errors.New("enough")
					}
					if _, err := got.train(s, step, data.row); err != nil {
						return err
					}
				}
				return nil
			})
		}, nil)
		return errs
	}
	if errs := run(2, false, 30); len(errs) != 2 {
		t.Fatalf("errors %v, want one a rank", errs)
	}
	clear(got.losses)
	if errs := run(3, true, -1); len(errs) != 0 {
		t.Fatal(errs)
	}
	if len(got.losses) != 60-28 {
		t.Fatalf("the resumed run did %d steps, want those after the checkpoint of step 28", len(got.losses))
	}
	for step, loss := range got.losses {
		if math.Abs(loss-want.losses[step]) > 1e-4 {
			t.Fatalf("resumed: loss of step %d = %g, want %g", step, loss, want.losses[step])
		}
	}
	p.Batch = 10
	errs := run(1, true, -1)
	if len(errs) != 1 || !strings.Contains(errs[0].Error(), "batch 20 of 200 samples") {
		t.Fatalf("resuming with another batch: %v", errs)
	}
}

// TestFencedRankStops lets the job go on without a rank that is alive.
func TestFencedRankStops(t *testing.T) {
	data := newWaves(4000, 5)
	errs, _ := RunCluster(t, 2, control.Checkpointing{}, func(r *Rank) error {
		st := &State{Model: newRegression(5, 8, 1), Optimizer: &heavyBall{}, Rate: Constant(0.01)}
		return r.Run(st, func(_ context.Context, s *Session) error {
			for step := range s.Steps(Sampler{Samples: 4000, Batch: 4, Epochs: 1}) {
				if step.Number == 5 && s.Generation() == 1 && s.Rank() == 0 {
					c := r.cluster
					c.mu.Lock()
					next := c.current
					next.ID, next.Members = next.ID+1, next.Members[:1]
					c.size = 1
					c.commit(next)
					c.mu.Unlock()
				}
				if _, err := s.Train(step, data.row); err != nil {
					return err
				}
			}
			return nil
		})
	}, nil)
	if len(errs) != 1 || !errors.Is(errs[0], ErrFenced) || !strings.Contains(errs[0].Error(), "slot 1") {
		t.Fatalf("%v, want slot 1 fenced", errs)
	}
}

// TestPlannedChangeCostsNoStep makes a job smaller in the middle of a step.
func TestPlannedChangeCostsNoStep(t *testing.T) {
	data := newWaves(4000, 5)
	var tried [1000]atomic.Int32 // by rank 0
	errs, _ := RunCluster(t, 3, control.Checkpointing{}, func(r *Rank) error {
		st := &State{Model: newRegression(5, 8, 1), Optimizer: &heavyBall{}, Rate: Constant(0.01)}
		return r.Run(st, func(_ context.Context, s *Session) error {
			for step := range s.Steps(Sampler{Samples: 4000, Batch: 4, Epochs: 1}) {
				if step.Number == 5 && s.Generation() == 1 && s.Rank() == 0 {
					c := r.cluster
					c.mu.Lock()
					next := c.current
					next.ID, next.Members, next.Planned = next.ID+1, next.Members[:2], true
					c.size = 2
					c.commit(next)
					c.mu.Unlock()
				}
				if s.Rank() == 0 {
					tried[step.Number].Add(1)
				}
				if _, err := s.Train(step, data.row); err != nil {
					return err
				}
			}
			return nil
		})
	}, nil)
	if len(errs) != 1 || !errors.Is(errs[0], ErrReleased) || !strings.Contains(errs[0].Error(), "slot 2") {
		t.Fatalf("%v, want slot 2 released", errs)
	}
	for step := range tried {
		if n := tried[step].Load(); n != 1 {
			t.Errorf("step %d was tried %d times", step, n)
		}
	}
}

func TestSolo(t *testing.T) {
	p, err := alone()
	if err != nil {
		t.Fatal(err)
	}
	p.start()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	data := newWaves(100, 5)
	st := &State{Model: newRegression(5, 8, 1), Optimizer: &heavyBall{}, Rate: Constant(0.01)}
	steps := 0
	err = p.run(ctx, st, func(_ context.Context, s *Session) error {
		for step := range s.Steps(Sampler{Samples: 100, Batch: 10, Epochs: 2}) {
			if _, err := s.Train(step, data.row); err != nil {
				return err
			}
			steps++
		}
		return nil
	})
	if err != nil || steps != 20 {
		t.Fatalf("%d steps, %v; want 20", steps, err)
	}
	if err := p.close(ctx); err != nil {
		t.Fatal(err)
	}
}
