package collective_test

import (
	"fmt"
	"testing"

	"github.com/gorun-ml/gorun/collective"
	"github.com/gorun-ml/gorun/collective/collectivetest"
	"github.com/gorun-ml/gorun/kernels"
)

// steady is operations as a training step repeats them.
var steady = map[string]func(c *collective.Comm, x, all kernels.Vector, counts []int) error{
	"all-reduce": func(c *collective.Comm, x, _ kernels.Vector, _ []int) error { return c.AllReduce(x, kernels.Sum) },
	"started all-reduces": func(c *collective.Comm, x, all kernels.Vector, _ []int) error {
		h := c.Lane(1).StartNamed("bucket 1", x, kernels.Average)
		g := c.Lane(2).StartNamed("bucket 2", all, kernels.Max)
		if err := h.Wait(); err != nil {
			return err
		}
		return g.Wait()
	},
	"broadcast":     func(c *collective.Comm, x, _ kernels.Vector, _ []int) error { return c.Broadcast(x, 1) },
	"reduce":        func(c *collective.Comm, x, _ kernels.Vector, _ []int) error { return c.Reduce(x, kernels.Sum, 0) },
	"all-gather":    func(c *collective.Comm, x, all kernels.Vector, _ []int) error { return c.AllGather(all, x) },
	"uneven gather": func(c *collective.Comm, x, all kernels.Vector, n []int) error { return c.AllGatherV(all, n, x) },
	"reduce-scatter": func(c *collective.Comm, x, all kernels.Vector, _ []int) error {
		return c.ReduceScatter(x, all, kernels.Sum)
	},
	"gather":  func(c *collective.Comm, x, all kernels.Vector, _ []int) error { return c.Gather(all, x, 0) },
	"scatter": func(c *collective.Comm, x, all kernels.Vector, _ []int) error { return c.Scatter(x, all, 0) },
	"barrier": func(c *collective.Comm, _, _ kernels.Vector, _ []int) error { return c.Barrier() },
}

func TestNoAllocations(t *testing.T) {
	for _, over := range []struct {
		name  string
		setup collectivetest.Setup
	}{{"inproc", collectivetest.Setup{}}, {"tcp", loopback()}, {"encrypted tcp", encrypted()}, {"shm", memory()}} {
		for name, run := range steady {
			t.Run(over.name+"/"+name, func(t *testing.T) { testNoAllocations(t, over.setup, run) })
		}
	}
}

func testNoAllocations(t *testing.T, setup collectivetest.Setup, run func(c *collective.Comm, x, all kernels.Vector, counts []int) error) {
	const runs, attempts = 20, 3
	for _, n := range []int{2, 4} {
		for _, size := range []int{1, 5_000, 100_000} {
			setup.Run(t, n, func(t testing.TB, rank int, c *collective.Comm) {
				x, all, counts := floats(size), floats(n*size), make([]int, n)
				for r := range counts {
					counts[r] = size
				}
				once := func() {
					if err := run(c, x, all, counts); err != nil {
						t.Fatal(err)
					}
				}
				connect(t, c)
				for range 10 {
					once()
				}
				if rank != 0 {
					for range attempts * (runs + 1) {
						once()
					}
					return
				}
				// All ranks are in this process, and all of its allocations are counted: those
				// of a timer or a collection now and then are not the calls'.
				allocs := testing.AllocsPerRun(runs, once)
				for range attempts - 1 {
					allocs = min(allocs, testing.AllocsPerRun(runs, once))
				}
				if allocs >= 1 {
					t.Errorf("%v allocations a call on %d ranks, %d elements", allocs, n, size)
				}
			})
		}
	}
}

// connect returns when all connections are there that are made beside the operations.
func connect(t testing.TB, c *collective.Comm) {
	t.Helper()
	for all := []int32{0}; all[0] == 0; {
		if all[0] = 0; c.Connected() {
			all[0] = 1
		}
		if err := c.AllReduce(kernels.Of(all), kernels.Min); err != nil {
			t.Fatal(err)
		}
	}
}

// The cost of a call without the network, as a sanity check on the executor.
func BenchmarkAllReduceInproc(b *testing.B) {
	for _, n := range []int{1, 2, 4} {
		for _, bytes := range []int{4, 64 << 10, 1 << 20} {
			b.Run(fmt.Sprintf("np=%d/bytes=%d", n, bytes), func(b *testing.B) {
				benchmark(b, collectivetest.Setup{}, n, bytes)
			})
		}
	}
}
