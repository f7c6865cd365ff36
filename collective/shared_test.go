package collective_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/gorun-ml/gorun/collective"
	"github.com/gorun-ml/gorun/collective/collectivetest"
	"github.com/gorun-ml/gorun/kernels"
)

// placed is v in memory that other ranks reach, or not.
func placed(t testing.TB, c *collective.Comm, v kernels.Vector, reached bool) kernels.Vector {
	t.Helper()
	if !reached {
		return v
	}
	p, err := c.Alloc(len(v.Bytes))
	if err != nil {
		t.Fatal(err)
	}
	copy(p, v.Bytes)
	return kernels.Vector{Type: v.Type, Bytes: p}
}

// sharedSizes are bytes around what changes how a shared all-reduce runs.
var sharedSizes = []int{0, 8, 24, 32, 8 << 10, 16 << 10, 16<<10 + 8, 64 << 10, 300_000, 1<<20 + 24, 2_500_008}

// testShared reduces vectors of all sizes, wherever they lie, over and over on one lane.
func testShared(t *testing.T, setup collectivetest.Setup, n int, seed uint64) {
	setup.Run(t, n, func(t testing.TB, rank int, c *collective.Comm) {
		if n > 1 && !c.Shares() {
			t.Fatal("the ranks don't share memory")
		}
		r := rand.New(rand.NewPCG(seed, 0)) // the same on all ranks
		for i := range 40 {
			s := shape{typ: allTypes[r.IntN(len(allTypes))], op: allOps[r.IntN(len(allOps))]}
			s.size = sharedSizes[r.IntN(len(sharedSizes))] / s.typ.Size()
			where := r.IntN(3) // shared, private, some of each
			x := placed(t, c, s.in(rank), where == 0 || where == 2 && (rank+i)%2 == 0)
			if err := c.AllReduce(x, s.op); err != nil {
				t.Fatalf("operation %d, %v: %v", i, s, err)
			}
			if err := differs(x, vector(s.typ, s.size, func(i int) float64 { return reduced(s.op, n, i) })); err != nil {
				t.Fatalf("operation %d, %v: %v", i, s, err)
			}
			if i%7 == 0 {
				if err := c.Barrier(); err != nil {
					t.Fatal(err)
				}
			}
			if where == 0 {
				if err := c.Free(x.Bytes); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

func TestShared(t *testing.T) {
	for _, n := range []int{2, 3, 5} {
		t.Run(fmt.Sprintf("np %d", n), func(t *testing.T) { testShared(t, collectivetest.Setup{}, n, uint64(n)) })
	}
}

// Groups come and go on the same boards, whose clocks go on.
func TestSharedGroups(t *testing.T) {
	collectivetest.Run(t, 4, func(t testing.TB, rank int, c *collective.Comm) {
		for round := range 6 {
			pair := []int{rank &^ 1, rank | 1}
			if round%2 == 1 {
				pair = []int{rank & 1, rank&1 + 2}
			}
			g, err := c.Sub(pair)
			if err != nil {
				t.Fatal(err)
			}
			if !g.Shares() {
				t.Fatal("the ranks of the group don't share memory")
			}
			for i := range 1 + (rank/2+round)%3 { // pairs run different numbers of operations
				if round%2 == 1 {
					i = 0
				}
				s := shape{typ: kernels.Float32, op: kernels.Sum, size: 1 + 5000*i}
				x := s.in(g.Rank())
				if err := g.AllReduce(x, s.op); err != nil {
					t.Fatal(err)
				}
				if err := differs(x, vector(s.typ, s.size, func(i int) float64 { return reduced(s.op, 2, i) })); err != nil {
					t.Fatalf("round %d: %v", round, err)
				}
				if round%2 == 1 {
					break
				}
			}
			if err := g.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
