package worker

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/gorun-ml/gorun/kernels"
)

// regression is a two-layer network y = w2·tanh(w1·x) with squared error, small enough to
// be written out: the Model that tests of the loop train.
type regression struct {
	in, hidden int
	rows       int
	w1, w2     []float32
	x, y, mask []float32
	h, out     []float32
	g1, g2     []float32
	fail       error // what Backward returns
}

func newRegression(in, hidden int, seed uint64) *regression {
	m := &regression{in: in, hidden: hidden, w1: make([]float32, in*hidden), w2: make([]float32, hidden)}
	r := rand.New(rand.NewPCG(seed, 0))
	for _, w := range [][]float32{m.w1, m.w2} {
		for i := range w {
			w[i] = float32(r.NormFloat64()) / float32(math.Sqrt(float64(in)))
		}
	}
	m.g1, m.g2, m.h = make([]float32, in*hidden), make([]float32, hidden), make([]float32, hidden)
	return m
}

func (m *regression) Params() []Tensor {
	return []Tensor{
		{Name: "w1", Shape: []int{m.in, m.hidden}, Data: kernels.Of(m.w1)},
		{Name: "w2", Shape: []int{m.hidden}, Data: kernels.Of(m.w2)},
	}
}

func (m *regression) BackwardOrder() []int { return []int{1, 0} }
func (m *regression) Rows() int            { return m.rows }
func (m *regression) Mask() []float32      { return m.mask }

func (m *regression) Compile(rows int) error {
	m.rows, m.x, m.y = rows, make([]float32, rows*m.in), make([]float32, rows)
	m.mask, m.out = make([]float32, rows), make([]float32, rows)
	return nil
}

func (m *regression) Inputs() []Tensor {
	return []Tensor{
		{Name: "x", Shape: []int{m.rows, m.in}, Data: kernels.Of(m.x)},
		{Name: "y", Shape: []int{m.rows, 1}, Data: kernels.Of(m.y)},
	}
}

func (m *regression) predict(x []float32) float32 {
	var y float64
	for j := range m.h {
		var a float64
		for i, v := range x {
			a += float64(v) * float64(m.w1[i*m.hidden+j])
		}
		m.h[j] = float32(math.Tanh(a))
		y += float64(m.h[j]) * float64(m.w2[j])
	}
	return float32(y)
}

func (m *regression) Backward(ready func(int, []float32)) (float64, error) {
	if m.fail != nil {
		return 0, m.fail
	}
	clear(m.g1)
	clear(m.g2)
	var loss float64
	for r := range m.rows {
		x := m.x[r*m.in : (r+1)*m.in]
		d := float64(m.predict(x)-m.y[r]) * float64(m.mask[r])
		loss += d * d
		for j, h := range m.h {
			m.g2[j] += float32(2 * d * float64(h))
			back := 2 * d * float64(m.w2[j]) * (1 - float64(h)*float64(h))
			for i, v := range x {
				m.g1[i*m.hidden+j] += float32(back * float64(v))
			}
		}
	}
	ready(1, m.g2)
	ready(0, m.g1)
	return loss, nil
}

func (m *regression) Forward() (Tensor, error) {
	for r := range m.rows {
		m.out[r] = m.predict(m.x[r*m.in : (r+1)*m.in])
	}
	return Tensor{Name: "out", Shape: []int{m.rows, 1}, Data: kernels.Of(m.out)}, nil
}

// heavyBall is SGD with momentum, in plain loops.
type heavyBall struct{ v []Tensor }

func (o *heavyBall) Init(params []Tensor) ([]Tensor, error) {
	for _, p := range params {
		o.v = append(o.v, Tensor{Name: p.Name + ".velocity", Shape: p.Shape, Data: kernels.Of(make([]float32, p.Data.Len()))})
	}
	return o.v, nil
}

func (o *heavyBall) Step(rate float64, params, grads []Tensor) error {
	for k := range params {
		p, g, v := kernels.As[float32](params[k].Data), kernels.As[float32](grads[k].Data), kernels.As[float32](o.v[k].Data)
		for i := range p {
			v[i] = 0.9*v[i] + g[i]
			p[i] -= float32(rate) * v[i]
		}
	}
	return nil
}

// waves is a data set: y = sin of a projection of x.
type waves struct {
	in int
	x  [][]float32
	y  []float32
}

func newWaves(samples, in int) *waves {
	w := &waves{in: in}
	r := rand.New(rand.NewPCG(7, 7))
	for range samples {
		x := make([]float32, in)
		var a float64
		for i := range x {
			x[i] = float32(r.NormFloat64())
			a += float64(x[i]) * float64(i%3-1)
		}
		w.x, w.y = append(w.x, x), append(w.y, float32(math.Sin(a)))
	}
	return w
}

func (w *waves) row(sample int, in ...[]float32) error {
	if sample >= len(w.x) {
		return fmt.Errorf("there are %d samples", len(w.x))
	}
	copy(in[0], w.x[sample])
	in[1][0] = w.y[sample]
	return nil
}
