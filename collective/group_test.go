package collective_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gorun-ml/gorun/collective"
	"github.com/gorun-ml/gorun/collective/collectivetest"
	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/kernels"
	"github.com/gorun-ml/gorun/topology"
)

// Rows and columns of a grid of ranks, at once and on the same goroutines.
func TestGridOfGroups(t *testing.T) {
	const rows, columns = 2, 3
	collectivetest.Run(t, rows*columns, func(t testing.TB, rank int, c *collective.Comm) {
		r, col := rank/columns, rank%columns
		row, err := c.Sub([]int{r * columns, r*columns + 1, r*columns + 2})
		if err != nil {
			t.Fatal(err)
		}
		column, err := c.Sub([]int{columns + col, col}) // turned round
		if err != nil {
			t.Fatal(err)
		}
		if row.Rank() != col || row.Size() != columns || column.Rank() != 1-r || column.Size() != rows {
			t.Errorf("rank %d of %d in its row, %d of %d in its column", row.Rank(), row.Size(), column.Rank(), column.Size())
		}
		for i := range 5 {
			a := row.Lane(1).Start(floats(1000*i), kernels.Sum)
			x := []int64{int64(rank)}
			if err := column.AllReduce(kernels.Of(x), kernels.Sum); err != nil {
				t.Fatal(err)
			}
			if want := int64(2*col + columns); x[0] != want {
				t.Fatalf("sum over column %d = %d, want %d", col, x[0], want)
			}
			y := []int64{int64(rank)}
			if err := row.Broadcast(kernels.Of(y), 2); err != nil {
				t.Fatal(err)
			}
			if want := int64(r*columns + 2); y[0] != want {
				t.Fatalf("broadcast in row %d = %d, want %d", r, y[0], want)
			}
			if err := a.Wait(); err != nil {
				t.Fatal(err)
			}
			if err := reduce(c.Lane(0), c.Size(), rank, 100, i); err != nil {
				t.Fatal(err)
			}
		}
		for _, g := range []*collective.Comm{column, row} {
			if err := g.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// Close gives a group's connections back; without it they run out, which all members learn.
func TestGroupsAreLimited(t *testing.T) {
	collectivetest.Run(t, 3, func(t testing.TB, rank int, c *collective.Comm) {
		for i := range 20 {
			g, err := c.Sub([]int{2, 1, 0})
			if err != nil {
				t.Fatal(err)
			}
			if err := reduce(g.Lane(i%2), 3, g.Rank(), 10*i, i); err != nil {
				t.Fatal(err)
			}
			g.Close()
		}
		var groups []*collective.Comm
		for {
			g, err := c.Sub([]int{0, 1, 2})
			if err != nil {
				if !strings.Contains(err.Error(), "close groups") {
					t.Error(err)
				}
				break
			}
			groups = append(groups, g)
		}
		if len(groups) != 5 {
			t.Errorf("room for %d groups, want 5", len(groups))
		}
		for _, g := range groups {
			g.Close()
		}
		if err := c.Barrier(); err != nil {
			t.Error("the communicator does not survive a group that had no room:", err)
		}
	})
}

func TestNestedGroup(t *testing.T) {
	setup := collectivetest.Setup{World: func(n int) topology.World { return topology.Uniform(n, 3) }}
	setup.Run(t, 6, func(t testing.TB, rank int, c *collective.Comm) {
		if rank == 0 {
			return
		}
		five, err := c.Sub([]int{5, 4, 3, 2, 1})
		if err != nil {
			t.Fatal(err)
		}
		defer five.Close()
		if rank == 3 {
			alone, err := five.Sub([]int{five.Rank()})
			if err != nil {
				t.Fatal(err)
			}
			defer alone.Close()
			if err := reduce(alone.Lane(0), 1, 0, 10, 1); err != nil {
				t.Error(err)
			}
			return
		}
		four, err := five.Sub([]int{0, 1, 3, 4}) // 5 4 2 1
		if err != nil {
			t.Fatal(err)
		}
		defer four.Close()
		if h := four.World().Hosts; len(h) != 4 || h[0] != 0 || h[1] != 0 || h[2] != 1 || h[3] != 2 {
			t.Errorf("hosts %v, want [0 0 1 2]", h)
		}
		x := []int64{int64(rank)}
		if err := four.AllReduce(kernels.Of(x), kernels.Sum); err != nil || x[0] != 12 {
			t.Errorf("%d, %v, want 12", x[0], err)
		}
	})
}

func TestGroupsThatDisagree(t *testing.T) {
	collectivetest.Run(t, 3, func(t testing.TB, rank int, c *collective.Comm) {
		ranks := []int{0, 1, 2}
		if rank == 1 {
			ranks = []int{0, 2, 1}
		}
		g, err := c.Sub(ranks)
		if err == nil { // the others may not have heard
			err = g.Barrier()
			g.Close()
		}
		if !errors.Is(err, transport.ErrMismatch) {
			t.Errorf("err = %v, want one that is ErrMismatch", err)
		}
	})
}

// A mismatch inside a group names ranks as the mesh does.
func TestMismatchInGroup(t *testing.T) {
	collectivetest.Run(t, 5, func(t testing.TB, rank int, c *collective.Comm) {
		var err error
		if rank > 0 {
			var g *collective.Comm
			// The others may be ahead, and in disagreement before this rank is in the group.
			if g, err = c.Sub([]int{4, 3, 2, 1}); err == nil {
				defer g.Close()
				if rank == 3 {
					err = g.Lane(1).Broadcast(floats(1), 0)
				} else {
					err = g.Lane(1).AllReduce(floats(8), kernels.Sum)
				}
				if err == nil {
					err = g.Lane(1).Barrier()
				}
			}
		} else {
			err = c.Barrier()
		}
		if !errors.Is(err, transport.ErrMismatch) {
			t.Errorf("err = %v, want one that is ErrMismatch", err)
		}
		if !strings.Contains(err.Error(), "rank 3 ") {
			t.Errorf("%q does not name rank 3", err)
		}
	})
}

func TestGroupArguments(t *testing.T) {
	collectivetest.Run(t, 2, func(t testing.TB, rank int, c *collective.Comm) {
		for want, ranks := range map[string][]int{
			"there is no rank 2":    {rank, 2},
			"is listed twice":       {rank, rank},
			"makes it and is not":   {1 - rank},
			"group of no ranks: ra": nil,
		} {
			if _, err := c.Sub(ranks); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("Sub(%v): %v, want %q", ranks, err, want)
			}
		}
	})
}
