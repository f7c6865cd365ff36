package worker

import (
	"errors"
	"fmt"

	"github.com/gorun-ml/gorun/kernels"
	"github.com/gorun-ml/gorun/worker/checkpoint"
)

// State is what every rank holds alike. It lives as long as the process and is carried from
// generation to generation: survivors keep theirs, newcomers receive it. One without a Model
// and an Optimizer trains nothing and is for programs that use the collectives alone.
type State struct {
	Model     Model
	Optimizer Optimizer
	Rate      Schedule
	// Accumulate splits a rank's share of a batch into so many parts, one after the other,
	// so that the model is compiled for fewer rows. 0 means 1.
	Accumulate int
	// BucketBytes is the size at which gradients are sent; 0 has it follow from what
	// communication costs.
	BucketBytes int
	// Network is how the ranks communicate.
	Network Network
	// Extra is memory of the program's own that has to travel with the parameters.
	Extra []Tensor

	step      int  // steps applied
	ready     bool // holds a trajectory: from rank 0, a checkpoint, or its own steps
	optimizer []Tensor
	all       []Tensor // parameters, then the optimizer's, then Extra
	batches   *Sampler // that step counts in; nil before the first
	world     int      // in which it does, where the batch grows with it
	strikes   strikes
	shares    *shares // that the last session dealt from
}

// prepare checks the state and asks the optimizer for its memory.
func (st *State) prepare() error {
	if st.all != nil {
		return nil
	}
	if st.Model == nil && st.Optimizer == nil {
		st.all = extra(st.Extra)
		return nil
	}
	if st.Model == nil || st.Optimizer == nil || st.Rate == nil {
		return errors.New("a worker.State that trains needs a Model, an Optimizer and a Rate")
	}
	st.Accumulate = max(st.Accumulate, 1)
	params := st.Model.Params()
	for _, p := range params {
		if p.Data.Type != kernels.Float32 {
			return fmt.Errorf("parameter %s is %v; only float32 can be trained", p.Name, p.Data.Type)
		}
	}
	var err error
	if st.optimizer, err = st.Optimizer.Init(params); err != nil {
		return fmt.Errorf("optimizer: %w", err)
	}
	st.all = append(st.all, params...)
	for _, t := range st.optimizer {
		t.Name = "optimizer." + t.Name
		st.all = append(st.all, t)
	}
	st.all = append(st.all, extra(st.Extra)...)
	seen := map[string]bool{}
	for _, t := range st.all {
		if seen[t.Name] {
			return fmt.Errorf("two tensors are called %s: give each a name of its own", t.Name)
		}
		seen[t.Name] = true
	}
	return nil
}

// extra gives the program's own tensors a name space of their own.
func extra(ts []Tensor) []Tensor {
	out := make([]Tensor, 0, len(ts))
	for _, t := range ts {
		t.Name = "extra." + t.Name
		out = append(out, t)
	}
	return out
}

// tensors is the state as checkpoints hold it, aliasing the live memory.
func (st *State) tensors() []checkpoint.Tensor { return stored(st.all) }

func stored(ts []Tensor) []checkpoint.Tensor {
	out := make([]checkpoint.Tensor, len(ts))
	for i, t := range ts {
		out[i] = checkpoint.Tensor(t)
	}
	return out
}
