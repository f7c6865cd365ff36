package graph

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gorun-ml/gorun/kernels"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// A describer builds one network in float32, to be trained, or in float64, to be compared
// with. In float64 it uses gorgonia's own operators only.
type describer func(g *G.ExprGraph, rows int, dt tensor.Dtype) Net

var networks = map[string]describer{
	"perceptron":        perceptron,
	"stock perceptron":  stockPerceptron,
	"convolution":       convolution,
	"broadcast bias":    broadcastBias,
	"shared weights":    sharedWeights,
	"slices":            slicesAndConcat,
	"squared error":     regression,
	"one scalar weight": scalarWeight,
}

func node(g *G.ExprGraph, dt tensor.Dtype, name string, init G.InitWFn, shape ...int) *G.Node {
	opts := []G.NodeConsOpt{G.WithName(name), G.WithShape(shape...)}
	if init != nil {
		opts = append(opts, G.WithInit(init))
	}
	return G.NewTensor(g, dt, len(shape), opts...)
}

// linearOf and friends choose our operator in float32 and gorgonia's in float64.
func linearOf(x, w, b *G.Node) *G.Node {
	if x.Dtype() == tensor.Float32 {
		return G.Must(Linear(x, w, b))
	}
	return G.Must(G.BroadcastAdd(G.Must(G.Mul(x, w)), G.Must(G.Reshape(b, tensor.Shape{1, b.Shape()[0]})), nil, []byte{0}))
}

func reluOf(x *G.Node) *G.Node {
	if x.Dtype() == tensor.Float32 {
		return G.Must(ReLU(x))
	}
	return G.Must(G.Rectify(x))
}

func crossEntropyOf(z, y *G.Node) *G.Node {
	if z.Dtype() == tensor.Float32 {
		return G.Must(CrossEntropy(z, y))
	}
	return stockCrossEntropy(z, y)
}

func stockCrossEntropy(z, y *G.Node) *G.Node {
	return G.Must(G.Neg(G.Must(G.Sum(G.Must(G.HadamardProd(y, G.Must(G.Log(G.Must(G.SoftMax(z)))))), 1))))
}

func perceptron(g *G.ExprGraph, rows int, dt tensor.Dtype) Net {
	x, y := node(g, dt, "x", nil, rows, 5), node(g, dt, "y", nil, rows, 3)
	w1, b1 := node(g, dt, "w1", HeNormal(1, "w1"), 5, 7), node(g, dt, "b1", Fill(0.1), 7)
	w2, b2 := node(g, dt, "w2", GlorotUniform(1, "w2"), 7, 3), node(g, dt, "b2", Zeros(), 3)
	z := linearOf(reluOf(linearOf(x, w1, b1)), w2, b2)
	return Net{G.Nodes{x, y}, G.Nodes{w1, b1, w2, b2}, crossEntropyOf(z, y), z}
}

func stockPerceptron(g *G.ExprGraph, rows int, dt tensor.Dtype) Net {
	x, y := node(g, dt, "x", nil, rows, 5), node(g, dt, "y", nil, rows, 3)
	w1, w2 := node(g, dt, "w1", HeNormal(1, "w1"), 5, 7), node(g, dt, "w2", GlorotUniform(1, "w2"), 7, 3)
	z := G.Must(G.Mul(G.Must(G.Tanh(G.Must(G.Mul(x, w1)))), w2))
	return Net{G.Nodes{x, y}, G.Nodes{w1, w2}, stockCrossEntropy(z, y), z}
}

func convolution(g *G.ExprGraph, rows int, dt tensor.Dtype) Net {
	x, y := node(g, dt, "x", nil, rows, 2, 6, 6), node(g, dt, "y", nil, rows, 3)
	f := node(g, dt, "filter", HeNormal(2, "filter"), 4, 2, 3, 3)
	w, b := node(g, dt, "w", HeNormal(2, "w"), 36, 3), node(g, dt, "b", Zeros(), 3)
	c := reluOf(G.Must(G.Conv2d(x, f, tensor.Shape{3, 3}, []int{1, 1}, []int{1, 1}, []int{1, 1})))
	p := G.Must(G.MaxPool2D(c, tensor.Shape{2, 2}, []int{0, 0}, []int{2, 2}))
	z := linearOf(G.Must(G.Reshape(p, tensor.Shape{rows, 36})), w, b)
	return Net{G.Nodes{x, y}, G.Nodes{f, w, b}, crossEntropyOf(z, y), z}
}

func broadcastBias(g *G.ExprGraph, rows int, dt tensor.Dtype) Net {
	x, y := node(g, dt, "x", nil, rows, 5), node(g, dt, "y", nil, rows, 3)
	w, b := node(g, dt, "w", HeNormal(3, "w"), 5, 3), node(g, dt, "b", HeNormal(3, "b"), 1, 3)
	z := G.Must(G.Sigmoid(G.Must(G.BroadcastAdd(G.Must(G.Mul(x, w)), b, nil, []byte{0}))))
	return Net{G.Nodes{x, y}, G.Nodes{w, b}, stockCrossEntropy(z, y), z}
}

func sharedWeights(g *G.ExprGraph, rows int, dt tensor.Dtype) Net {
	x, y := node(g, dt, "x", nil, rows, 4), node(g, dt, "y", nil, rows, 4)
	w, b := node(g, dt, "w", HeNormal(4, "w"), 4, 4), node(g, dt, "b", Zeros(), 4)
	h := x
	for range 3 {
		h = linearOf(G.Must(G.Tanh(h)), w, b)
	}
	return Net{G.Nodes{x, y}, G.Nodes{w, b}, crossEntropyOf(G.Must(G.Add(h, x)), y), h}
}

func slicesAndConcat(g *G.ExprGraph, rows int, dt tensor.Dtype) Net {
	x, y := node(g, dt, "x", nil, rows, 6), node(g, dt, "y", nil, rows, 4)
	w := node(g, dt, "w", HeNormal(5, "w"), 3, 4)
	left := G.Must(G.Mul(G.Must(G.Slice(x, nil, G.S(0, 3))), G.Must(G.Slice(w, nil, G.S(0, 2)))))
	right := G.Must(G.Mul(G.Must(G.Slice(x, nil, G.S(3, 6))), G.Must(G.Slice(w, nil, G.S(2, 4)))))
	z := G.Must(G.Concat(1, left, right))
	return Net{G.Nodes{x, y}, G.Nodes{w}, stockCrossEntropy(z, y), z}
}

func regression(g *G.ExprGraph, rows int, dt tensor.Dtype) Net {
	x, y := node(g, dt, "x", nil, rows, 5), node(g, dt, "y", nil, rows, 3)
	w, b := node(g, dt, "w", HeNormal(6, "w"), 5, 3), node(g, dt, "b", Zeros(), 3)
	z := linearOf(x, w, b)
	if dt == tensor.Float32 {
		return Net{G.Nodes{x, y}, G.Nodes{w, b}, G.Must(SquaredError(z, y)), z}
	}
	half := G.NewConstant(0.5)
	return Net{G.Nodes{x, y}, G.Nodes{w, b}, G.Must(G.Mul(G.Must(G.Sum(G.Must(G.Square(G.Must(G.Sub(z, y)))), 1)), half)), z}
}

func scalarWeight(g *G.ExprGraph, rows int, dt tensor.Dtype) Net {
	x, y := node(g, dt, "x", nil, rows, 3), node(g, dt, "y", nil, rows, 3)
	s := G.NewScalar(g, dt, G.WithName("temperature"), G.WithInit(Fill(1.5)))
	w := node(g, dt, "w", HeNormal(6, "w"), 3, 3)
	z := G.Must(G.HadamardProd(G.Must(G.Mul(x, w)), s))
	return Net{G.Nodes{x, y}, G.Nodes{s, w}, stockCrossEntropy(z, y), z}
}

func newModel(t testing.TB, d describer, rows int) *Model {
	t.Helper()
	m, err := New(func(g *G.ExprGraph, rows int) (Net, error) { return d(g, rows, tensor.Float32), nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Compile(rows); err != nil {
		t.Fatal(err)
	}
	return m
}

// feed fills the inputs with numbers that depend on the sample only: rows of labels are
// probabilities.
func feed(m *Model, first int) {
	for i, in := range m.Inputs() {
		data := kernels.As[float32](in.Data)
		width := len(data) / m.Rows()
		for row := range m.Rows() {
			random := rand.New(rand.NewPCG(uint64(first+row), uint64(i)))
			var total float32
			for j := range width {
				v := float32(random.NormFloat64())
				if in.Name == "y" {
					v = random.Float32()
				}
				data[row*width+j] = v
				total += v
			}
			if in.Name == "y" {
				for j := range width {
					data[row*width+j] /= total
				}
			}
		}
	}
}

// gradients runs the model and copies what ready gets.
func gradients(t testing.TB, m *Model) (loss float64, grads [][]float32) {
	t.Helper()
	grads = make([][]float32, len(m.Params()))
	loss, err := m.Backward(func(param int, grad []float32) {
		if grads[param] != nil {
			t.Errorf("gradient of %s was announced twice", m.Params()[param].Name)
		}
		grads[param] = append([]float32{}, grad...)
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, g := range grads {
		if g == nil {
			t.Fatalf("gradient of %s was not announced", m.Params()[i].Name)
		}
	}
	return loss, grads
}

// reference is the same network in float64 on gorgonia's own machine.
type reference struct {
	net     Net
	cost    *G.Node
	grads   G.Nodes
	machine G.VM
	params  [][]float64
}

func newReference(t testing.TB, d describer, m *Model) *reference {
	t.Helper()
	g := G.NewGraph()
	r := &reference{net: d(g, m.Rows(), tensor.Float64)}
	for i, n := range r.net.Inputs {
		let(t, n, widen(kernels.As[float32](m.Inputs()[i].Data)))
	}
	for i, n := range r.net.Params {
		data := widen(kernels.As[float32](m.Params()[i].Data))
		r.params = append(r.params, data)
		if n.IsScalar() {
			continue // a scalar's value is a copy: see loss
		}
		let(t, n, data)
	}
	mask := G.NewVector(g, tensor.Float64, G.WithName("mask"), G.WithShape(m.Rows()))
	let(t, mask, widen(m.Mask()))
	r.cost = G.Must(G.Sum(G.Must(G.HadamardProd(mask, r.net.Losses))))
	var err error
	if r.grads, err = G.Grad(r.cost, r.net.Params...); err != nil {
		t.Fatal(err)
	}
	r.machine = G.NewTapeMachine(g)
	return r
}

func let(t testing.TB, n *G.Node, data []float64) {
	t.Helper()
	if err := G.Let(n, tensor.New(tensor.WithShape(n.Shape()...), tensor.WithBacking(data))); err != nil {
		t.Fatal(err)
	}
}

func widen(x []float32) []float64 {
	wide := make([]float64, len(x))
	for i, v := range x {
		wide[i] = float64(v)
	}
	return wide
}

func (r *reference) loss(t testing.TB) float64 {
	t.Helper()
	for i, n := range r.net.Params {
		if n.IsScalar() {
			if err := G.Let(n, r.params[i][0]); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.machine.Reset()
	if err := r.machine.RunAll(); err != nil {
		t.Fatal(err)
	}
	return r.cost.Value().Data().(float64)
}

func TestGradientsEqualFiniteDifferences(t *testing.T) {
	for name, d := range networks {
		t.Run(name, func(t *testing.T) {
			m := newModel(t, d, 4)
			feed(m, 0)
			m.Mask()[2] = 0.5 // any weight will do
			loss, grads := gradients(t, m)
			ref := newReference(t, d, m)
			if want := ref.loss(t); !close(loss, want, 1e-5) {
				t.Errorf("loss = %v, want %v", loss, want)
			}
			const h = 1e-5
			for i, data := range ref.params {
				for j := range data {
					at := data[j]
					data[j] = at + h
					up := ref.loss(t)
					data[j] = at - h
					down := ref.loss(t)
					data[j] = at
					if want := (up - down) / (2 * h); !close(float64(grads[i][j]), want, 1e-4) {
						t.Fatalf("d loss / d %s[%d] = %v, finite differences say %v", m.Params()[i].Name, j, grads[i][j], want)
					}
				}
			}
		})
	}
}

func TestGradientsEqualGorgonias(t *testing.T) {
	for name, d := range networks {
		t.Run(name, func(t *testing.T) {
			m := newModel(t, d, 3)
			feed(m, 10)
			_, grads := gradients(t, m)
			ref := newReference(t, d, m)
			ref.loss(t)
			for i, n := range ref.grads {
				want, err := float64s(n.Value())
				if err != nil {
					t.Fatal(err)
				}
				for j, w := range want {
					if !close(float64(grads[i][j]), w, 1e-4) {
						t.Fatalf("d loss / d %s[%d] = %v, gorgonia.Grad says %v", m.Params()[i].Name, j, grads[i][j], w)
					}
				}
			}
		})
	}
}

func float64s(v G.Value) ([]float64, error) {
	switch data := v.Data().(type) {
	case []float64:
		return data, nil
	case float64:
		return []float64{data}, nil
	}
	return nil, fmt.Errorf("%T", v.Data())
}

// close allows a relative error for large numbers and an absolute one for small.
func close(got, want, tolerance float64) bool {
	return math.Abs(got-want) <= tolerance*math.Max(1, math.Abs(want))
}
