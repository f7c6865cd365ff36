package collective_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/collective"
	"github.com/gorun-ml/gorun/collective/collectivetest"
	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/kernels"
)

func floats(n int) kernels.Vector { return kernels.Of(make([]float32, n)) }

// Whatever one rank does differently, all ranks end at once and somebody says which two
// differ and how.
var mismatches = []struct {
	name   string
	odd    func(c *collective.Comm) error // one rank
	others func(c *collective.Comm) error
	says   []string
}{
	{
		"size", func(c *collective.Comm) error { return c.AllReduce(floats(128), kernels.Sum) },
		func(c *collective.Comm) error { return c.AllReduce(floats(64), kernels.Sum) },
		[]string{"all-reduce of 128 float32 (sum)", "all-reduce of 64 float32 (sum)", "operation 3"},
	},
	{
		"size that chooses another algorithm", func(c *collective.Comm) error { return c.AllReduce(floats(1<<20), kernels.Sum) },
		func(c *collective.Comm) error { return c.AllReduce(floats(1), kernels.Sum) },
		[]string{"all-reduce of 1048576 float32 (sum)", "all-reduce of 1 float32 (sum)"},
	},
	{
		"nothing", func(c *collective.Comm) error { return c.AllReduce(floats(0), kernels.Sum) },
		func(c *collective.Comm) error { return c.AllReduce(floats(10), kernels.Sum) },
		[]string{"all-reduce of 0 float32 (sum)", "all-reduce of 10 float32 (sum)"},
	},
	{
		"type", func(c *collective.Comm) error { return c.AllReduce(kernels.Of(make([]int32, 64)), kernels.Sum) },
		func(c *collective.Comm) error { return c.AllReduce(floats(64), kernels.Sum) },
		[]string{"all-reduce of 64 int32 (sum)", "all-reduce of 64 float32 (sum)"},
	},
	{
		"reduction", func(c *collective.Comm) error { return c.AllReduce(floats(64), kernels.Max) },
		func(c *collective.Comm) error { return c.AllReduce(floats(64), kernels.Sum) },
		[]string{"(max)", "(sum)"},
	},
	{
		"broadcast to all-reduce", func(c *collective.Comm) error { return c.Broadcast(floats(64), 0) },
		func(c *collective.Comm) error { return c.AllReduce(floats(64), kernels.Sum) },
		[]string{"broadcast of 64 float32 with root 0", "all-reduce of 64 float32 (sum)"},
	},
	{
		"broadcast as root to all-reduce", func(c *collective.Comm) error { return c.Broadcast(floats(64), c.Rank()) },
		func(c *collective.Comm) error { return c.AllReduce(floats(64), kernels.Sum) },
		[]string{"broadcast of 64 float32 with root", "all-reduce of 64 float32 (sum)"},
	},
	{
		"large all-reduce to gather", func(c *collective.Comm) error { return c.AllReduce(floats(1<<20), kernels.Sum) },
		func(c *collective.Comm) error { return c.Gather(floats(10*c.Size()), floats(10), 0) },
		[]string{"all-reduce of 1048576 float32 (sum)", "gather of"},
	},
	{
		"root", func(c *collective.Comm) error { return c.Broadcast(floats(5), max(1, c.Rank())) },
		func(c *collective.Comm) error { return c.Broadcast(floats(5), 0) },
		[]string{"broadcast of 5 float32 with root"},
	},
	{
		"reduce with another root", func(c *collective.Comm) error { return c.Reduce(floats(70_000), kernels.Sum, max(1, c.Rank())) },
		func(c *collective.Comm) error { return c.Reduce(floats(70_000), kernels.Sum, 0) },
		[]string{"reduce of 70000 float32 (sum) with root"},
	},
	{
		"order", func(c *collective.Comm) error {
			return errors.Join(c.AllReduce(floats(9), kernels.Sum), c.AllReduce(floats(7), kernels.Sum))
		},
		func(c *collective.Comm) error {
			return errors.Join(c.AllReduce(floats(7), kernels.Sum), c.AllReduce(floats(9), kernels.Sum))
		},
		[]string{"all-reduce of 9 float32", "all-reduce of 7 float32"},
	},
	{
		"one operation too many", func(c *collective.Comm) error {
			return errors.Join(c.Broadcast(floats(2), c.Rank()), c.AllReduce(floats(3), kernels.Sum))
		},
		func(c *collective.Comm) error { return c.AllReduce(floats(3), kernels.Sum) },
		[]string{"ranks disagree"},
	},
	{
		"counts", func(c *collective.Comm) error { return gatherV(c, 0) },
		func(c *collective.Comm) error { return gatherV(c, c.Size()-1) },
		[]string{"different counts"},
	},
	{
		"parts of an all-to-all", func(c *collective.Comm) error { return toAllV(c, 3) },
		func(c *collective.Comm) error { return toAllV(c, 0) },
		[]string{"bytes"},
	},
	{
		"barrier", func(c *collective.Comm) error { return c.Barrier() },
		func(c *collective.Comm) error { return c.AllReduce(floats(64), kernels.Sum) },
		[]string{"runs", "barrier", "all-reduce of 64"},
	},
}

// gatherV gathers 10 elements, all from one rank.
func gatherV(c *collective.Comm, from int) error {
	counts := make([]int, c.Size())
	counts[from] = 10
	return c.AllGatherV(floats(10), counts, floats(counts[c.Rank()]))
}

// toAllV sends and expects n elements each.
func toAllV(c *collective.Comm, n int) error {
	counts := make([]int, c.Size())
	for r := range counts {
		counts[r] = n
	}
	return c.AllToAllV(floats(n*c.Size()), counts, floats(n*c.Size()), counts)
}

func TestMismatch(t *testing.T) { testMismatch(t, collectivetest.Setup{}, []int{2, 3, 4, 7}) }

func testMismatch(t *testing.T, setup collectivetest.Setup, sizes []int) {
	for _, m := range mismatches {
		for _, n := range sizes {
			for odd := range n {
				if m.name == "counts" && (odd == 0) != (n == 2) {
					continue // the odd rank's counts must suit its own src
				}
				t.Run(fmt.Sprintf("%s/%d of %d", m.name, odd, n), func(t *testing.T) {
					var mu sync.Mutex
					var said []string
					setup.Run(t, n, func(t testing.TB, rank int, c *collective.Comm) {
						var err error
						for range 3 {
							// The last one may have ended on other ranks, which are ahead
							// and in disagreement.
							err = errors.Join(err, c.Barrier())
						}
						begin := time.Now()
						run := m.others
						if rank == odd {
							run = m.odd
						}
						if err == nil {
							err = run(c)
						}
						for range 8 {
							// This rank's part was over before anyone could know. The next
							// operation tells in which those who disagree exchange a frame, at
							// the latest one in which all do; their word takes a moment.
							if err == nil {
								err = toAllV(c, 1)
							}
						}
						if took := time.Since(begin); took > time.Second {
							t.Errorf("it took %v to find out", took)
						}
						if !errors.Is(err, transport.ErrMismatch) {
							t.Fatalf("err = %v, want one that is ErrMismatch", err)
						}
						mu.Lock()
						defer mu.Unlock()
						said = append(said, err.Error())
					})
					for _, want := range append(m.says, fmt.Sprintf("rank %d", odd)) {
						if !anyContains(said, want) {
							t.Errorf("nobody said %q, but:\n%s", want, strings.Join(said, "\n"))
						}
					}
					if testing.Verbose() {
						t.Logf("\n%s", strings.Join(said, "\n"))
					}
				})
			}
		}
	}
}

func anyContains(texts []string, want string) bool {
	for _, s := range texts {
		if strings.Contains(s, want) {
			return true
		}
	}
	return false
}
