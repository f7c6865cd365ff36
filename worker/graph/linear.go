package graph

import (
	"fmt"

	"gonum.org/v1/gonum/blas"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Linear is x·w + b: x is rows × in, w is in × out, b has out elements. One operator does
// the product and adds b while the result is warm; backwards there is one product for
// each of x and w that needs a gradient.
func Linear(x, w, b *G.Node) (*G.Node, error) { return G.ApplyOp(linear, x, w, b) }

var linear = &fused{
	name: "linear", in: []int{2, 2, 1}, out: 2, diff: []bool{true, true, true},
	shape: func(in []tensor.Shape) (tensor.Shape, error) {
		x, w, b := in[0], in[1], in[2]
		if x[1] != w[0] || w[1] != b[0] {
			return nil, fmt.Errorf("want rows × in, in × out and out")
		}
		return tensor.Shape{x[0], w[1]}, nil
	},
	run: func(out []float32, in [][]float32, shapes []tensor.Shape) {
		b := in[2]
		for i := 0; i < len(out); i += len(b) {
			copy(out[i:], b)
		}
		rows, inner, cols := shapes[0][0], shapes[0][1], shapes[1][1]
		G.WhichBLAS().Sgemm(blas.NoTrans, blas.NoTrans, rows, cols, inner, 1, in[0], inner, in[1], cols, 1, out, cols)
	},
	grads: func(in G.Nodes, out, grad *G.Node) (G.Nodes, error) {
		return applyEach(
			application{linearGradX, G.Nodes{grad, in[1]}},
			application{linearGradW, G.Nodes{in[0], grad}},
			application{sumRows, G.Nodes{grad}})
	},
}

// linearGradX is g·wᵀ.
var linearGradX = &fused{
	name: "linear gradient x", in: []int{2, 2}, out: 2, diff: []bool{false, false},
	shape: func(in []tensor.Shape) (tensor.Shape, error) { return tensor.Shape{in[0][0], in[1][0]}, nil },
	run: func(out []float32, in [][]float32, shapes []tensor.Shape) {
		rows, cols, inner := shapes[0][0], shapes[0][1], shapes[1][0]
		G.WhichBLAS().Sgemm(blas.NoTrans, blas.Trans, rows, inner, cols, 1, in[0], cols, in[1], cols, 0, out, inner)
	},
}

// linearGradW is xᵀ·g.
var linearGradW = &fused{
	name: "linear gradient w", in: []int{2, 2}, out: 2, diff: []bool{false, false},
	shape: func(in []tensor.Shape) (tensor.Shape, error) { return tensor.Shape{in[0][1], in[1][1]}, nil },
	run: func(out []float32, in [][]float32, shapes []tensor.Shape) {
		rows, inner, cols := shapes[0][0], shapes[0][1], shapes[1][1]
		G.WhichBLAS().Sgemm(blas.Trans, blas.NoTrans, inner, cols, rows, 1, in[0], inner, in[1], cols, 0, out, cols)
	},
}

// sumRows adds up the rows of a matrix.
var sumRows = &fused{
	name: "sum rows", in: []int{2}, out: 1, diff: []bool{false},
	shape: func(in []tensor.Shape) (tensor.Shape, error) { return tensor.Shape{in[0][1]}, nil },
	run: func(out []float32, in [][]float32, _ []tensor.Shape) {
		clear(out)
		for g := in[0]; len(g) > 0; g = g[len(out):] {
			for j, v := range g[:len(out)] {
				out[j] += v
			}
		}
	},
}

// application is an operator and the nodes it is applied to.
type application struct {
	op *fused
	to G.Nodes
}

func applyEach(all ...application) (G.Nodes, error) {
	nodes := make(G.Nodes, len(all))
	for i, a := range all {
		var err error
		if nodes[i], err = G.ApplyOp(a.op, a.to...); err != nil {
			return nil, err
		}
	}
	return nodes, nil
}
