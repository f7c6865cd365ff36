package graph

import (
	"fmt"
	"hash"
	"hash/fnv"

	"github.com/chewxy/hm"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// fused is an operator of ours: float32, on dense rows, writing all of its result into
// the memory that it is given. Name says all of what it does, because gorgonia merges
// nodes whose operators have one name and whose operands are the same.
type fused struct {
	name  string
	in    []int // dimensions of the operands
	out   int   // dimensions of the result
	shape func(in []tensor.Shape) (tensor.Shape, error)
	run   func(out []float32, in [][]float32, shapes []tensor.Shape)
	diff  []bool // operands that have a gradient
	grads func(in G.Nodes, out, grad *G.Node) (G.Nodes, error)
}

// Arity is the number of operands.
func (f *fused) Arity() int { return len(f.in) }

// Type says that all operands and the result have one element type.
func (f *fused) Type() hm.Type {
	a := hm.TypeVariable('a')
	types := make([]hm.Type, 0, len(f.in)+1)
	for _, dims := range append(append([]int{}, f.in...), f.out) {
		types = append(types, G.TensorType{Dims: dims, Of: a})
	}
	return hm.NewFnType(types...)
}

// InferShape checks the operands' shapes.
func (f *fused) InferShape(in ...G.DimSizer) (tensor.Shape, error) {
	shapes := make([]tensor.Shape, len(in))
	for i, d := range in {
		s, ok := d.(tensor.Shape)
		if !ok || len(s) != f.in[i] {
			return nil, fmt.Errorf("%s: operand %d has shape %v, want %d dimensions", f.name, i, d, f.in[i])
		}
		shapes[i] = s
	}
	s, err := f.shape(shapes)
	if err != nil {
		return nil, fmt.Errorf("%s of %v: %w", f.name, shapes, err)
	}
	return s, nil
}

// Do computes into new memory.
func (f *fused) Do(in ...G.Value) (G.Value, error) {
	shapes := make([]G.DimSizer, len(in))
	for i, v := range in {
		shapes[i] = v.Shape()
	}
	s, err := f.InferShape(shapes...)
	if err != nil {
		return nil, err
	}
	return f.UsePreallocDo(dense(s, make([]float32, s.TotalSize())), in...)
}

// UsePreallocDo computes into out.
func (f *fused) UsePreallocDo(out G.Value, in ...G.Value) (G.Value, error) {
	data, shapes := make([][]float32, len(in)), make([]tensor.Shape, len(in))
	for i, v := range in {
		d, err := floats(v)
		if err != nil {
			return nil, fmt.Errorf("operand %d %w", i, err)
		}
		data[i], shapes[i] = d, v.Shape()
	}
	to, err := floats(out)
	if err != nil {
		return nil, fmt.Errorf("result %w", err)
	}
	f.run(to, data, shapes)
	return out, nil
}

// DiffWRT says which operands have a gradient.
func (f *fused) DiffWRT(int) []bool { return f.diff }

// SymDiff describes the operands' gradients.
func (f *fused) SymDiff(in G.Nodes, out, grad *G.Node) (G.Nodes, error) {
	return f.grads(in, out, grad)
}

// ReturnsPtr, CallsExtern and OverwritesInput tell gorgonia's own machine that the result
// is new memory.
func (f *fused) ReturnsPtr() bool { return true }

// CallsExtern is false: nothing here leaves Go.
func (f *fused) CallsExtern() bool { return false }

// OverwritesInput is -1: operands stay as they are.
func (f *fused) OverwritesInput() int { return -1 }

// WriteHash identifies the operator by its name.
func (f *fused) WriteHash(h hash.Hash) { fmt.Fprintf(h, "gorun %s", f.name) }

// Hashcode is the hash that WriteHash feeds.
func (f *fused) Hashcode() uint32 {
	h := fnv.New32a()
	f.WriteHash(h)
	return h.Sum32()
}

// String is the name.
func (f *fused) String() string { return f.name }
