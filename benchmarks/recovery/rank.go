package main

import (
	"context"
	"flag"
	"os"

	"github.com/gorun-ml/gorun/kernels"
	"github.com/gorun-ml/gorun/worker"
)

// rank trains a model of a given size, as a rank of the job that is measured.
func rank(args []string) {
	bytes := flag.Int64("bytes", 100e6, "of parameters and momentum together")
	os.Args = append(os.Args[:1], args...)
	worker.Main(func(ctx context.Context) error {
		n := int(max(*bytes, 8) / 8) // numbers of 4 bytes, twice
		m := &block{weights: make([]float32, n), gradient: make([]float32, n)}
		state := &worker.State{Model: m, Optimizer: &momentum{}, Rate: worker.Constant(0.01)}
		return worker.Run(ctx, state, func(_ context.Context, s *worker.Session) error {
			for step := range s.Steps(worker.Sampler{Samples: 1 << 16, Batch: 64, Epochs: 1000, Seed: 1}) {
				if _, err := s.Train(step, func(sample int, inputs ...[]float32) error {
					inputs[0][0] = float32(sample%16) / 16
					return nil
				}); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// block is a model of many weights that are all drawn towards the mean of the samples.
type block struct {
	weights, gradient []float32
	inputs, mask      []float32
}

func (b *block) Params() []worker.Tensor {
	return []worker.Tensor{{Name: "weights", Shape: []int{len(b.weights)}, Data: kernels.Of(b.weights)}}
}

func (b *block) BackwardOrder() []int { return []int{0} }

func (b *block) Compile(rows int) error {
	b.inputs, b.mask = make([]float32, rows), make([]float32, rows)
	return nil
}

func (b *block) Rows() int { return len(b.mask) }

func (b *block) Inputs() []worker.Tensor {
	return []worker.Tensor{{Name: "samples", Shape: []int{len(b.inputs), 1}, Data: kernels.Of(b.inputs)}}
}

func (b *block) Mask() []float32 { return b.mask }

func (b *block) Backward(ready func(param int, grad []float32)) (loss float64, err error) {
	var sum, weight float32
	for i, x := range b.inputs {
		sum += b.mask[i] * x
		weight += b.mask[i]
	}
	for i, w := range b.weights {
		b.gradient[i] = weight*w - sum
	}
	loss = float64(b.gradient[0]) * float64(b.gradient[0])
	ready(0, b.gradient)
	return loss, nil
}

func (b *block) Forward() (worker.Tensor, error) {
	return worker.Tensor{Name: "outputs", Shape: []int{len(b.inputs), 1}, Data: kernels.Of(b.inputs)}, nil
}

// momentum is gradient descent with as much memory as there are weights.
type momentum struct{ velocity []float32 }

func (m *momentum) Init(params []worker.Tensor) ([]worker.Tensor, error) {
	m.velocity = make([]float32, params[0].Shape[0])
	return []worker.Tensor{{Name: "velocity", Shape: params[0].Shape, Data: kernels.Of(m.velocity)}}, nil
}

func (m *momentum) Step(rate float64, params, grads []worker.Tensor) error {
	w, g := kernels.As[float32](params[0].Data), kernels.As[float32](grads[0].Data)
	for i, d := range g {
		m.velocity[i] = 0.9*m.velocity[i] + d
		w[i] -= float32(rate) * m.velocity[i]
	}
	return nil
}
