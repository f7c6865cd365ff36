package worker

import "fmt"

// Sampler says which samples a step consumes. The global batch is constant: step t consumes
// the same samples whatever the number of ranks, each sample exactly once an epoch, in an
// order drawn anew for each epoch from Seed.
type Sampler struct {
	Samples int // size of the data set
	Batch   int // samples a step, over all ranks
	Epochs  int
	Seed    uint64
	// ScaleBatch makes Batch a number a rank: the global batch grows with the world. The
	// trajectory then depends on the world's size: scale the rate too (see Scaled).
	ScaleBatch bool
}

// Step is one step's work for one rank.
type Step struct {
	Number  int   // steps applied before this one
	Epoch   int   // from 0
	Samples []int // this rank's share of the global batch; valid until the next step
	Weight  int   // samples in the global batch
}

// check says what is wrong with p, if anything.
func (p Sampler) check() error {
	for _, f := range []struct {
		name  string
		value int
	}{{"Samples", p.Samples}, {"Batch", p.Batch}, {"Epochs", p.Epochs}} {
		if f.value < 1 {
			return BadInput(fmt.Errorf("sampler: %s is %d; it must be at least 1", f.name, f.value))
		}
	}
	return nil
}

// global is the number of samples a full step consumes in a world of size ranks.
func (p Sampler) global(size int) int {
	if p.ScaleBatch {
		return p.Batch * size
	}
	return p.Batch
}

// stepsPerEpoch counts a last, shorter step too.
func (p Sampler) stepsPerEpoch(size int) int {
	b := p.global(size)
	return (p.Samples + b - 1) / b
}

// rows is the largest share a rank can get.
func (p Sampler) rows(size int) int { return (p.global(size) + size - 1) / size }

// shares deals out samples, remembering the order of the epoch it is in.
type shares struct {
	Sampler
	order *order
	mine  []int // of the step
}

// newShares deals out p's samples. was is what a session before has dealt from, nil for
// nothing: within an epoch the order is still the same.
func newShares(p Sampler, was *shares) *shares {
	s := &shares{Sampler: p}
	if was != nil && was.Samples == p.Samples && was.Seed == p.Seed {
		s.order = was.order
	}
	return s
}

// step is step number t's share of rank. Shares of one step differ by at most one sample.
func (s *shares) step(t, rank, size int) Step {
	per := s.stepsPerEpoch(size)
	epoch := t / per
	if s.order == nil || s.order.epoch != epoch {
		s.order = shuffle(s.Samples, s.Seed, epoch)
	}
	lo := t % per * s.global(size)
	hi := min(lo+s.global(size), s.Samples)
	n := hi - lo
	s.mine = s.order.deal(s.mine[:0], lo+n*rank/size, lo+n*(rank+1)/size)
	return Step{Number: t, Epoch: epoch, Weight: n, Samples: s.mine}
}
