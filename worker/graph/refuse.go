package graph

import (
	"fmt"

	G "gorgonia.org/gorgonia"
)

// wrong lists operators of gorgonia v0.9.18 that can't be trained with, by their Go type,
// and what to do instead. Found by comparing 63 operators with finite differences.
var wrong = map[string]string{
	"*gorgonia.dropoutOp":           "Dropout divides by the wrong probability and draws from the clock, so that ranks and runs differ",
	"*gorgonia.dropoutDiffOp":       "Dropout divides by the wrong probability and draws from the clock, so that ranks and runs differ",
	"*gorgonia.avgPoolOp":           "AveragePool2D has a wrong gradient; use MaxPool2D or a strided Conv2d",
	"*gorgonia.globalAveragePoolOp": "GlobalAveragePool2D panics; use Mean along axes 2 and 3",
	"gorgonia.randomOp":             "random nodes draw from the clock, so that ranks and runs differ; feed the numbers as an input",
	"*gorgonia.BatchNormOp":         "BatchNorm keeps its running statistics inside the operator, where they reach neither other ranks nor checkpoints",
}

// invSqrt is how gorgonia prints InverseSqrt, which shares its Go type with right operators.
const invSqrt = "invSqrt"

// reused lists operators of gorgonia that overwrite all of the memory they are given, so
// that it can be the same at every run. Others add to it, or alias their input.
var reused = map[string]bool{"gorgonia.linAlgBinOp": true}

// refuse reports the first operator of g that is known to be wrong.
func refuse(g *G.ExprGraph) error {
	for _, n := range g.AllNodes() {
		op := n.Op()
		if op == nil {
			continue
		}
		if why, ok := wrong[fmt.Sprintf("%T", op)]; ok {
			return fmt.Errorf("gorgonia's %s", why)
		}
		if fmt.Sprintf("%T", op) == "gorgonia.elemUnaryOp" && op.String() == invSqrt {
			return fmt.Errorf("gorgonia's InverseSqrt has a wrong gradient; use Sqrt and Inverse")
		}
	}
	return nil
}

func reuses(op G.Op) bool {
	_, ours := op.(*fused)
	return ours || reused[fmt.Sprintf("%T", op)]
}
