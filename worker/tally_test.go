package worker

import (
	"fmt"
	"math"
	"time"

	"github.com/gorun-ml/gorun/kernels"
)

// tally is a Model whose gradients are whole numbers, so that their sums are exact and the
// same however many ranks add them up.
type tally struct {
	rows    int
	x, mask []float32
	params  [3][]float32
	grads   [3][]float32
	pause   func() // computing takes time
}

// originStep is between the initial values of two incarnations, and more than training adds.
const originStep = 1024

// newTally has initial values that tell whose they are.
func newTally(incarnation int, pause func()) *tally {
	m := &tally{pause: pause}
	for i, n := range []int{3, 2, 1} {
		m.params[i], m.grads[i] = make([]float32, n), make([]float32, n)
		for k := range m.params[i] {
			m.params[i][k] = float32(incarnation * originStep)
		}
	}
	return m
}

// pull is what a sample adds to the gradient of a parameter's element.
func pull(sample, param, element int) float32 {
	h := uint64(sample+1)*0x9e3779b97f4a7c15 ^ uint64(param*8+element+1)*0xbf58476d1ce4e5b9
	return float32(int(h>>40%17) - 8)
}

func (m *tally) Params() []Tensor {
	var ts []Tensor
	for i, p := range m.params {
		ts = append(ts, Tensor{Name: fmt.Sprintf("p%d", i), Shape: []int{len(p)}, Data: kernels.Of(p)})
	}
	return ts
}

func (m *tally) BackwardOrder() []int { return []int{2, 1, 0} }
func (m *tally) Rows() int            { return m.rows }
func (m *tally) Mask() []float32      { return m.mask }

func (m *tally) Compile(rows int) error {
	m.rows, m.x, m.mask = rows, make([]float32, rows), make([]float32, rows)
	return nil
}

func (m *tally) Inputs() []Tensor {
	return []Tensor{{Name: "x", Shape: []int{m.rows, 1}, Data: kernels.Of(m.x)}}
}

func (m *tally) Backward(ready func(int, []float32)) (float64, error) {
	for _, i := range m.BackwardOrder() {
		m.pause()
		clear(m.grads[i])
		for r, on := range m.mask {
			for k := range m.grads[i] {
				m.grads[i][k] += on * pull(int(m.x[r]), i, k)
			}
		}
		ready(i, m.grads[i])
	}
	return 0, nil
}

func (m *tally) Forward() (Tensor, error) { return m.Inputs()[0], nil }

// chronicle is an Optimizer that adds gradients up and keeps a digest of all that it was
// given, in order: a step that is left out, done twice or done in part shows.
type chronicle struct{ digest []int64 }

func (o *chronicle) Init([]Tensor) ([]Tensor, error) {
	o.digest = make([]int64, 2)
	return []Tensor{{Name: "digest", Shape: []int{2}, Data: kernels.Of(o.digest)}}, nil
}

func (o *chronicle) Step(_ float64, params, grads []Tensor) error {
	for i := range params {
		p := kernels.As[float32](params[i].Data)
		for k, g := range kernels.As[float32](grads[i].Data) {
			p[k] += g
			o.digest[0] = note(o.digest[0], g)
		}
	}
	o.digest[1]++
	return nil
}

func note(digest int64, g float32) int64 {
	return digest*6364136223846793005 + int64(math.Float32bits(g+0)) + 1
}

// account is a state as numbers: what was added to the initial values, whose those are, and
// the digest.
type account struct {
	origin float32
	added  [6]float32
	digest int64
	steps  int64
}

func (m *tally) account(o *chronicle) (a account) {
	n := 0
	for _, p := range m.params {
		for _, v := range p {
			a.added[n] = v
			n++
		}
	}
	a.origin = float32(math.Round(float64(a.added[0])/originStep)) * originStep
	for i := range a.added {
		a.added[i] -= a.origin
	}
	a.digest, a.steps = o.digest[0], o.digest[1]
	return a
}

// undisturbed is the account after every step of a run, from 0, in plain loops.
func undisturbed(p Sampler) []account {
	s, a := newShares(p, nil), account{}
	accounts := []account{a}
	for t := range p.stepsPerEpoch(1) * p.Epochs {
		step, n := s.step(t, 0, 1), 0
		for i, size := range []int{3, 2, 1} {
			for k := range size {
				var g float32
				for _, sample := range step.Samples {
					g += pull(sample, i, k)
				}
				g *= 1 / float32(step.Weight)
				a.added[n] += g
				a.digest = note(a.digest, g)
				n++
			}
		}
		a.steps++
		accounts = append(accounts, a)
	}
	return accounts
}

// lapse lets d pass, or less where ended is closed before.
func lapse(d time.Duration, ended <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ended:
	}
}
