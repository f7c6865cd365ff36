package graph

import (
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gorun-ml/gorun/kernels"
	"github.com/gorun-ml/gorun/worker"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

var _ worker.Model = (*Model)(nil)

func TestPaddingChangesNothing(t *testing.T) {
	for name, d := range networks {
		t.Run(name, func(t *testing.T) {
			small, padded := newModel(t, d, 3), newModel(t, d, 5)
			feed(small, 0)
			feed(padded, 0)
			for _, in := range padded.Inputs() { // what padding holds must not matter
				data := kernels.As[float32](in.Data)
				for i := len(data) * 3 / 5; i < len(data); i++ {
					data[i] = 7
				}
			}
			padded.Mask()[3], padded.Mask()[4] = 0, 0
			wantLoss, want := gradients(t, small)
			loss, got := gradients(t, padded)
			if !close(loss, wantLoss, 1e-6) {
				t.Errorf("loss = %v, without padding %v", loss, wantLoss)
			}
			compare(t, small, got, want, 1e-6)
		})
	}
}

// Stale padding may make a row's loss infinite, and 0·∞ is NaN.
func TestLossIgnoresInfinitePadding(t *testing.T) {
	m := newModel(t, func(g *G.ExprGraph, rows int, dt tensor.Dtype) Net {
		net := perceptron(g, rows, dt)
		net.Losses = G.Must(G.Log(net.Losses)) // of labels that are all zero: log 0
		return net
	}, 2)
	feed(m, 0)
	clear(kernels.As[float32](m.Inputs()[1].Data)[3:])
	m.Mask()[1] = 0
	if loss, err := m.Backward(func(int, []float32) {}); err != nil || math.IsNaN(loss) || math.IsInf(loss, 0) {
		t.Errorf("loss = %v, %v: the padding's loss went into it", loss, err)
	}
}

func TestFourSmallBatchesAreOneBig(t *testing.T) {
	for name, d := range networks {
		t.Run(name, func(t *testing.T) {
			big := newModel(t, d, 64)
			feed(big, 0)
			wantLoss, want := gradients(t, big)
			var loss float64
			var got [][]float32
			for rank := range 4 {
				m := newModel(t, d, 16)
				feed(m, rank*16)
				l, grads := gradients(t, m)
				loss += l
				if got == nil {
					got = grads
					continue
				}
				for i := range grads {
					for j, g := range grads[i] {
						got[i][j] += g
					}
				}
			}
			if !close(loss, wantLoss, 1e-5) {
				t.Errorf("sum of losses = %v, want %v", loss, wantLoss)
			}
			compare(t, big, got, want, 1e-5)
		})
	}
}

func TestCompileKeepsParameters(t *testing.T) {
	m := newModel(t, convolution, 4)
	params, order := m.Params(), m.BackwardOrder()
	for i, p := range params {
		for j, data := 0, kernels.As[float32](p.Data); j < len(data); j++ {
			data[j] = float32(i) + float32(j)/100
		}
	}
	before := snapshot(params)
	for _, rows := range []int{1, 7, 4} {
		if err := m.Compile(rows); err != nil {
			t.Fatal(err)
		}
		if m.Rows() != rows || len(m.Mask()) != rows || m.Inputs()[0].Shape[0] != rows {
			t.Fatalf("compiled for %d rows: Rows %d, mask %d, input %v", rows, m.Rows(), len(m.Mask()), m.Inputs()[0].Shape)
		}
		for i, p := range m.Params() {
			if &p.Data.Bytes[0] != &params[i].Data.Bytes[0] {
				t.Fatalf("compiled for %d rows: %s moved in memory", rows, p.Name)
			}
		}
		compare(t, m, snapshot(m.Params()), before, 0)
		if got := m.BackwardOrder(); !slices.Equal(got, order) {
			t.Fatalf("compiled for %d rows: backward order %v, before %v", rows, got, order)
		}
	}
	if err := m.Compile(0); err == nil || m.Rows() != 4 {
		t.Errorf("Compile(0) = %v, rows %d: want an error and 4 rows as before", err, m.Rows())
	}
}

// The graph must read the parameters' memory, not a copy of it: of scalars too.
func TestParametersAreLive(t *testing.T) {
	for name, d := range networks {
		m := newModel(t, d, 4)
		feed(m, 0)
		before, _ := gradients(t, m)
		for _, p := range m.Params() {
			for i, data := 0, kernels.As[float32](p.Data); i < len(data); i++ {
				data[i] += 0.25 * float32(i%3+1)
			}
		}
		after, _ := gradients(t, m)
		if want := newReference(t, d, m).loss(t); after == before || !close(after, want, 1e-5) {
			t.Errorf("%s: loss with other parameters = %v, want %v; it was %v", name, after, want, before)
		}
	}
}

// The loss that follows from Forward's outputs must be Backward's.
func TestForward(t *testing.T) {
	m := newModel(t, perceptron, 5)
	feed(m, 0)
	out, err := m.Forward()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(out.Shape, []int{5, 3}) {
		t.Fatalf("outputs have shape %v, want 5 × 3", out.Shape)
	}
	var want float64
	labels := kernels.As[float32](m.Inputs()[1].Data)
	for i, z := range kernels.As[float32](out.Data) {
		var sum float64
		for _, v := range kernels.As[float32](out.Data)[i/3*3 : i/3*3+3] {
			sum += math.Exp(float64(v))
		}
		want -= float64(labels[i]) * math.Log(math.Exp(float64(z))/sum)
	}
	if loss, _ := gradients(t, m); !close(loss, want, 1e-6) {
		t.Errorf("loss = %v, the outputs say %v", loss, want)
	}
}

// Logits of any size have a loss and a gradient: nothing overflows.
func TestCrossEntropyIsStable(t *testing.T) {
	m := newModel(t, func(g *G.ExprGraph, rows int, _ tensor.Dtype) Net {
		y, z := Input(g, "y", rows, 3), Param(g, "z", Zeros(), rows, 3)
		return Net{G.Nodes{y}, G.Nodes{z}, G.Must(CrossEntropy(z, y)), z}
	}, 2)
	copy(kernels.As[float32](m.Inputs()[0].Data), []float32{0, 1, 0, 1, 0, 0})
	copy(kernels.As[float32](m.Params()[0].Data), []float32{1e4, 0, -1e30, 500, 499, -500})
	loss, grads := gradients(t, m)
	if want := 1e4 + math.Log1p(math.Exp(-1)); !close(loss, want, 1e-6) {
		t.Errorf("loss = %v, want %v", loss, want)
	}
	p := 1 / (1 + math.Exp(1))
	for i, want := range []float64{1, -1, 0, -p, p, 0} {
		if !close(float64(grads[0][i]), want, 1e-6) {
			t.Errorf("gradient of logit %d = %v, want %v", i, grads[0][i], want)
		}
	}
}

func TestNotCompiled(t *testing.T) {
	m, err := New(func(g *G.ExprGraph, rows int) (Net, error) { return perceptron(g, rows, tensor.Float32), nil })
	if err != nil {
		t.Fatal(err)
	}
	if m.Rows() != 0 || len(m.Params()) != 4 || len(m.BackwardOrder()) != 4 {
		t.Errorf("a new model has %d rows, %d parameters, %d in backward order; want 0, 4, 4", m.Rows(), len(m.Params()), len(m.BackwardOrder()))
	}
	if _, err := m.Backward(func(int, []float32) {}); err != errNotCompiled {
		t.Errorf("Backward = %v, want %v", err, errNotCompiled)
	}
	if _, err := m.Forward(); err != errNotCompiled {
		t.Errorf("Forward = %v, want %v", err, errNotCompiled)
	}
}

// Gradients must come while the pass runs: the last layer's first, and with work left.
func TestHooksInterleave(t *testing.T) {
	m := newModel(t, func(g *G.ExprGraph, rows int, dt tensor.Dtype) Net {
		x, y := Input(g, "x", rows, 8), Input(g, "y", rows, 8)
		net := Net{Inputs: G.Nodes{x, y}}
		h := x
		for _, layer := range []string{"1", "2", "3", "4"} {
			w, b := Param(g, "w"+layer, HeNormal(1, layer), 8, 8), Param(g, "b"+layer, Zeros(), 8)
			net.Params = append(net.Params, w, b)
			h = G.Must(ReLU(G.Must(Linear(h, w, b))))
		}
		net.Losses, net.Outputs = G.Must(CrossEntropy(h, y)), h
		return net
	}, 2)
	if want := []int{6, 7, 4, 5, 2, 3, 0, 1}; !slices.Equal(m.BackwardOrder(), want) {
		t.Errorf("backward order = %v, want %v", m.BackwardOrder(), want)
	}
	var announced []int
	for _, c := range m.batch.train.code {
		if c.node == nil {
			announced = append(announced, c.hook.param)
		}
	}
	if !slices.Equal(announced, m.BackwardOrder()) {
		t.Errorf("hooks are in order %v, BackwardOrder says %v", announced, m.BackwardOrder())
	}
	code := m.batch.train.code
	first := slices.IndexFunc(code, func(c instruction) bool { return c.node == nil })
	var after int
	for _, c := range code[first:] {
		if c.node != nil {
			after++
		}
	}
	// 4 × (linear, relu), the loss; then its gradient, relu, dw and db of each layer and dx of three.
	if operators := len(code) - len(announced); operators != 25 || after != 13 {
		t.Errorf("%d of %d operators run after the first gradient is final, want 13 of 25", after, operators)
	}
}

func TestRunsAreIdentical(t *testing.T) {
	for name, d := range networks {
		t.Run(name, func(t *testing.T) {
			a, b := newModel(t, d, 4), newModel(t, d, 4)
			for step := range 5 {
				for _, m := range []*Model{a, b} {
					feed(m, step*4)
					_, grads := gradients(t, m)
					descend(m, grads)
				}
			}
			compare(t, a, snapshot(a.Params()), snapshot(b.Params()), 0)
		})
	}
}

func TestModelsRunConcurrently(t *testing.T) {
	var results [4][][]float32
	var group sync.WaitGroup
	for i := range results {
		group.Go(func() {
			m, err := New(func(g *G.ExprGraph, rows int) (Net, error) { return convolution(g, rows, tensor.Float32), nil })
			if err == nil {
				err = m.Compile(4)
			}
			for step := 0; err == nil && step < 20; step++ {
				feed(m, step*4)
				grads := make([][]float32, len(m.params))
				_, err = m.Backward(func(p int, g []float32) { grads[p] = slices.Clone(g) })
				descend(m, grads)
			}
			if err != nil {
				t.Error(err)
				return
			}
			results[i] = snapshot(m.Params())
		})
	}
	group.Wait()
	for i := range results {
		if !slices.EqualFunc(results[0], results[i], func(a, b []float32) bool { return slices.Equal(a, b) }) {
			t.Errorf("model %d ended with other weights than model 0", i)
		}
	}
}

func TestMemoryDoesNotGrow(t *testing.T) {
	for _, d := range []describer{perceptron, convolution} {
		m := newModel(t, d, 4)
		feed(m, 0)
		heap := func(steps int) uint64 {
			for range steps {
				if _, err := m.Backward(func(int, []float32) {}); err != nil {
					t.Fatal(err)
				}
			}
			runtime.GC()
			runtime.GC() // sync.Pool gives memory back at the second collection
			var s runtime.MemStats
			runtime.ReadMemStats(&s)
			return s.HeapAlloc
		}
		before := heap(50)
		if after := heap(2000); after > before+256<<10 {
			t.Errorf("the heap grew from %d to %d bytes over 2,000 steps", before, after)
		}
	}
}

func TestErrorsNameTheNode(t *testing.T) {
	type buildFunc = func(g *G.ExprGraph, rows int) (Net, error)
	with := func(change func(g *G.ExprGraph, net *Net)) buildFunc {
		return func(g *G.ExprGraph, rows int) (Net, error) {
			net := perceptron(g, rows, tensor.Float32)
			change(g, &net)
			return net, nil
		}
	}
	cases := map[string]struct {
		build buildFunc
		want  string
	}{
		"no losses":    {with(func(_ *G.ExprGraph, n *Net) { n.Losses = nil }), "Net.Losses is nil"},
		"no params":    {with(func(_ *G.ExprGraph, n *Net) { n.Params = nil }), "Net.Params is empty"},
		"scalar":       {with(func(_ *G.ExprGraph, n *Net) { n.Losses = n.Outputs }), "one a row"},
		"twice":        {with(func(_ *G.ExprGraph, n *Net) { n.Params = append(n.Params, n.Params[0]) }), "named w1"},
		"unlisted":     {with(func(_ *G.ExprGraph, n *Net) { n.Inputs = n.Inputs[:1] }), "y has no value"},
		"unused":       {with(func(g *G.ExprGraph, n *Net) { n.Params = append(n.Params, Param(g, "w9", Zeros(), 3)) }), "w9 does not influence"},
		"no initial":   {with(func(g *G.ExprGraph, n *Net) { n.Params = append(n.Params, Input(g, "w9", 3, 4)) }), "w9 has no initial value"},
		"shapes":       {func(g *G.ExprGraph, rows int) (Net, error) { return Net{}, linearOfWrongShapes(g, rows) }, "want rows × in"},
		"panic":        {func(g *G.ExprGraph, rows int) (Net, error) { panic("out of ideas") }, "build: out of ideas"},
		"dropout":      {with(func(_ *G.ExprGraph, n *Net) { n.Outputs = G.Must(G.Dropout(n.Outputs, 0.5)) }), "Dropout"},
		"inverse root": {with(func(_ *G.ExprGraph, n *Net) { n.Outputs = G.Must(G.InverseSqrt(n.Outputs)) }), "InverseSqrt"},
		"no units":     {with(func(g *G.ExprGraph, n *Net) { n.Params = append(n.Params, Param(g, "w9", Zeros(), 3, 0)) }), "w9 has shape (3, 0)"},
		"negative":     {with(func(g *G.ExprGraph, n *Net) { n.Params = append(n.Params, Param(g, "w9", Zeros(), -3)) }), "build: "},
		"random": {with(func(g *G.ExprGraph, n *Net) {
			n.Outputs = G.Must(G.Add(n.Outputs, G.UniformRandomNode(g, tensor.Float32, 0, 1, n.Outputs.Shape()...)))
		}), "random"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := New(c.build); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("New = %v, want an error with %q", err, c.want)
			}
		})
	}
}

func linearOfWrongShapes(g *G.ExprGraph, rows int) error {
	_, err := Linear(Input(g, "x", rows, 4), Param(g, "w", Zeros(), 5, 3), Param(g, "b", Zeros(), 3))
	return err
}

// A panic inside an operator must end the step, not the process.
func TestPanicsBecomeErrors(t *testing.T) {
	m := newModel(t, func(g *G.ExprGraph, rows int, dt tensor.Dtype) Net {
		net := perceptron(g, rows, dt)
		broken := *reluGrad(1)
		broken.name = "broken operator"
		broken.run = func([]float32, [][]float32, []tensor.Shape) { panic("index out of range") }
		net.Outputs = G.Must(G.ApplyOp(&broken, net.Losses, net.Losses))
		return net
	}, 3)
	if _, err := m.Backward(func(int, []float32) {}); err != nil {
		t.Errorf("Backward = %v: the outputs are no part of it", err)
	}
	_, err := m.Forward()
	if err == nil || !strings.Contains(err.Error(), "broken operator") || !strings.Contains(err.Error(), "(3) (3): index out of range") {
		t.Errorf("Forward = %v, want an error that names the operator, its shapes and the cause", err)
	}
	defer func() {
		if recover() != "the caller's own" {
			t.Error("a panic of ready did not reach its caller")
		}
	}()
	m.Backward(func(int, []float32) { panic("the caller's own") })
}

func TestInitialValuesDependOnSeedAndName(t *testing.T) {
	draw := func(f G.InitWFn) []float32 { return f(tensor.Float32, 100, 50).([]float32) }
	a := draw(HeNormal(1, "a"))
	if !slices.Equal(a, draw(HeNormal(1, "a"))) {
		t.Error("one seed and name gave two results")
	}
	if slices.Equal(a, draw(HeNormal(2, "a"))) || slices.Equal(a, draw(HeNormal(1, "b"))) {
		t.Error("another seed or name gave the same result")
	}
	var squares float64
	for _, v := range a {
		squares += float64(v) * float64(v)
	}
	if got, want := squares/float64(len(a)), 2.0/100; math.Abs(got-want) > want/10 {
		t.Errorf("variance = %v, want %v", got, want)
	}
	limit := float32(math.Sqrt(6.0 / 150))
	if u := draw(GlorotUniform(1, "a")); slices.Max(u) > limit || slices.Min(u) < -limit || slices.Max(u) < limit*0.99 {
		t.Errorf("range = [%v, %v], want ±%v", slices.Min(u), slices.Max(u), limit)
	}
}

func snapshot(tensors []worker.Tensor) [][]float32 {
	values := make([][]float32, len(tensors))
	for i, p := range tensors {
		values[i] = slices.Clone(kernels.As[float32](p.Data))
	}
	return values
}

func descend(m *Model, grads [][]float32) {
	for i, p := range m.Params() {
		for j, data := 0, kernels.As[float32](p.Data); j < len(data); j++ {
			data[j] -= 0.1 * grads[i][j]
		}
	}
}

func compare(t *testing.T, m *Model, got, want [][]float32, tolerance float64) {
	t.Helper()
	for i, p := range m.Params() {
		for j := range want[i] {
			if !close(float64(got[i][j]), float64(want[i][j]), tolerance) {
				t.Fatalf("%s[%d] = %v, want %v", p.Name, j, got[i][j], want[i][j])
			}
		}
	}
}
