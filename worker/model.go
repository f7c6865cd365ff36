package worker

import "github.com/gorun-ml/gorun/kernels"

// Tensor is named memory that all ranks must hold alike. Data aliases the owner's memory.
type Tensor struct {
	Name  string
	Shape []int
	Data  kernels.Vector
}

// Model is a network that can be trained: gorgonia graphs become one through package
// graph, anything else by implementing these methods. A Model is used by one goroutine.
type Model interface {
	// Params are the trainable tensors, in an order that is the same on every rank. Their
	// memory stays where it is over Compile.
	Params() []Tensor
	// BackwardOrder lists the parameters' indices in the order in which Backward makes
	// their gradients final.
	BackwardOrder() []int
	// Compile prepares for batches of rows rows, keeping the parameters' values.
	Compile(rows int) error
	// Rows is what Compile was last called with.
	Rows() int
	// Inputs are where a batch goes: one matrix an input, of Rows rows.
	Inputs() []Tensor
	// Mask has one weight a row: 1 for a sample, 0 for padding.
	Mask() []float32
	// Backward computes the sum of the rows' losses, each times its mask, and its
	// gradients. It calls ready as soon as a gradient is final, once for each parameter;
	// grad is valid until ready returns.
	Backward(ready func(param int, grad []float32)) (loss float64, err error)
	// Forward computes the outputs for the inputs: Rows rows.
	Forward() (outputs Tensor, err error)
}

// Optimizer turns averaged gradients into new parameters. It must be deterministic: every
// rank applies it to the same bits.
type Optimizer interface {
	// Init is called once, before the first Step, and returns the memory that has to
	// travel with the parameters (moments, counters).
	Init(params []Tensor) (state []Tensor, err error)
	// Step updates params in place. It may overwrite grads.
	Step(rate float64, params, grads []Tensor) error
}
