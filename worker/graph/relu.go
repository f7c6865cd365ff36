package graph

import (
	"fmt"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// ReLU is the larger of x and 0, in one pass over x of any shape; gorgonia.Rectify takes
// two forwards and three backwards.
func ReLU(x *G.Node) (*G.Node, error) {
	dims := x.Dims()
	return G.ApplyOp(&fused{
		name: fmt.Sprintf("relu %d", dims), in: []int{dims}, out: dims, diff: []bool{true},
		shape: sameShape,
		run: func(out []float32, in [][]float32, _ []tensor.Shape) {
			for i, v := range in[0] {
				out[i] = max(v, 0)
			}
		},
		grads: func(_ G.Nodes, out, grad *G.Node) (G.Nodes, error) {
			g, err := G.ApplyOp(reluGrad(dims), out, grad)
			return G.Nodes{g}, err
		},
	}, x)
}

func reluGrad(dims int) *fused {
	return &fused{
		name: fmt.Sprintf("relu gradient %d", dims), in: []int{dims, dims}, out: dims, diff: []bool{false, false},
		shape: sameShape,
		run: func(out []float32, in [][]float32, _ []tensor.Shape) {
			result, grad := in[0], in[1]
			for i, g := range grad {
				if !(result[i] > 0) {
					g = 0
				}
				out[i] = g
			}
		},
	}
}

func sameShape(in []tensor.Shape) (tensor.Shape, error) {
	for _, s := range in {
		if !s.Eq(in[0]) {
			return nil, fmt.Errorf("shapes differ")
		}
	}
	return in[0].Clone(), nil
}
