// Command train is a small training program for the scripts, which can go wrong on demand.
package main

import (
	"context"
	"flag"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/gorun-ml/gorun/worker"
	"github.com/gorun-ml/gorun/worker/graph"
	G "gorgonia.org/gorgonia"
)

var (
	epochs = flag.Int("epochs", 10, "")
	hidden = flag.Int("hidden", 16, "")
	fault  = flag.String("fault", "", "shape, panic, exit, kill, memory, stop, hang, slow, wait, nan, nan-once, nans or flip")
	always = flag.Bool("always", false, "it does in each generation, not only in the first")
	gate   = flag.String("gate", "", "what to wait for: a FIFO that somebody writes to")
	victim = flag.String("victim", "2", "RANK that goes wrong")
	at     = flag.Int("at", 20, "step at which it does")
	save   = flag.String("save", "", "")
	census = flag.String("census", "", "folder in which each rank notes how many goroutines it has")
)

func main() { worker.Main(train) }

const inputs, samples = 4, 320

func row(sample int, rows ...[]float32) error {
	sum := 0.0
	for i := range rows[0] {
		v := math.Sin(float64(sample*(i+1)) * 0.37)
		rows[0][i] = float32(v)
		sum += v
	}
	rows[1][0] = float32(math.Tanh(sum))
	return nil
}

// count notes how many goroutines this process has.
func count(dir string) error {
	return os.WriteFile(filepath.Join(dir, "goroutines-"+strconv.Itoa(os.Getpid())), []byte(strconv.Itoa(runtime.NumGoroutine())), 0o600)
}

func train(ctx context.Context) error {
	odd := os.Getenv("RANK") == *victim
	units := *hidden
	if odd && *fault == "shape" {
		units++
	}
	model, err := graph.New(func(g *G.ExprGraph, rows int) (graph.Net, error) {
		x := graph.Input(g, "x", rows, inputs)
		y := graph.Input(g, "y", rows, 1)
		w1 := graph.Param(g, "w1", graph.HeNormal(1, "w1"), inputs, units)
		b1 := graph.Param(g, "b1", graph.Zeros(), units)
		w2 := graph.Param(g, "w2", graph.HeNormal(1, "w2"), units, 1)
		b2 := graph.Param(g, "b2", graph.Zeros(), 1)
		out := G.Must(graph.Linear(G.Must(graph.ReLU(G.Must(graph.Linear(x, w1, b1)))), w2, b2))
		loss := G.Must(graph.SquaredError(out, y))
		return graph.Net{Inputs: G.Nodes{x, y}, Params: G.Nodes{w1, b1, w2, b2}, Losses: loss, Outputs: out}, nil
	})
	if err != nil {
		return err
	}
	state := &worker.State{Model: model, Optimizer: graph.Solver(G.NewAdamSolver()), Rate: worker.Constant(0.01)}
	return worker.Run(ctx, state, func(_ context.Context, s *worker.Session) error {
		for step := range s.Steps(worker.Sampler{Samples: samples, Batch: 16, Epochs: *epochs, Seed: 1}) {
			if odd && step.Number == *at && (*always || s.Generation() == 1) {
				switch *fault {
				case "panic":
					panic("the flux capacitor is empty")
				case "exit":
					os.Exit(3)
				case "wait":
					if _, err := os.ReadFile(*gate); err != nil {
						return err
					}
				case "stop":
					if err := syscall.Kill(os.Getpid(), syscall.SIGSTOP); err != nil {
						return err
					}
				case "flip":
					model.Params()[0].Data.Bytes[2] ^= 0x40
				case "memory":
					for held := [][]byte{}; ; {
						some := make([]byte, 1<<20)
						for i := range some {
							some[i] = 1
						}
						held = append(held, some)
					}
				case "hang":
					select {}
				case "kill":
					if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
						return err
					}
				}
			}
			read := row
			bad := *fault == "nan" && step.Number == *at || *fault == "nan-once" && step.Number == *at && s.Generation() == 1 || *fault == "nans" && step.Number >= *at
			if odd && bad {
				read = func(sample int, rows ...[]float32) error {
					rows[0][0], rows[1][0] = float32(math.NaN()), 0
					return nil
				}
			}
			if odd && *fault == "slow" {
				read = func(sample int, rows ...[]float32) error {
					time.Sleep(5 * time.Millisecond)
					return row(sample, rows...)
				}
			}
			if *census != "" && step.Number%10 == 0 {
				if err := count(*census); err != nil {
					return err
				}
			}
			if _, err := s.Train(step, read); err != nil {
				return err
			}
		}
		s.Summary("%d steps done", s.StepsDone())
		if *save == "" {
			return nil
		}
		return s.Save(*save)
	})
}
