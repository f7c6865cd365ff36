// Command train teaches a small network to read the handwritten digits of MNIST:
//
//	gorun -np 4 examples/mnist/train.go --epochs 3
//
// Every rank runs this program. The global batch stays the same however many ranks there
// are: each takes its share of the samples, gradients are summed over all of them, and
// every rank makes the same step.
package main

import (
	"context"
	"flag"

	"github.com/gorun-ml/gorun/examples/mnist/digits"
	"github.com/gorun-ml/gorun/worker"
	"github.com/gorun-ml/gorun/worker/graph"
	G "gorgonia.org/gorgonia"
)

var (
	epochs = flag.Int("epochs", 3, "passes over the training data")
	batch  = flag.Int("batch", 64, "samples a step, over all ranks")
	rate   = flag.Float64("rate", 0.1, "learning rate of the first step; it falls to zero")
	hidden = flag.Int("hidden", 128, "units of the hidden layer")
	seed   = flag.Uint64("seed", 1, "of the first weights and of the samples' order")
	save   = flag.String("save", "", "safetensors `file` for the trained model")
	files  digits.Files
)

func main() {
	flag.StringVar(&files.TrainImages.Path, "train-images", "", "IDX `file`, may be packed (.gz); MNIST's own if not given")
	flag.StringVar(&files.TrainLabels.Path, "train-labels", "", "IDX `file`")
	flag.StringVar(&files.TestImages.Path, "test-images", "", "IDX `file`")
	flag.StringVar(&files.TestLabels.Path, "test-labels", "", "IDX `file`")
	worker.Main(train)
}

func train(ctx context.Context) error {
	data, test, err := files.Load()
	if err != nil {
		return worker.BadInput(err)
	}
	model, err := graph.New(func(g *G.ExprGraph, rows int) (graph.Net, error) {
		return network(g, rows, data.Pixels()), nil
	})
	if err != nil {
		return worker.BadInput(err)
	}
	sampler := worker.Sampler{Samples: data.Len(), Batch: *batch, Epochs: *epochs, Seed: *seed}
	steps := float64(data.Len()) / float64(*batch) * float64(*epochs)
	state := &worker.State{
		Model:     model,
		Optimizer: graph.Solver(G.NewMomentum(G.WithMomentum(0.9))),
		Rate:      func(step, _ int) float64 { return *rate * max(0, 1-float64(step)/steps) },
	}
	return worker.Run(ctx, state, func(ctx context.Context, s *worker.Session) error {
		for step := range s.Steps(sampler) {
			if _, err := s.Train(step, data.Row); err != nil {
				return err
			}
		}
		accuracy, err := s.Evaluate(test.Len(), test.Row, test.Right)
		if err != nil {
			return err
		}
		s.Summary("test accuracy %.2f %%", 100*accuracy)
		if *save != "" {
			return s.Save(*save)
		}
		return nil
	})
}

// network is a perceptron with one hidden layer, for batches of rows images.
func network(g *G.ExprGraph, rows, pixels int) graph.Net {
	images := graph.Input(g, "images", rows, pixels)
	labels := graph.Input(g, "labels", rows, digits.Classes)
	w1 := graph.Param(g, "w1", graph.HeNormal(*seed, "w1"), pixels, *hidden)
	b1 := graph.Param(g, "b1", graph.Zeros(), *hidden)
	w2 := graph.Param(g, "w2", graph.HeNormal(*seed, "w2"), *hidden, digits.Classes)
	b2 := graph.Param(g, "b2", graph.Zeros(), digits.Classes)

	units := G.Must(graph.ReLU(G.Must(graph.Linear(images, w1, b1))))
	logits := G.Must(graph.Linear(units, w2, b2))
	return graph.Net{
		Inputs:  G.Nodes{images, labels},
		Params:  G.Nodes{w1, b1, w2, b2},
		Losses:  G.Must(graph.CrossEntropy(logits, labels)),
		Outputs: logits,
	}
}
