package collective_test

import (
	"fmt"
	"testing"

	"github.com/gorun-ml/gorun/collective"
	"github.com/gorun-ml/gorun/collective/collectivetest"
	"github.com/gorun-ml/gorun/kernels"
	"github.com/gorun-ml/gorun/topology"
)

// shape is how the parts of the operations under test look.
type shape struct {
	typ  kernels.Type
	op   kernels.Op
	size int // of an all-reduce; elsewhere of a rank's part
	root int
}

func (s shape) String() string { return fmt.Sprintf("%d %s %s root %d", s.size, s.typ, s.op, s.root) }

// shapes is every type and every reduction at one size, and all sizes with a type each.
func shapes(n int) []shape {
	var all []shape
	for i, t := range allTypes {
		for j, op := range allOps {
			all = append(all, shape{t, op, 173, (i + j) % n})
		}
	}
	for i, size := range []int{0, 1, n - 1, n, n + 1, 2*n + 1, 1500, 20_001} {
		all = append(all, shape{allTypes[i%len(allTypes)], allOps[i%len(allOps)], size, i % n})
	}
	return all
}

func (s shape) in(rank int) kernels.Vector {
	return vector(s.typ, s.size, func(i int) float64 { return input(s.op, rank, i) })
}

func (s shape) whole(n, rank int) kernels.Vector {
	return vector(s.typ, n*s.size, func(i int) float64 { return input(s.op, rank, i) })
}

func (s shape) blank(n int) kernels.Vector {
	return vector(s.typ, n*s.size, func(int) float64 { return 99 })
}

// operations are run one after the other over the same communicator; each compares what it
// got with the dumb version.
var operations = map[string]func(c *collective.Comm, s shape) error{
	"all-reduce": func(c *collective.Comm, s shape) error {
		x := s.in(c.Rank())
		if err := c.AllReduce(x, s.op); err != nil {
			return err
		}
		return differs(x, vector(s.typ, s.size, func(i int) float64 { return reduced(s.op, c.Size(), i) }))
	},
	"broadcast": func(c *collective.Comm, s shape) error {
		x := s.in(c.Rank())
		if err := c.Broadcast(x, s.root); err != nil {
			return err
		}
		return differs(x, s.in(s.root))
	},
	"reduce": func(c *collective.Comm, s shape) error {
		x := s.in(c.Rank())
		if err := c.Reduce(x, s.op, s.root); err != nil || c.Rank() != s.root {
			return err
		}
		return differs(x, vector(s.typ, s.size, func(i int) float64 { return reduced(s.op, c.Size(), i) }))
	},
	"all-gather": func(c *collective.Comm, s shape) error {
		src, dst := s.in(c.Rank()), s.blank(c.Size())
		if err := c.AllGather(dst, src); err != nil {
			return err
		}
		return differs(dst, s.concatenated(c.Size()))
	},
	"gather": func(c *collective.Comm, s shape) error {
		var dst kernels.Vector
		if c.Rank() == s.root {
			dst = s.blank(c.Size())
		}
		src := s.in(c.Rank())
		if err := c.Gather(dst, src, s.root); err != nil {
			return err
		}
		if err := differs(src, s.in(c.Rank())); err != nil {
			return fmt.Errorf("src was written to: %w", err)
		}
		if c.Rank() != s.root {
			return nil
		}
		return differs(dst, s.concatenated(c.Size()))
	},
	"scatter": func(c *collective.Comm, s shape) error {
		var src kernels.Vector
		if c.Rank() == s.root {
			src = s.whole(c.Size(), 0)
		}
		dst := s.blank(1)
		if err := c.Scatter(dst, src, s.root); err != nil {
			return err
		}
		return differs(dst, s.whole(c.Size(), 0).Slice(c.Rank()*s.size, (c.Rank()+1)*s.size))
	},
	"reduce-scatter": func(c *collective.Comm, s shape) error {
		src, dst := s.whole(c.Size(), c.Rank()), s.blank(1)
		if err := c.ReduceScatter(dst, src, s.op); err != nil {
			return err
		}
		if err := differs(src, s.whole(c.Size(), c.Rank())); err != nil {
			return fmt.Errorf("src was written to: %w", err)
		}
		base := c.Rank() * s.size
		return differs(dst, vector(s.typ, s.size, func(i int) float64 { return reduced(s.op, c.Size(), base+i) }))
	},
	"all-to-all": func(c *collective.Comm, s shape) error {
		src, dst := s.whole(c.Size(), c.Rank()), s.blank(c.Size())
		if err := c.AllToAll(dst, src); err != nil {
			return err
		}
		base := c.Rank() * s.size
		return differs(dst, vector(s.typ, c.Size()*s.size, func(i int) float64 {
			return input(s.op, i/s.size, base+i%s.size)
		}))
	},
	"all-gather of uneven parts": func(c *collective.Comm, s shape) error {
		counts := make([]int, c.Size())
		total := 0
		for r := range counts {
			counts[r] = s.size * r % (s.size + 3)
			total += counts[r]
		}
		src := vector(s.typ, counts[c.Rank()], func(i int) float64 { return input(s.op, c.Rank(), i) })
		dst := vector(s.typ, total, func(int) float64 { return 99 })
		if err := c.AllGatherV(dst, counts, src); err != nil {
			return err
		}
		var want []byte
		for r, n := range counts {
			want = append(want, vector(s.typ, n, func(i int) float64 { return input(s.op, r, i) }).Bytes...)
		}
		return differs(dst, kernels.Vector{Type: s.typ, Bytes: want})
	},
	"all-to-all of uneven parts": func(c *collective.Comm, s shape) error {
		count := func(from, to int) int { return s.size * (from + 2*to) % (s.size/2 + 1) }
		n, me := c.Size(), c.Rank()
		srcCounts, dstCounts := make([]int, n), make([]int, n)
		var src, want []byte
		for r := range n {
			srcCounts[r], dstCounts[r] = count(me, r), count(r, me)
			src = append(src, vector(s.typ, count(me, r), func(i int) float64 { return input(s.op, me*n+r, i) }).Bytes...)
			want = append(want, vector(s.typ, count(r, me), func(i int) float64 { return input(s.op, r*n+me, i) }).Bytes...)
		}
		dst := kernels.Vector{Type: s.typ, Bytes: make([]byte, len(want))}
		if err := c.AllToAllV(dst, dstCounts, kernels.Vector{Type: s.typ, Bytes: src}, srcCounts); err != nil {
			return err
		}
		return differs(dst, kernels.Vector{Type: s.typ, Bytes: want})
	},
	"barrier": func(c *collective.Comm, _ shape) error { return c.Barrier() },
}

// concatenated is all ranks' input.
func (s shape) concatenated(n int) kernels.Vector {
	return vector(s.typ, n*s.size, func(i int) float64 { return input(s.op, i/s.size, i%s.size) })
}

func TestOperations(t *testing.T) { testOperations(t, collectivetest.Setup{}, 9) }

func testOperations(t *testing.T, setup collectivetest.Setup, most int) {
	for name, run := range operations {
		t.Run(name, func(t *testing.T) {
			for n := 1; n <= most; n++ {
				setup.Run(t, n, func(t testing.TB, rank int, c *collective.Comm) {
					for _, s := range shapes(n) {
						if err := run(c, s); err != nil {
							t.Fatalf("%s, %v: %v", name, s, err)
						}
					}
				})
			}
		})
	}
}

// Long messages go in pieces, through every algorithm there is.
func TestAlgorithms(t *testing.T) { testAlgorithms(t, collectivetest.Setup{}, 9, 300_007) }

func testAlgorithms(t *testing.T, setup collectivetest.Setup, most, large int) {
	names := map[topology.Kind]string{
		topology.AllReduce: "all-reduce", topology.Broadcast: "broadcast", topology.Reduce: "reduce",
		topology.ReduceScatter: "reduce-scatter", topology.AllGather: "all-gather",
		topology.Gather: "gather", topology.Scatter: "scatter", topology.AllToAll: "all-to-all",
	}
	for _, a := range topology.Algorithms() {
		t.Run(a.Kind.String()+"/"+a.Name, func(t *testing.T) {
			for n := 1; n <= most; n++ {
				setup.Run(t, n, func(t testing.TB, rank int, c *collective.Comm) {
					if err := c.Force(a.Kind, a.Name); err != nil {
						t.Fatal(err)
					}
					largest := large / parts(a.Kind, n)
					if n > 4 {
						largest /= 8 // pieces have been seen
					}
					for i, size := range []int{0, 1, n - 1, 100, 1001, largest} {
						s := shape{kernels.Float32, allOps[i%len(allOps)], size, (n - 1) / 2}
						if err := operations[names[a.Kind]](c, s); err != nil {
							t.Fatalf("%v: %v", s, err)
						}
					}
				})
			}
		})
	}
}

// parts is how many parts of the size of a rank's an operation moves.
func parts(k topology.Kind, n int) int {
	switch k {
	case topology.AllReduce, topology.Broadcast, topology.Reduce:
		return 1
	}
	return n
}

// All ranks must hold the same bits, whatever the order in which an algorithm folds.
func TestResultsAreBitwiseEqual(t *testing.T) { testEqual(t, collectivetest.Setup{}, 9) }

func testEqual(t *testing.T, setup collectivetest.Setup, most int) {
	for _, a := range topology.AlgorithmsFor(topology.AllReduce) {
		t.Run(a.Name, func(t *testing.T) {
			for n := 2; n <= most; n++ {
				setup.Options.Algorithm = a.Name
				setup.Run(t, n, func(t testing.TB, rank int, c *collective.Comm) {
					for _, size := range []int{1, 777, 20_011} {
						x := make([]float32, size)
						for i := range x {
							x[i] = hostile(rank, i)
						}
						if err := c.AllReduce(kernels.Of(x), kernels.Average); err != nil {
							t.Fatal(err)
						}
						all := make([]float32, n*size)
						if err := c.AllGather(kernels.Of(all), kernels.Of(x)); err != nil {
							t.Fatal(err)
						}
						for r := range n {
							if err := differs(kernels.Of(all[r*size:(r+1)*size]), kernels.Of(x)); err != nil {
								t.Fatalf("%d elements, compared with rank %d: %v", size, r, err)
							}
						}
					}
				})
			}
		})
	}
}
