package collective_test

import (
	"slices"
	"testing"

	"github.com/gorun-ml/gorun/collective"
	"github.com/gorun-ml/gorun/collective/collectivetest"
	"github.com/gorun-ml/gorun/kernels"
)

// Every algorithm can be had beside the one that is chosen, again and again: each gives back
// its lanes.
func TestWith(t *testing.T) {
	collectivetest.Run(t, 3, func(t testing.TB, rank int, c *collective.Comm) {
		names := c.Algorithms()
		if !slices.Contains(names, "ring") || !slices.Contains(names, c.Algorithm(4096)) {
			t.Errorf("algorithms %q, chosen %q", names, c.Algorithm(4096))
		}
		for range 2 {
			for _, name := range names {
				v, err := c.With(name)
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				if got := v.Algorithm(4); got != name {
					t.Errorf("runs %s, want %s", got, name)
				}
				x := []float32{1, float32(rank)}
				if err := v.AllReduce(kernels.Of(x), kernels.Sum); err != nil || x[0] != 3 || x[1] != 3 {
					t.Errorf("%s: %v, %v", name, x, err)
				}
				if err := v.Close(); err != nil {
					t.Error(err)
				}
			}
		}
		if _, err := c.With("square"); err == nil {
			t.Error("With(square) found an algorithm")
		}
	})
}
