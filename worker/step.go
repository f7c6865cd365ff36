package worker

import (
	"fmt"
	"math"
	"time"

	"github.com/gorun-ml/gorun/collective"
	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/kernels"
)

// word is the control word: what ranks must know of each other before a step is applied.
// It is max-reduced over all ranks beside the last bucket, so that every rank acts alike
// after the same step.
type word [6]int64

const (
	wordGeneration = iota // newest generation that a rank has seen
	wordStop              // 1: stop after this step
	wordCheckpoint        // 1: save after this step
	wordNonFinite         // what of which rank is not finite: rank << 32 | stepper.odd
	wordHash              // of a part of the state
	wordInverse           // its complement
)

// bill is where a step's time went, on this rank.
type bill struct {
	input, compute time.Duration
	comm           time.Duration // waited for others; what moved behind the backward pass is not in it
}

// stepper runs the steps of a session: it owns what is needed for one step and nothing that
// must survive it.
type stepper struct {
	comm    *collective.Comm
	doing   *activity
	st      *State
	buckets *buckets
	feed    *feed
	word    word
	handles []*collective.Handle
	bill    bill
	odd     int64 // what of this rank is not finite: 0 nothing, 1 the loss, 2 + a parameter
	first   bool  // in the first part of a step
	last    bool  // in the last part of a step
	ready   func(param int, grad []float32)
}

func newStepper(c *collective.Comm, st *State, l limits, m memory, doing *activity) (*stepper, error) {
	f, err := newFeed(st.Model)
	if err != nil {
		return nil, err
	}
	b, err := newBuckets(st.Model.Params(), st.Model.BackwardOrder(), l, m)
	if err != nil {
		return nil, err
	}
	x := &stepper{comm: c, doing: doing, st: st, buckets: b, feed: f, handles: make([]*collective.Handle, len(b.list))}
	x.ready = x.gradient
	return x, nil
}

// free gives back the buckets. Nothing is under way any more. A nil stepper has none.
func (x *stepper) free() error {
	if x == nil {
		return nil
	}
	return x.buckets.free()
}

// gradient takes a gradient out of the backward pass and sends its bucket on its way once
// that is complete, while the pass goes on. The last bucket waits for the loss.
func (x *stepper) gradient(param int, grad []float32) {
	if x.odd == 0 && !kernels.Finite(grad) {
		x.odd = int64(param) + 2
	}
	x.buckets.add(param, grad, x.first)
	if !x.last {
		return
	}
	if k := x.buckets.full(param); k >= 0 && k < len(x.buckets.list)-1 {
		x.send(k)
	}
}

func (x *stepper) send(k int) {
	b := &x.buckets.list[k]
	lane := x.comm.Lane(1 + k%(lanes-1))
	x.handles[k] = lane.StartNamed(b.name, kernels.Of(b.data), kernels.Sum)
}

// reduce runs the model over this rank's share and sums gradients and losses over all
// ranks. The result lies in the buckets. w is this rank's control word; it returns the
// world's.
func (x *stepper) reduce(samples []int, read Row, w word) (word, error) {
	m, parts := x.st.Model, x.st.Accumulate
	x.bill, x.odd = bill{}, 0
	x.buckets.begin()
	clear(x.handles)
	var loss float64
	var failed error
	for part := range parts {
		x.doing.set(works)
		lo := min(part*m.Rows(), len(samples))
		hi := min(lo+m.Rows(), len(samples))
		x.first, x.last = part == 0, part == parts-1
		start := time.Now()
		if failed = x.feed.fill(samples[lo:hi], read); failed != nil {
			break
		}
		filled := time.Now()
		x.bill.input += filled.Sub(start)
		l, err := m.Backward(x.ready)
		x.bill.compute += time.Since(filled)
		if err != nil {
			failed = err
			break
		}
		loss += l
	}
	if failed != nil {
		return word{}, failed // the session ends: closing its mesh ends the buckets under way
	}
	*x.buckets.loss = float32(loss)
	if x.odd == 0 && (math.IsNaN(loss) || math.IsInf(loss, 0)) {
		x.odd = 1
	}
	if x.odd != 0 {
		w[wordNonFinite] = int64(x.comm.Rank())<<32 | x.odd
	}
	x.doing.set(waits)
	waiting := time.Now()
	x.send(len(x.buckets.list) - 1)
	x.word = w
	err := x.comm.AllReduce(kernels.Of(x.word[:]), kernels.Max)
	for _, h := range x.handles {
		if e := h.Wait(); err == nil {
			err = e
		}
	}
	x.bill.comm = time.Since(waiting)
	x.doing.set(works)
	return x.word, err
}

// apply averages over the global weight and hands the gradients to the optimizer. Nothing
// can fail from here that would not fail on every rank.
func (x *stepper) apply(weight int) (loss float64, err error) {
	start := time.Now()
	defer func() { x.bill.compute += time.Since(start) }()
	for _, b := range x.buckets.list {
		kernels.Scale32(b.data, 1/float32(weight))
	}
	loss = float64(*x.buckets.loss)
	rate := x.st.Rate(x.st.step, x.comm.Size())
	if err := x.st.Optimizer.Step(rate, x.st.Model.Params(), x.buckets.grads); err != nil {
		return 0, fmt.Errorf("optimizer: %w", err)
	}
	x.st.step++
	return loss, nil
}

// skip leaves the gradients out, on all ranks: the step counts, and nothing else changes.
func (x *stepper) skip(weight int) (loss float64) {
	x.st.step++
	return float64(*x.buckets.loss) / float64(weight)
}

// nonFinite says what was found.
func (x *stepper) nonFinite(w word) *NonFiniteError {
	odd := w[wordNonFinite]
	e := &NonFiniteError{Step: x.st.step + 1, Rank: int(odd >> 32), What: "the loss"}
	if param := odd&(1<<32-1) - 2; param >= 0 {
		e.What = "the gradient of " + x.buckets.grads[param].Name
	}
	return e
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

// report turns a step that was applied, or skipped, into what the supervisor is told.
func (s *Session) report(step Step, loss float64, skipped bool) {
	per := s.shares.stepsPerEpoch(s.size)
	r := control.Report{
		Member: s.p.self.ID, Rank: s.rank, Generation: s.gen.ID, Size: s.size,
		T: float64(time.Now().UnixMicro()) / 1e6, Step: step.Number + 1, Steps: per * s.shares.Epochs,
		Epoch: step.Epoch + 1, Epochs: s.shares.Epochs,
		StepOfEpoch: step.Number%per + 1, StepsPerEpoch: per, Samples: step.Weight,
		Fixed: s.shares.ScaleBatch, Skipped: skipped, ComputeMS: ms(s.stepper.bill.compute), CommMS: ms(s.stepper.bill.comm), InputMS: ms(s.stepper.bill.input),
	}
	if !math.IsNaN(loss) && !math.IsInf(loss, 0) {
		r.Loss = &loss
	}
	s.p.job.Report(r) // a lost report costs a line of metrics, not the step
}
