// Package graph turns gorgonia graphs into models that gorun trains.
//
// It is the only package that imports gorgonia, and it uses it as a language: gorgonia
// describes the network and differentiates its operators; the order of the backward pass,
// the memory and the execution are here. That is what lets a gradient leave for the other
// ranks while the rest of the backward pass still runs.
package graph

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/gorun-ml/gorun/kernels"
	"github.com/gorun-ml/gorun/worker"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Net is what a build function describes. All of it is float32.
type Net struct {
	// Inputs are where a batch goes. The first dimension of each is the rows.
	Inputs G.Nodes
	// Params are trained. Names and shapes identify them and must not depend on the rows;
	// their initial values come from gorgonia.WithInit, which must not depend on the rank.
	Params G.Nodes
	// Losses has one number a row. A row's loss must depend on that row only: padding
	// relies on it.
	Losses *G.Node
	// Outputs is what Forward computes, rows × k.
	Outputs *G.Node
}

// Model is a gorgonia graph that can be trained. It implements worker.Model.
type Model struct {
	build  func(g *G.ExprGraph, rows int) (Net, error)
	params []param
	order  []int
	batch  *batch
}

// param is a parameter's memory, which outlives the graphs it is bound to.
type param struct {
	name  string
	shape tensor.Shape
	data  []float32
	value *tensor.Dense
}

// batch is what depends on the number of rows: one graph and its memory.
type batch struct {
	rows    int
	inputs  []worker.Tensor
	mask    []float32
	train   *program
	predict *program
	losses  int // register of train
	outputs int // register of predict
}

// describing is held while a graph is described: gorgonia numbers the groups of its nodes
// (a Conv2d makes one) in a variable of its package.
var describing sync.Mutex

var errNotCompiled = errors.New("the model was not compiled: call Compile with the number of rows first")

// New builds the graph once, for two rows, to learn its parameters and their initial
// values. (Of a single row gorgonia makes scalars here and there.) Build is called again
// by each Compile for another number of rows; its panics (gorgonia.Must, for one) come back
// as errors.
func New(build func(g *G.ExprGraph, rows int) (Net, error)) (*Model, error) {
	installProducts()
	m := &Model{build: build}
	if err := m.Compile(2); err != nil {
		return nil, err
	}
	m.batch = &batch{} // which nobody asked for
	return m, nil
}

// Params are the trainable tensors in the order of Net.Params.
func (m *Model) Params() []worker.Tensor {
	tensors := make([]worker.Tensor, len(m.params))
	for i, p := range m.params {
		tensors[i] = worker.Tensor{Name: p.name, Shape: slices.Clone(p.shape), Data: kernels.Of(p.data)}
	}
	return tensors
}

// BackwardOrder lists the parameters in the order in which Backward finishes their
// gradients: the last layer's first.
func (m *Model) BackwardOrder() []int { return slices.Clone(m.order) }

// Rows is the number of rows a batch has now; 0 before Compile.
func (m *Model) Rows() int { return m.batch.rows }

// Inputs are the tensors to fill before Backward or Forward; Compile replaces them.
func (m *Model) Inputs() []worker.Tensor { return m.batch.inputs }

// Mask weighs the rows' losses; Compile sets it to ones.
func (m *Model) Mask() []float32 { return m.batch.mask }

// Compile builds the graph for batches of rows rows. Parameters keep their values and
// their memory. If it fails, the model stays as it was.
func (m *Model) Compile(rows int) error {
	if rows < 1 {
		return fmt.Errorf("compile graph for %d rows: need at least 1", rows)
	}
	if m.batch != nil && m.batch.rows == rows {
		return nil
	}
	if err := m.compile(rows); err != nil {
		return fmt.Errorf("compile graph for %d rows: %w", rows, err)
	}
	return nil
}

func (m *Model) compile(rows int) (err error) {
	describing.Lock()
	defer describing.Unlock()
	defer func() { // gorgonia checks most of what it is given by panicking
		if p := recover(); p != nil {
			err = fmt.Errorf("gorgonia: %v", p)
		}
	}()
	g := G.NewGraph()
	net, err := describe(m.build, g, rows)
	if err != nil {
		return err
	}
	params := m.params
	if params == nil {
		if params, err = adopt(net.Params); err != nil {
			return err
		}
	}
	if err := bind(params, net.Params); err != nil {
		return err
	}
	b := &batch{rows: rows, mask: make([]float32, rows)}
	for i := range b.mask {
		b.mask[i] = 1
	}
	for _, n := range net.Inputs {
		data := make([]float32, n.Shape().TotalSize())
		if err := G.Let(n, dense(n.Shape(), data)); err != nil {
			return fmt.Errorf("input %s: %w", n.Name(), err)
		}
		b.inputs = append(b.inputs, worker.Tensor{Name: n.Name(), Shape: n.Shape(), Data: kernels.Of(data)})
	}
	seed := G.NewTensor(g, tensor.Float32, net.Losses.Dims(), G.WithShape(net.Losses.Shape()...), G.WithName(maskName))
	if err := G.Let(seed, dense(net.Losses.Shape(), b.mask)); err != nil {
		return fmt.Errorf("mask: %w", err)
	}

	buffers := make(map[*G.Node]G.Value)
	train := newProgram(g, buffers)
	if b.losses, err = train.want(net.Losses); err != nil {
		return err
	}
	order, err := backpropagate(train, net.Losses, seed, net.Params)
	if err != nil {
		return err
	}
	if m.order != nil && !slices.Equal(order, m.order) {
		return errors.New("the order of the gradients depends on the number of rows: build must describe the same network for any batch")
	}
	b.train = train.seal()
	predict := newProgram(g, buffers)
	if b.outputs, err = predict.want(net.Outputs); err != nil {
		return err
	}
	b.predict = predict.seal()
	m.params, m.order, m.batch = params, order, b
	return nil
}

// Backward runs the network forwards and backwards. The gradient that ready gets may be
// shared with the rest of the pass: it is for reading, and gone when ready returns.
func (m *Model) Backward(ready func(param int, grad []float32)) (loss float64, err error) {
	b := m.batch
	if b.rows == 0 {
		return 0, errNotCompiled
	}
	err = b.train.run(func(register, param int) error {
		grad, err := floats(b.train.values[register])
		if err == nil && len(grad) != len(m.params[param].data) {
			err = fmt.Errorf("has %d elements, want %d", len(grad), len(m.params[param].data))
		}
		if err != nil {
			return fmt.Errorf("gradient of %s: %w", m.params[param].name, err)
		}
		ready(param, grad)
		return nil
	})
	if err != nil {
		return 0, err
	}
	losses, err := floats(b.train.values[b.losses])
	if err != nil {
		return 0, fmt.Errorf("losses: %w", err)
	}
	for i, w := range b.mask {
		if w != 0 { // the loss of padding may be anything, NaN too
			loss += float64(w) * float64(losses[i])
		}
	}
	return loss, nil
}

// Forward computes the outputs only. They are valid until the next call of the model.
func (m *Model) Forward() (outputs worker.Tensor, err error) {
	b := m.batch
	if b.rows == 0 {
		return worker.Tensor{}, errNotCompiled
	}
	if err := b.predict.run(nil); err != nil {
		return worker.Tensor{}, err
	}
	v := b.predict.values[b.outputs]
	data, err := floats(v)
	if err != nil {
		return worker.Tensor{}, fmt.Errorf("outputs: %w", err)
	}
	return worker.Tensor{Name: "outputs", Shape: slices.Clone(v.Shape()), Data: kernels.Of(data)}, nil
}
