// Package collectivetest runs the ranks of a communicator as goroutines of one test.
package collectivetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorun-ml/gorun/collective"
	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/collective/transport/inproc"
	"github.com/gorun-ml/gorun/topology"
)

// Limit is how long the ranks have. Under a *testing.T and without a Fabric time stands
// still while any rank computes, so that only ranks that all wait can use it up.
const Limit = time.Minute

// Run calls f on n goroutines, each with its rank's end of a communicator over inproc. It
// returns when all have returned. A failure reads "rank 3 of 8: …" and ends the mesh, so
// that the other ranks end too; ranks that wait for each other for good fail, and so does
// a goroutine that is left over.
//
// Under a *testing.T the ranks live in a synctest bubble.
func Run(t testing.TB, n int, f func(t testing.TB, rank int, c *collective.Comm)) {
	t.Helper()
	Setup{}.Run(t, n, f)
}

// Setup is where the ranks live. The zero value is one host, default options, and inproc.
type Setup struct {
	World   func(n int) topology.World
	Options collective.Options
	// Fabric returns the fabric of a rank, which Run closes.
	Fabric func(rank int) (transport.Fabric, error)
}

// Run is the function Run in this setup.
func (s Setup) Run(t testing.TB, n int, f func(t testing.TB, rank int, c *collective.Comm)) {
	t.Helper()
	if s.World == nil {
		s.World = func(n int) topology.World { return topology.Uniform(n, 1) }
	}
	test, ok := t.(*testing.T)
	if !ok || s.Fabric != nil {
		s.run(t, n, f)
		return
	}
	synctest.Test(test, func(t *testing.T) { s.run(t, n, f) })
}

func (s Setup) run(t testing.TB, n int, f func(t testing.TB, rank int, c *collective.Comm)) {
	t.Helper()
	if s.Fabric == nil {
		net := inproc.NewNetwork()
		s.Fabric = func(rank int) (transport.Fabric, error) { return net.Fabric(fmt.Sprintf("rank %d", rank)), nil }
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), Limit,
		fmt.Errorf("collectivetest: the ranks have not ended in %v", Limit))
	defer cancel()

	world := s.World(n)
	var fabrics []transport.Fabric
	var peers []transport.Peer
	for r := range n {
		fabric, err := s.Fabric(r)
		if err != nil {
			t.Fatalf("rank %d of %d: fabric: %v", r, n, err)
		}
		defer fabric.Close()
		fabrics = append(fabrics, fabric)
		peers = append(peers, transport.Peer{Rank: r, ID: fmt.Sprintf("m%d", r), Host: fmt.Sprintf("h%d", world.Hosts[r]), Addr: fabric.Addr()})
	}
	var all, joined, through sync.WaitGroup
	joined.Add(n)
	through.Add(n)
	for r := range n {
		all.Go(func() {
			one := &member{TB: t, rank: r, size: n}
			mesh, err := fabrics[r].Mesh(ctx, 1, r, peers)
			joined.Done()
			joined.Wait() // a mesh that fails early fails those that join late
			if err != nil {
				through.Done()
				one.Errorf("mesh: %v", err)
				return
			}
			comm := collective.New(mesh, world, r, s.Options)
			defer func() {
				if one.failed.Load() {
					mesh.Close(errors.New("its test failed"))
				}
				through.Done()
				through.Wait() // a mesh that is closed early fails the others
				if err := comm.Close(); err != nil {
					one.Errorf("close: %v", err)
				}
				mesh.Close(nil)
			}()
			f(one, r, comm)
		})
	}
	all.Wait()
}
