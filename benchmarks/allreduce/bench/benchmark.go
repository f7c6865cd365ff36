package bench

import (
	"fmt"
	"time"

	"github.com/gorun-ml/gorun/collective"
	"github.com/gorun-ml/gorun/kernels"
	"github.com/gorun-ml/gorun/topology"
)

const maxIters = 10000

// benchmark is one rank's end of a run.
type benchmark struct {
	*Options
	comm      *collective.Comm
	transport string
	links     topology.Links // what communication is taken to cost
}

// all benches every size on one rank.
func (b *benchmark) all(sizes []int) error {
	if b.Header && !b.JSON && !b.Explain && b.comm.Rank() == 0 {
		fmt.Println(columns)
	}
	for _, bytes := range sizes {
		if err := b.size(bytes); err != nil {
			return fmt.Errorf("%d bytes: %w", bytes, err)
		}
	}
	return nil
}

func (b *benchmark) size(bytes int) (err error) {
	x, free, err := b.vector(bytes)
	if err != nil {
		return err
	}
	defer func() {
		if bad := free(); err == nil {
			err = bad
		}
	}()
	if b.Explain {
		return b.explain(x)
	}
	t, err := bench(b.comm, x, b.Seconds)
	if err == nil && b.comm.Rank() == 0 {
		fmt.Println(b.result(bytes, t))
	}
	return err
}

// vector is the memory that is summed, and what gives it back.
func (b *benchmark) vector(bytes int) (x []float32, free func() error, err error) {
	if b.Alloc == allocSlice {
		return make([]float32, bytes/4), func() error { return nil }, nil
	}
	p, err := b.comm.Alloc(bytes)
	if err != nil {
		return nil, nil, err
	}
	x = kernels.As[float32](kernels.Vector{Type: kernels.Float32, Bytes: p[:bytes]})
	return x, func() error {
		// Others may still fold out of it until they have the result.
		if err := b.comm.Barrier(); err != nil {
			return err
		}
		return b.comm.Free(p)
	}, nil
}

// bench returns the seconds of each timed call.
func bench(c *collective.Comm, x []float32, seconds float64) ([]float64, error) {
	if err := check(c, x); err != nil {
		return nil, err
	}
	clear(x) // in place, sums of sums would overflow: time zeros, check around it
	few, err := timed(c, x, 3)
	if err != nil {
		return nil, err
	}
	iters := min(maxIters, max(5, int(seconds/few[2])))
	if _, err := timed(c, x, iters/10); err != nil {
		return nil, err
	}
	t, err := timed(c, x, iters)
	if err != nil {
		return nil, err
	}
	return t, check(c, x)
}

// timed calls all-reduce iters times and returns how long each call took on the rank where
// it took longest.
func timed(c *collective.Comm, x []float32, iters int) ([]float64, error) {
	t := make([]float64, iters)
	v := kernels.Of(x)
	for i := range t {
		start := time.Now()
		if err := c.AllReduce(v, kernels.Sum); err != nil {
			return nil, err
		}
		t[i] = time.Since(start).Seconds()
	}
	return t, c.AllReduce(kernels.Of(t), kernels.Max)
}

// check sums small integers, which any order of summation sums exactly.
func check(c *collective.Comm, x []float32) error {
	for i := range x {
		x[i] = float32((c.Rank() + 1) * (1 + i%13))
	}
	if err := c.AllReduce(kernels.Of(x), kernels.Sum); err != nil {
		return err
	}
	n := c.Size()
	for i, got := range x {
		if want := float32(n * (n + 1) / 2 * (1 + i%13)); got != want {
			return fmt.Errorf("wrong sum on rank %d: x[%d] = %g, want %g", c.Rank(), i, got, want)
		}
	}
	return nil
}
