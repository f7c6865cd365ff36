package collective_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/collective"
	"github.com/gorun-ml/gorun/collective/collectivetest"
	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/collective/transport/tcp"
	"github.com/gorun-ml/gorun/kernels"
	"github.com/gorun-ml/gorun/topology"
)

// Messages that are just short of frames, just over, and several of them with a rest, on
// plans that send what they fold into, and on plans that don't.
func TestDrivenSizes(t *testing.T) {
	const piece = collective.PieceBytes / 4
	for _, algorithm := range []string{"ring", "halving-doubling", "doubling", "circulant", "direct", "tree"} {
		t.Run(algorithm, func(t *testing.T) {
			for n := 2; n <= 5; n++ {
				loopback().Run(t, n, func(t testing.TB, rank int, c *collective.Comm) {
					if err := c.Force(topology.AllReduce, algorithm); err != nil {
						t.Fatal(err)
					}
					for i, size := range []int{1, 7, 1023, 1025, 4097, piece - 1, piece, piece + 1, n*piece + 3, 3*n*piece - 5} {
						s := shape{kernels.Float32, allOps[i%len(allOps)], size, 0}
						if err := operations["all-reduce"](c, s); err != nil {
							t.Fatalf("%v: %v", s, err)
						}
					}
				})
			}
		})
	}
}

// A rank whose connections only block works with ranks that drive theirs.
func TestDrivenBesideBlocking(t *testing.T) {
	setup := collectivetest.Setup{Fabric: func(rank int) (transport.Fabric, error) {
		c := tcp.Config{Job: "test", Version: "test", CRC32C: kernels.CRC32C}
		if rank == 1 {
			c.Wrap = func(c net.Conn) net.Conn { return struct{ net.Conn }{c} }
		}
		return tcp.Listen(c)
	}}
	testOperations(t, setup, 3)
	testAlgorithms(t, setup, 3, 300_007)
}

// No rank leaves a barrier before all have entered it.
func TestDrivenBarrier(t *testing.T) {
	for n := 2; n <= 7; n++ {
		for late := range n {
			var entered atomic.Int32
			var ready sync.WaitGroup
			ready.Add(n - 1)
			loopback().Run(t, n, func(t testing.TB, rank int, c *collective.Comm) {
				for turn := range int32(3) {
					if rank == late && turn == 0 {
						ready.Wait()
						for range 1000 {
							runtime.Gosched() // the others may go wrong meanwhile
						}
					} else if turn == 0 {
						ready.Done()
					}
					entered.Add(1)
					if err := c.Barrier(); err != nil {
						t.Fatal(err)
					}
					if in := entered.Load(); in < (turn+1)*int32(n) {
						t.Errorf("left barrier %d when %d ranks had entered", turn, in-turn*int32(n))
					}
				}
			})
		}
	}
}

// driven is ranks over TCP whose meshes the test holds.
type driven struct {
	fabrics []*tcp.Fabric
	peers   []transport.Peer
}

func newDriven(t *testing.T, n int) *driven {
	d := new(driven)
	for rank := range n {
		f, err := tcp.Listen(tcp.Config{Job: "test", Version: "test"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		d.fabrics = append(d.fabrics, f)
		d.peers = append(d.peers, transport.Peer{Rank: rank, Host: fmt.Sprintf("h%d", rank), Addr: f.Addr()})
	}
	return d
}

// run calls f on all ranks of a generation.
func (d *driven) run(t *testing.T, gen uint64, f func(rank int, m transport.Mesh, c *collective.Comm)) {
	var all sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for rank, fabric := range d.fabrics {
		all.Go(func() {
			m, err := fabric.Mesh(ctx, gen, rank, d.peers)
			if err != nil {
				t.Errorf("rank %d: %v", rank, err)
				return
			}
			defer m.Close(nil)
			c := collective.New(m, topology.Uniform(len(d.peers), 1), rank, collective.Options{})
			defer c.Close()
			f(rank, m, c)
		})
	}
	all.Wait()
}

// A rank that dies while all are in the middle of operations is known to all at once.
func TestRankDiesDriven(t *testing.T) {
	for _, bytes := range []int{4, 64 << 10, 8 << 20} {
		for _, victim := range []int{0, 2} {
			t.Run(fmt.Sprintf("%d bytes, rank %d", bytes, victim), func(t *testing.T) {
				d := newDriven(t, 4)
				underWay := make(chan struct{})
				var dies time.Time
				d.run(t, 1, func(rank int, _ transport.Mesh, c *collective.Comm) {
					if rank == victim {
						go func() {
							<-underWay
							dies = time.Now()
							d.fabrics[victim].Kill()
						}()
					}
					x := floats(bytes / 4)
					var err error
					for i := 0; err == nil; i++ {
						err = c.AllReduce(x, kernels.Sum)
						if i == 10 && rank == victim {
							close(underWay)
						}
					}
					if rank == victim {
						return
					}
					<-underWay
					if took := time.Since(dies); took > time.Second {
						t.Errorf("rank %d knew after %v", rank, took)
					}
					if !errors.Is(err, transport.ErrLost) || !strings.Contains(err.Error(), fmt.Sprintf("rank %d on h%d", victim, victim)) {
						t.Errorf("rank %d: %v, want rank %d to be lost", rank, err, victim)
					}
				})
			})
		}
	}
}

// A mesh that is closed while its rank waits for a peer ends the operation, there and on all.
func TestCloseEndsDriven(t *testing.T) {
	for _, bytes := range []int{4, 8 << 20} {
		why := errors.New("told to stop")
		var ready sync.WaitGroup
		ready.Add(3)
		newDriven(t, 3).run(t, 1, func(rank int, m transport.Mesh, c *collective.Comm) {
			if err := c.Barrier(); err != nil {
				t.Errorf("rank %d: %v", rank, err)
			}
			ready.Done()
			ready.Wait()
			if rank == 2 {
				m.Close(why) // without it the others can't end
				return
			}
			err := c.AllReduce(floats(bytes/4), kernels.Sum)
			if !errors.Is(err, transport.ErrAborted) || !strings.Contains(err.Error(), "told to stop") {
				t.Errorf("rank %d: %v, want rank 2's reason", rank, err)
			}
		})
	}
}

// Generations whose lanes were driven leave nothing behind, however they end.
func TestDrivenGenerationsLeakNothing(t *testing.T) {
	generations := 100
	if testing.Short() {
		generations = 20
	}
	d := newDriven(t, 3)
	goroutines, descriptors := 0, 0
	for gen := range generations {
		var ready sync.WaitGroup
		ready.Add(len(d.peers))
		d.run(t, uint64(gen+1), func(rank int, m transport.Mesh, c *collective.Comm) {
			for _, size := range []int{1, 100_000} {
				if err := c.AllReduce(floats(size), kernels.Sum); err != nil {
					t.Errorf("generation %d, rank %d: %v", gen, rank, err)
				}
			}
			ready.Done()
			ready.Wait()
			if gen%10 == 9 && rank == 1 {
				m.Close(errors.New("again"))
			} else if err := c.Barrier(); gen%10 == 9 && !errors.Is(err, transport.ErrAborted) {
				t.Errorf("generation %d, rank %d: %v", gen, rank, err)
			}
		})
		if gen == 4 {
			goroutines, descriptors = runtime.NumGoroutine(), descriptorsOpen()
		}
	}
	for start := time.Now(); runtime.NumGoroutine() > goroutines && time.Since(start) < 5*time.Second; {
		runtime.Gosched()
	}
	if n := runtime.NumGoroutine(); n > goroutines {
		t.Errorf("%d goroutines after 5 generations, %d after %d", goroutines, n, generations)
	}
	if n := descriptorsOpen(); n > descriptors {
		t.Errorf("%d descriptors after 5 generations, %d after %d", descriptors, n, generations)
	}
}

func descriptorsOpen() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0 // not on this system
	}
	return len(entries)
}
