package worker

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/kernels"
)

func floats(t Tensor) []float32 { return kernels.As[float32](t.Data) }

// TestHashCoversAll flips each byte of a state in turn: exactly one of the steps notices.
func TestHashCoversAll(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for range 50 {
		st := &State{}
		for i := range 1 + r.IntN(5) {
			data := make([]uint8, r.IntN(40))
			st.all = append(st.all, Tensor{Name: fmt.Sprint(i), Data: kernels.Of(data)})
		}
		every := 1 + r.IntN(60)
		v := newSentry(st, every, 2)
		before := make([]int64, every)
		for step := range before {
			before[step] = v.hash(step)
		}
		for _, x := range st.all {
			for i := range x.Data.Bytes {
				x.Data.Bytes[i] ^= 1 << r.IntN(8)
				noticed := 0
				for step, h := range before {
					if v.hash(step+every*r.IntN(9)) != h {
						noticed++
					}
				}
				if noticed != 1 {
					t.Fatalf("byte %d of tensor %s of %d bytes: %d of %d steps notice, want 1", i, x.Name, v.bytes, noticed, every)
				}
				for step := range before { // from now on it is as it should be
					before[step] = v.hash(step)
				}
			}
		}
	}
}

func TestCompare(t *testing.T) {
	for _, x := range []struct {
		name  string
		size  int
		sums  []int64 // of two tensors a rank
		want  []split
		right int // -1: nobody knows
	}{
		{"alike", 3, []int64{5, 6, 5, 6, 5, 6}, nil, 0},
		{"one of three", 3, []int64{5, 6, 5, 7, 5, 6}, []split{{1, [][]int{{0, 2}, {1}}}}, 0},
		{"rank 0", 3, []int64{4, 6, 5, 6, 5, 6}, []split{{0, [][]int{{1, 2}, {0}}}}, 1},
		{"two of two", 2, []int64{5, 6, 5, 7}, []split{{1, [][]int{{0}, {1}}}}, -1},
		{"two and two", 4, []int64{1, 0, 2, 0, 2, 0, 1, 0}, []split{{0, [][]int{{0, 3}, {1, 2}}}}, -1},
		{"most, but not more than half", 4, []int64{1, 0, 2, 0, 2, 0, 3, 0}, []split{{0, [][]int{{1, 2}, {0}, {3}}}}, -1},
		{"all", 3, []int64{1, 0, 2, 0, 3, 0}, []split{{0, [][]int{{0}, {1}, {2}}}}, -1},
	} {
		got := compare(x.sums, x.size)
		if !reflect.DeepEqual(got, x.want) {
			t.Errorf("%s: %v, want %v", x.name, got, x.want)
		}
		for _, s := range got {
			if from, ok := s.from(); ok != (x.right >= 0) || ok && from != x.right {
				t.Errorf("%s: from rank %d (%t), want %d", x.name, from, ok, x.right)
			}
		}
	}
}

// TestFlippedBit has a bit of one rank flip: where all is compared in each step, training
// goes on as if nothing had been.
func TestFlippedBit(t *testing.T) {
	p := Sampler{Samples: 200, Batch: 20, Epochs: 4, Seed: 8}
	undisturbed, want := fit(t, 3, p, 1, nil)
	for _, x := range []struct {
		name  string
		rank  int
		every int
		flip  func(m *regression, o *heavyBall)
		what  string
	}{
		{"parameter of rank 0", 0, 1, func(m *regression, _ *heavyBall) { flipBit(&m.w1[3]) }, "w1"},
		{"parameter of rank 2", 2, 1, func(m *regression, _ *heavyBall) { flipBit(&m.w2[7]) }, "w2"},
		{"velocity", 1, 1, func(_ *regression, o *heavyBall) { flipBit(&floats(o.v[0])[0]) }, "optimizer.w1.velocity"},
		{"several", 1, 1, func(m *regression, o *heavyBall) { flipBit(&m.w1[0]); flipBit(&m.w2[0]) }, "w1 and 1 more tensors"},
		// It is not finite before its turn to be compared comes.
		{"not a number", 1, 1000, func(m *regression, _ *heavyBall) { m.w2[1] = float32(math.NaN()) }, "w2"},
	} {
		t.Run(x.name, func(t *testing.T) {
			errs, c, l, weights := guarded(t, 3, p, control.Checkpointing{}, control.Guards{VerifyEvery: x.every}, func(s *Session, m *regression, o *heavyBall, step int) Row {
				if s.Rank() == x.rank && step == 17 {
					x.flip(m, o)
				}
				return nil
			})
			if len(errs) > 0 {
				t.Fatal(errors.Join(errs...))
			}
			said := fmt.Sprintf("warning: before step 18, rank %d (host h) held other bits in %s: replaced", x.rank, x.what)
			if len(c.said) != 1 || !strings.HasPrefix(c.said[0], said) {
				t.Errorf("said %q, want %q", c.said, said)
			}
			near(t, l, undisturbed, 1e-4)
			weights[3] = want[0]
			sameBits(t, weights, 4)
		})
	}
}

// TestFlippedBitIsFound compares a part in each step, so that it takes until the turn of
// what has flipped.
func TestFlippedBitIsFound(t *testing.T) {
	p := Sampler{Samples: 200, Batch: 20, Epochs: 4, Seed: 8}
	const every, at = 11, 9
	errs, c, _, weights := guarded(t, 4, p, control.Checkpointing{}, control.Guards{VerifyEvery: every}, func(s *Session, m *regression, _ *heavyBall, step int) Row {
		if s.Rank() == 3 && step == at {
			flipBit(&m.w1[30])
		}
		return nil
	})
	if len(errs) > 0 {
		t.Fatal(errors.Join(errs...))
	}
	sameBits(t, weights, 4)
	var step int
	if len(c.said) != 1 || !strings.Contains(c.said[0], "rank 3 (host h) held other bits in w1") {
		t.Fatalf("said %q", c.said)
	}
	if _, err := fmt.Sscanf(c.said[0], "warning: before step %d,", &step); err != nil || step <= at || step > at+every {
		t.Errorf("found before step %d (%v), want within %d steps of %d", step, err, every, at)
	}
}

func TestNoMajority(t *testing.T) {
	p := Sampler{Samples: 200, Batch: 20, Epochs: 4, Seed: 8}
	errs, _, _, _ := guarded(t, 2, p, control.Checkpointing{}, control.Guards{VerifyEvery: 1}, func(s *Session, m *regression, _ *heavyBall, step int) Row {
		if s.Rank() == 1 && step == 9 {
			flipBit(&m.w1[30])
		}
		return nil
	})
	if len(errs) != 2 {
		t.Fatalf("%v, want an error a rank", errs)
	}
	for _, err := range errs {
		kind, status := classify(err)
		if kind != control.KindMismatch || status != control.StatusDisagree || !strings.Contains(err.Error(), "before step 10, w1 is not the same on ranks 0 and 1") {
			t.Errorf("%v (%s, %d)", err, kind, status)
		}
	}
}

// flipBit changes a number, but not by so much that training fails.
func flipBit(x *float32) { *x = math.Float32frombits(math.Float32bits(*x) ^ 1<<21) }

// BenchmarkVerify is what a step pays for the comparison: 100 MiB of state, all of it in the
// default interval. For scale, the optimizer's pass over the same state.
func BenchmarkVerify(b *testing.B) {
	params := []Tensor{{Name: "w", Data: kernels.Of(make([]float32, 50<<18))}}
	grads := []Tensor{{Name: "w", Data: kernels.Of(make([]float32, 50<<18))}}
	var o heavyBall
	moments, err := o.Init(params)
	if err != nil {
		b.Fatal(err)
	}
	st := &State{all: append(params, moments...)}
	b.Run("hash", func(b *testing.B) {
		v := newSentry(st, control.DefaultVerifyEvery, 2)
		step := 0
		var w word
		for b.Loop() {
			v.mark(&w, step)
			step++
		}
	})
	b.Run("optimizer", func(b *testing.B) {
		for b.Loop() {
			if err := o.Step(0.1, params, grads); err != nil {
				b.Fatal(err)
			}
		}
	})
}
