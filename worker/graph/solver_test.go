package graph

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gorun-ml/gorun/kernels"
	"github.com/gorun-ml/gorun/worker"
	G "gorgonia.org/gorgonia"
)

const rate = 0.01

var supported = map[string]func() G.Solver{
	"vanilla":  func() G.Solver { return G.NewVanillaSolver(G.WithL2Reg(0.01), G.WithClip(1)) },
	"momentum": func() G.Solver { return G.NewMomentum(G.WithMomentum(0.8)) },
	"rmsprop":  func() G.Solver { return G.NewRMSPropSolver(G.WithRho(0.9)) },
	"adagrad":  func() G.Solver { return G.NewAdaGradSolver() },
	"adam":     func() G.Solver { return G.NewAdamSolver(G.WithBeta1(0.8), G.WithL2Reg(0.001)) },
}

// tensors of several shapes, a scalar among them, keyed by seed.
func randomTensors(seed uint64) []worker.Tensor {
	random := rand.New(rand.NewPCG(seed, 0))
	var all []worker.Tensor
	for i, shape := range [][]int{{3, 4}, {5}, {}, {2, 2, 3}} {
		size := 1
		for _, d := range shape {
			size *= d
		}
		data := make([]float32, size)
		for j := range data {
			data[j] = float32(random.NormFloat64())
		}
		all = append(all, worker.Tensor{Name: string(rune('a' + i)), Shape: shape, Data: kernels.Of(data)})
	}
	return all
}

func TestSolversFollowGorgonia(t *testing.T) {
	for name, make := range supported {
		t.Run(name, func(t *testing.T) {
			params, want := randomTensors(1), randomTensors(1)
			ours, theirs := Solver(make()), make()
			if name != "adagrad" { // which has no WithLearnRate: 0.001 is its own
				G.WithLearnRate(rate)(theirs)
			}
			if _, err := ours.Init(params); err != nil {
				t.Fatal(err)
			}
			var pairs []G.ValueGrad
			for step := range uint64(20) {
				r := rate
				if name == "adagrad" {
					r = 0.001
				}
				if err := ours.Step(r, params, randomTensors(100+step)); err != nil {
					t.Fatal(err)
				}
				grads := randomTensors(100 + step)
				pairs = pairs[:0]
				for i, p := range want {
					pairs = append(pairs, pair{view(p.Shape, kernels.As[float32](p.Data)), view(p.Shape, kernels.As[float32](grads[i].Data))})
				}
				if err := theirs.Step(pairs); err != nil {
					t.Fatal(err)
				}
			}
			sameBits(t, params, want)
		})
	}
}

// A newcomer with the parameters and the state continues exactly like the others.
func TestSolverStateTravels(t *testing.T) {
	for name, make := range supported {
		t.Run(name, func(t *testing.T) {
			old, params := Solver(make()), randomTensors(1)
			state, err := old.Init(params)
			if err != nil {
				t.Fatal(err)
			}
			train := func(o worker.Optimizer, params []worker.Tensor, from, to uint64) {
				for step := from; step < to; step++ {
					if err := o.Step(rate/float64(step+1), params, randomTensors(100+step)); err != nil {
						t.Fatal(err)
					}
				}
			}
			train(old, params, 0, 7)
			fresh, copied := Solver(make()), randomTensors(2)
			received, err := fresh.Init(copied)
			if err != nil {
				t.Fatal(err)
			}
			if len(received) != len(state) {
				t.Fatalf("state has %d tensors, the newcomer's %d", len(state), len(received))
			}
			for i := range params {
				copy(copied[i].Data.Bytes, params[i].Data.Bytes)
			}
			for i := range state {
				if state[i].Name != received[i].Name || state[i].Data.Type != received[i].Data.Type {
					t.Fatalf("state %d is %s %v, the newcomer's %s %v", i, state[i].Name, state[i].Data.Type, received[i].Name, received[i].Data.Type)
				}
				copy(received[i].Data.Bytes, state[i].Data.Bytes)
			}
			train(old, params, 7, 15)
			train(fresh, copied, 7, 15)
			sameBits(t, copied, params)
			sameBits(t, received, state)
		})
	}
}

func TestSolverStateIsAllOfIt(t *testing.T) {
	for name, want := range map[string]string{
		"vanilla":  "",
		"momentum": "first.a first.b first.c first.d",
		"adam": "step first.a second.a first.b second.b " +
			"first.c second.c first.d second.d",
	} {
		state, err := Solver(supported[name]()).Init(randomTensors(1))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, s := range state {
			names = append(names, s.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("state of %s = %q, want %q", name, got, want)
		}
	}
}

func TestSolverRateIsTheSteps(t *testing.T) {
	for name, make := range supported {
		s, params := Solver(make()), randomTensors(1)
		if _, err := s.Init(params); err != nil {
			t.Fatal(err)
		}
		before := snapshot(params)
		if err := s.Step(0, params, randomTensors(2)); err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(snapshot(params), before, slices.Equal[[]float32]) {
			t.Errorf("%s: a step with rate 0 changed the parameters", name)
		}
	}
}

func TestSolverRefuses(t *testing.T) {
	used := G.NewAdamSolver()
	if err := used.Step([]G.ValueGrad{pair{view([]int{1}, []float32{1}), view([]int{1}, []float32{1})}}); err != nil {
		t.Fatal(err)
	}
	for want, s := range map[string]G.Solver{
		"not supported":    &G.BarzilaiBorweinSolver{},
		"velocity":         G.NewMomentum(G.WithL2Reg(0.1)),
		"WithBatchSize":    G.NewVanillaSolver(G.WithBatchSize(64)),
		"been used before": used,
	} {
		if _, err := Solver(s).Init(randomTensors(1)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Init of %T = %v, want an error with %q", s, err, want)
		}
	}
}

// If this fails, gorgonia's version has changed: read its solvers again, then layout.go.
func TestLayoutIsGorgonias(t *testing.T) {
	for _, make := range supported {
		if _, err := open(make()); err != nil {
			t.Error(err)
		}
	}
}

func sameBits(t *testing.T, got, want []worker.Tensor) {
	t.Helper()
	for i := range want {
		if !slices.Equal(got[i].Data.Bytes, want[i].Data.Bytes) {
			t.Errorf("%s differs: %x, want %x", want[i].Name, got[i].Data.Bytes, want[i].Data.Bytes)
		}
	}
}
