package collective_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gorun-ml/gorun/collective"
	"github.com/gorun-ml/gorun/collective/collectivetest"
)

// schedule runs random operations, the same on all ranks because they have one seed.
func schedule(t testing.TB, c *collective.Comm, seed uint64, operationsToRun, largest int) {
	r := rand.New(rand.NewPCG(seed, 0))
	names := make([]string, 0, len(operations))
	for name := range operations {
		names = append(names, name)
	}
	slices.Sort(names)
	for i := range operationsToRun {
		s := shape{
			typ: allTypes[r.IntN(len(allTypes))], op: allOps[r.IntN(len(allOps))],
			size: r.IntN(1 + r.IntN(largest)), root: r.IntN(c.Size()),
		}
		name := names[r.IntN(len(names))]
		if err := operations[name](c, s); err != nil {
			t.Fatalf("seed %d: operation %d, %s %v: %v", seed, i, name, s, err)
		}
	}
}

func TestRandomSchedules(t *testing.T) {
	for seed := range uint64(6) {
		n := 2 + int(seed)
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			collectivetest.Run(t, n, func(t testing.TB, rank int, c *collective.Comm) {
				schedule(t, c, seed, 120, 5_000)
			})
		})
	}
	t.Run("tcp", func(t *testing.T) {
		loopback().Run(t, 4, func(t testing.TB, rank int, c *collective.Comm) { schedule(t, c, 99, 150, 10_000) })
	})
}

func FuzzShapes(f *testing.F) {
	f.Add(uint8(3), uint8(0), uint16(17), uint8(0), uint8(1), uint64(1))
	f.Add(uint8(2), uint8(5), uint16(65535), uint8(2), uint8(0), uint64(2))
	names := make([]string, 0, len(operations))
	for name := range operations {
		names = append(names, name)
	}
	slices.Sort(names)
	f.Fuzz(func(t *testing.T, ranks, operation uint8, size uint16, typ, op uint8, seed uint64) {
		n := 1 + int(ranks)%9
		s := shape{allTypes[int(typ)%len(allTypes)], allOps[int(op)%len(allOps)], int(size), int(seed % uint64(n))}
		name := names[int(operation)%len(names)]
		collectivetest.Run(t, n, func(t testing.TB, rank int, c *collective.Comm) {
			if err := operations[name](c, s); err != nil {
				t.Fatalf("%s %v: %v", name, s, err)
			}
			schedule(t, c, seed, 3, 100)
		})
	})
}
