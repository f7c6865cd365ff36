package graph

import (
	"fmt"

	"github.com/gorun-ml/gorun/kernels"
	"github.com/gorun-ml/gorun/worker"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Solver makes one of gorgonia's solvers the optimizer of a distributed model: vanilla
// SGD, Momentum, RMSProp, AdaGrad or Adam. The rate given to each step replaces the
// solver's own; its other options stay. Its moments and counters become tensors, so that
// they travel to newcomers and into checkpoints.
//
// The gradients are averages over the global batch: don't set gorgonia.WithBatchSize.
func Solver(s G.Solver) worker.Optimizer { return &solver{solver: s} }

type solver struct {
	solver G.Solver
	inside *layout
	step   []int64 // the solver's step counter, where it has one
	// first and second are the moments of each parameter, where the solver has them. This
	// memory is ours: some solvers replace theirs at every step.
	first, second [][]float32
}

// Init allocates the solver's hidden state and returns it.
func (s *solver) Init(params []worker.Tensor) ([]worker.Tensor, error) {
	if s.inside != nil {
		return nil, fmt.Errorf("solver %T: Init was called twice", s.solver)
	}
	inside, err := open(s.solver)
	if err != nil {
		return nil, err
	}
	var state []worker.Tensor
	if inside.counter != nil {
		s.step = make([]int64, 1)
		state = append(state, worker.Tensor{Name: "step", Shape: []int{1}, Data: kernels.Of(s.step)})
	}
	moment := func(of worker.Tensor, name string) []float32 {
		data := make([]float32, of.Data.Len())
		state = append(state, worker.Tensor{Name: name + "." + of.Name, Shape: of.Shape, Data: kernels.Of(data)})
		return data
	}
	for _, p := range params {
		if p.Data.Type != kernels.Float32 {
			return nil, fmt.Errorf("parameter %s is %v: gorgonia's solvers are used with float32 only", p.Name, p.Data.Type)
		}
		if inside.moments >= 1 {
			s.first = append(s.first, moment(p, "first"))
		}
		if inside.moments >= 2 {
			s.second = append(s.second, moment(p, "second"))
		}
	}
	inside.allocate(len(params))
	s.inside = inside
	return state, nil
}

// Step updates params with the solver. It overwrites grads.
func (s *solver) Step(rate float64, params, grads []worker.Tensor) error {
	if s.inside == nil {
		return fmt.Errorf("solver %T: Step was called before Init", s.solver)
	}
	if len(params) != len(grads) || s.first != nil && len(params) != len(s.first) {
		return fmt.Errorf("solver %T: %d parameters and %d gradients, Init was given another number", s.solver, len(params), len(grads))
	}
	s.inside.setRate(rate)
	if s.step != nil {
		s.inside.setCounter(s.step[0])
	}
	pairs := make([]G.ValueGrad, len(params))
	for i, p := range params {
		pairs[i] = pair{view(p.Shape, kernels.As[float32](p.Data)), view(p.Shape, kernels.As[float32](grads[i].Data))}
		for j, moment := range s.momentsOf(i) {
			s.inside.setMoment(i, j, view(p.Shape, moment))
		}
	}
	if err := s.solver.Step(pairs); err != nil {
		return fmt.Errorf("solver %T: %w", s.solver, err)
	}
	if s.step != nil {
		s.step[0] = s.inside.counterValue()
	}
	for i := range params {
		for j, moment := range s.momentsOf(i) {
			data, err := floats(s.inside.moment(i, j))
			if err != nil {
				return fmt.Errorf("solver %T: moment of %s %w", s.solver, params[i].Name, err)
			}
			copy(moment, data) // onto itself where the solver works in place
		}
	}
	return nil
}

func (s *solver) momentsOf(param int) [][]float32 {
	switch {
	case s.second != nil:
		return [][]float32{s.first[param], s.second[param]}
	case s.first != nil:
		return [][]float32{s.first[param]}
	}
	return nil
}

// view is a tensor over data. A scalar parameter is shown as a vector of one: gorgonia's
// scalars are copies.
func view(shape []int, data []float32) *tensor.Dense {
	if len(shape) == 0 {
		shape = []int{1}
	}
	return dense(shape, data)
}

// pair is what a gorgonia solver works on.
type pair struct{ value, grad *tensor.Dense }

// Value is the parameter.
func (p pair) Value() G.Value { return p.value }

// Grad is its gradient.
func (p pair) Grad() (G.Value, error) { return p.grad, nil }
