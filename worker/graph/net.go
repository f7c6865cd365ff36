package graph

import (
	"errors"
	"fmt"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// maskName is the name of the node that the backward pass starts from.
const maskName = "gorun mask"

// Input declares a place for a batch: rows × size.
func Input(g *G.ExprGraph, name string, rows, size int) *G.Node {
	return G.NewMatrix(g, tensor.Float32, G.WithName(name), G.WithShape(rows, size))
}

// Param declares a trained tensor of any shape.
func Param(g *G.ExprGraph, name string, init G.InitWFn, shape ...int) *G.Node {
	return G.NewTensor(g, tensor.Float32, len(shape), G.WithName(name), G.WithShape(shape...), G.WithInit(init))
}

// describe calls build and checks what it says.
func describe(build func(*G.ExprGraph, int) (Net, error), g *G.ExprGraph, rows int) (net Net, err error) {
	if net, err = callBuild(build, g, rows); err != nil {
		return net, err
	}
	switch {
	case net.Losses == nil:
		return net, errors.New("Net.Losses is nil: it must be a vector with one loss a row")
	case net.Outputs == nil:
		return net, errors.New("Net.Outputs is nil: it must be rows × k")
	case len(net.Inputs) == 0:
		return net, errors.New("Net.Inputs is empty: list the nodes that a batch fills")
	case len(net.Params) == 0:
		return net, errors.New("Net.Params is empty: list the nodes that are trained")
	case net.Losses.Shape().TotalSize() != rows:
		return net, fmt.Errorf("Net.Losses has shape %v: want %d numbers, one a row", net.Losses.Shape(), rows)
	}
	for _, n := range net.Inputs {
		if s := n.Shape(); len(s) == 0 || s[0] != rows {
			return net, fmt.Errorf("input %s has shape %v: its first dimension must be the %d rows", n.Name(), s, rows)
		}
	}
	seen := make(map[string]bool)
	for _, n := range append(append(G.Nodes{net.Losses, net.Outputs}, net.Inputs...), net.Params...) {
		if n.Dtype() != tensor.Float32 {
			return net, fmt.Errorf("%s is %v: only float32 is supported", n.Name(), n.Dtype())
		}
		if n.Graph() != g {
			return net, fmt.Errorf("%s is not in the graph that build was given", n.Name())
		}
		if n.Shape().TotalSize() < 1 {
			return net, fmt.Errorf("%s has shape %v: every dimension must be at least 1", n.Name(), n.Shape())
		}
	}
	for _, n := range append(append(G.Nodes{}, net.Inputs...), net.Params...) {
		if !n.IsVar() {
			return net, fmt.Errorf("%s is computed: inputs and parameters must be plain nodes", n.Name())
		}
		if seen[n.Name()] {
			return net, fmt.Errorf("two inputs or parameters are named %s: gorgonia takes them for one", n.Name())
		}
		seen[n.Name()] = true
	}
	return net, refuse(g)
}

func callBuild(build func(*G.ExprGraph, int) (Net, error), g *G.ExprGraph, rows int) (net Net, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("build: %v", p)
		}
	}()
	return build(g, rows)
}

// adopt makes the parameters' memory and copies their initial values into it.
func adopt(nodes G.Nodes) ([]param, error) {
	params := make([]param, len(nodes))
	for i, n := range nodes {
		v := n.Value()
		if v == nil {
			return nil, fmt.Errorf("parameter %s has no initial value: give it gorgonia.WithInit", n.Name())
		}
		initial, err := floats(v)
		if err != nil {
			return nil, fmt.Errorf("parameter %s: %w", n.Name(), err)
		}
		data := append([]float32(nil), initial...)
		params[i] = param{name: n.Name(), shape: n.Shape(), data: data, value: dense(n.Shape(), data)}
	}
	return params, nil
}

// bind makes a new graph's nodes use the parameters' memory.
func bind(params []param, nodes G.Nodes) error {
	if len(nodes) != len(params) {
		return fmt.Errorf("build describes %d parameters, before it described %d", len(nodes), len(params))
	}
	for i, n := range nodes {
		p := params[i]
		if n.Name() != p.name || !n.Shape().Eq(p.shape) {
			return fmt.Errorf("parameter %d is %s %v, before it was %s %v: names and shapes must not depend on the rows", i, n.Name(), n.Shape(), p.name, p.shape)
		}
		if err := G.Let(n, p.value); err != nil {
			return fmt.Errorf("parameter %s: %w", p.name, err)
		}
	}
	return nil
}

// dense is a tensor over data, which it does not copy.
func dense(shape tensor.Shape, data []float32) *tensor.Dense {
	return tensor.New(tensor.WithShape(shape.Clone()...), tensor.WithBacking(data))
}

// floats is a value's numbers in row-major order: its own memory if they lie like that.
func floats(v G.Value) ([]float32, error) {
	switch v := v.(type) {
	case *G.F32:
		return []float32{float32(*v)}, nil
	case *tensor.Dense:
		if v.Dtype() != tensor.Float32 {
			return nil, fmt.Errorf("is %v, want float32", v.Dtype())
		}
		if v.RequiresIterator() || !v.DataOrder().IsRowMajor() {
			v = v.Materialize().(*tensor.Dense)
		}
		if one, ok := v.Data().(float32); ok {
			return []float32{one}, nil
		}
		return v.Data().([]float32), nil
	default:
		return nil, fmt.Errorf("is a %T, want float32 numbers", v)
	}
}
