package graph

import (
	"fmt"
	"math"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// CrossEntropy is, for each row, -Σ labels·log(softmax(logits)): both are rows × k and
// labels sum to 1, one-hot for instance. Softmax and logarithm are one operator, so that
// nothing overflows: log softmax(z)ᵢ = zᵢ - max z - log Σ exp(z - max z).
func CrossEntropy(logits, labels *G.Node) (*G.Node, error) {
	return G.ApplyOp(crossEntropy, logits, labels)
}

// SquaredError is, for each row, ½ Σ (y - target)²: both are rows × k.
func SquaredError(y, target *G.Node) (*G.Node, error) { return G.ApplyOp(squaredError, y, target) }

var crossEntropy = &fused{
	name: "cross-entropy", in: []int{2, 2}, out: 1, diff: []bool{true, false},
	shape: onePerRow,
	run: func(out []float32, in [][]float32, shapes []tensor.Shape) {
		k := shapes[0][1]
		for i := range out {
			z, y := in[0][i*k:(i+1)*k], in[1][i*k:(i+1)*k]
			top, log := logSumExp(z)
			var loss float64
			for j, v := range z {
				if y[j] != 0 {
					loss -= float64(y[j]) * (float64(v) - top - log)
				}
			}
			out[i] = float32(loss)
		}
	},
	grads: func(in G.Nodes, _, grad *G.Node) (G.Nodes, error) {
		g, err := G.ApplyOp(crossEntropyGrad, in[0], in[1], grad)
		return G.Nodes{g, nil}, err
	},
}

// crossEntropyGrad is (softmax(logits)·Σ labels - labels), each row times its gradient.
var crossEntropyGrad = &fused{
	name: "cross-entropy gradient", in: []int{2, 2, 1}, out: 2, diff: []bool{false, false, false},
	shape: func(in []tensor.Shape) (tensor.Shape, error) { return in[0].Clone(), nil },
	run: func(out []float32, in [][]float32, shapes []tensor.Shape) {
		k := shapes[0][1]
		for i, g := range in[2] {
			z, y, d := in[0][i*k:(i+1)*k], in[1][i*k:(i+1)*k], out[i*k:(i+1)*k]
			if g == 0 { // padding: its logits may be anything
				clear(d)
				continue
			}
			top, log := logSumExp(z)
			var total float64
			for _, v := range y {
				total += float64(v)
			}
			for j, v := range z {
				d[j] = g * float32(total*math.Exp(float64(v)-top-log)-float64(y[j]))
			}
		}
	},
}

// logSumExp is the largest of z and log Σ exp(z - largest).
func logSumExp(z []float32) (top, log float64) {
	top = math.Inf(-1)
	for _, v := range z {
		top = math.Max(top, float64(v))
	}
	var sum float64
	for _, v := range z {
		sum += math.Exp(float64(v) - top)
	}
	return top, math.Log(sum)
}

var squaredError = &fused{
	name: "squared error", in: []int{2, 2}, out: 1, diff: []bool{true, false},
	shape: onePerRow,
	run: func(out []float32, in [][]float32, shapes []tensor.Shape) {
		k := shapes[0][1]
		for i := range out {
			var loss float64
			for j := i * k; j < (i+1)*k; j++ {
				d := float64(in[0][j]) - float64(in[1][j])
				loss += d * d / 2
			}
			out[i] = float32(loss)
		}
	},
	grads: func(in G.Nodes, _, grad *G.Node) (G.Nodes, error) {
		g, err := G.ApplyOp(squaredErrorGrad, in[0], in[1], grad)
		return G.Nodes{g, nil}, err
	},
}

// squaredErrorGrad is (y - target), each row times its gradient.
var squaredErrorGrad = &fused{
	name: "squared error gradient", in: []int{2, 2, 1}, out: 2, diff: []bool{false, false, false},
	shape: func(in []tensor.Shape) (tensor.Shape, error) { return in[0].Clone(), nil },
	run: func(out []float32, in [][]float32, shapes []tensor.Shape) {
		k := shapes[0][1]
		for i, g := range in[2] {
			for j := i * k; j < (i+1)*k; j++ {
				if out[j] = 0; g != 0 {
					out[j] = g * (in[0][j] - in[1][j])
				}
			}
		}
	},
}

func onePerRow(in []tensor.Shape) (tensor.Shape, error) {
	if !in[0].Eq(in[1]) {
		return nil, fmt.Errorf("shapes differ")
	}
	return tensor.Shape{in[0][0]}, nil
}
