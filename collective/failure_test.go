package collective_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/gorun-ml/gorun/collective"
	"github.com/gorun-ml/gorun/collective/collectivetest"
	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/collective/transport/inproc"
	"github.com/gorun-ml/gorun/kernels"
	"github.com/gorun-ml/gorun/topology"
)

// When a process dies in the middle of an operation, all others learn which.
func TestLostRank(t *testing.T) {
	for _, bytes := range []int{8, 4 << 20} {
		for victim := range 4 {
			t.Run(fmt.Sprintf("%d bytes, rank %d", bytes, victim), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { lose(t, 4, victim, bytes/4) })
			})
		}
	}
}

func lose(t *testing.T, n, victim, size int) {
	net := inproc.NewNetwork()
	var peers []transport.Peer
	var fabrics []*inproc.Fabric
	for r := range n {
		fabrics = append(fabrics, net.Fabric(fmt.Sprint(r)))
		peers = append(peers, transport.Peer{Rank: r, Host: fmt.Sprintf("h%d", r), Addr: fmt.Sprint(r)})
	}
	var all sync.WaitGroup
	for r := range n {
		all.Go(func() {
			defer fabrics[r].Close()
			mesh, err := fabrics[r].Mesh(context.Background(), 1, r, peers)
			if err != nil {
				t.Errorf("rank %d: %v", r, err)
				return
			}
			defer mesh.Close(nil)
			c := collective.New(mesh, topology.Uniform(n, n), r, collective.Options{})
			defer c.Close()
			if err := c.Barrier(); err != nil && r == victim {
				t.Errorf("rank %d: %v", r, err)
			}
			if r == victim {
				// The others wait in the operation.
				synctest.Wait()
				fabrics[r].Kill()
				return
			}
			h := c.Lane(1).StartNamed("bucket conv2.w", floats(size), kernels.Sum)
			err = c.AllReduce(floats(size), kernels.Sum)
			for i, err := range []error{err, h.Wait(), c.Barrier()} {
				if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("rank %d on h%d: connection lost", victim, victim)) {
					t.Errorf("rank %d: operation %d: %v, want rank %d on h%d: connection lost", r, i, err, victim, victim)
				}
				if !errors.Is(err, transport.ErrLost) {
					t.Errorf("rank %d: operation %d: %v is not ErrLost", r, i, err)
				}
				if i == 1 && !strings.HasPrefix(err.Error(), "all-reduce 0 on lane 1 (bucket conv2.w, ") {
					t.Errorf("rank %d: %v does not name its operation", r, err)
				}
			}
		})
	}
	all.Wait()
}

// What a rank gives as its reason is what the others report.
func TestRankGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := inproc.NewNetwork()
		var peers []transport.Peer
		var fabrics []*inproc.Fabric
		const n = 3
		for r := range n {
			fabrics = append(fabrics, net.Fabric(fmt.Sprint(r)))
			peers = append(peers, transport.Peer{Rank: r, Host: "h", Addr: fmt.Sprint(r)})
		}
		var all sync.WaitGroup
		for r := range n {
			all.Go(func() {
				mesh, err := fabrics[r].Mesh(context.Background(), 1, r, peers)
				if err != nil {
					t.Errorf("rank %d: %v", r, err)
					return
				}
				c := collective.New(mesh, topology.Uniform(n, 1), r, collective.Options{})
				defer c.Close()
				if r == 1 {
					synctest.Wait()
					mesh.Close(errors.New("disk full"))
					return
				}
				err = c.AllReduce(floats(100), kernels.Sum)
				mesh.Close(err)
				if err == nil || !strings.Contains(err.Error(), "rank 1 gave up: disk full") || !errors.Is(err, transport.ErrAborted) {
					t.Errorf("rank %d: %v, want rank 1 gave up: disk full", r, err)
				}
			})
		}
		all.Wait()
	})
}

// A wrong argument is the caller's own affair: nothing is sent, the communicator lives.
func TestWrongArguments(t *testing.T) {
	collectivetest.Run(t, 2, func(t testing.TB, rank int, c *collective.Comm) {
		two := floats(2)
		for want, err := range map[string]error{
			"all-reduce 0: the vector has no element type":    c.AllReduce(kernels.Vector{}, kernels.Sum),
			"there is no reduction 9":                         c.AllReduce(two, 9),
			"the vector has 3 bytes, not a multiple of 4":     c.AllReduce(kernels.Vector{Type: kernels.Float32, Bytes: make([]byte, 3)}, kernels.Sum),
			"the root is rank 2, want 0 to 1":                 c.Broadcast(two, 2),
			"the root is rank -1, want 0 to 1":                c.Reduce(two, kernels.Sum, -1),
			"dst has 3 elements, want 4: 2 ranks times the 2": c.AllGather(floats(3), two),
			"dst is int64, src float32: want one type":        c.AllGather(kernels.Of(make([]int64, 4)), two),
			"src has 2 elements, want 6: 2 ranks times the 3": c.ReduceScatter(floats(3), two, kernels.Max),
			"dst has 3 elements, want 2":                      c.AllToAll(floats(3), two),
			"src has 3 elements, which 2 ranks cannot share":  c.AllToAll(floats(3), floats(3)),
			"counts has 1 numbers, want one for each of 2":    c.AllGatherV(two, []int{2}, two),
			"counts[1] is -1":                                 c.AllGatherV(two, []int{3, -1}, two),
			"dst has 2 elements, counts adds up to 5":         c.AllGatherV(two, []int{2, 3}, two),
			"src has 2 elements, counts says":                 c.AllGatherV(two, []int{1, 1}, two),
			"sends itself":                                    c.AllToAllV(two, []int{1, 1}, two, []int{2 - 2*rank, 2 * rank}),
		} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		}
		if err := c.Barrier(); err != nil {
			t.Error(err)
		}
	})
}
