package collective_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/collective"
	"github.com/gorun-ml/gorun/collective/collectivetest"
	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/kernels"
	"github.com/gorun-ml/gorun/topology"
)

// held is what a process holds of what could leak.
type held struct {
	goroutines, descriptors, mappings int
	heap, resident                    int64 // bytes
}

func holds(t *testing.T) held {
	t.Helper()
	runtime.GC()
	runtime.GC() // finalizers have run in between
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("no /proc on this system: %v", err)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	h := held{goroutines: runtime.NumGoroutine(), descriptors: len(fds), heap: int64(m.HeapAlloc)}
	h.mappings = strings.Count(string(maps), "memfd:")
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); f[0] == "RssShmem:" {
			for _, digit := range f[1] {
				h.resident = h.resident*10 + int64(digit-'0')
			}
			h.resident <<= 10
		}
	}
	return h
}

// 100 generations of 1,000 all-reduces leave everything where it was. Where ranks have both
// neighbours and peers on other hosts, it is 50 all-reduces: those take longer.
func TestNothingLeaks(t *testing.T) {
	for name, s := range map[string]struct {
		setup   collectivetest.Setup
		hosts   []int
		reduces int
	}{
		"tcp":     {loopback(), []int{0, 0}, 1000},
		"shm":     {memory(), []int{0, 0}, 1000},
		"shm+tcp": {memory(), []int{0, 0, 1, 1}, 50},
	} {
		t.Run(name, func(t *testing.T) {
			ranks := len(s.hosts)
			generations, reduces := 100, s.reduces
			if raceEnabled {
				reduces /= 10
			}
			var fabrics []transport.Fabric
			var peers []transport.Peer
			for r := range ranks {
				f, err := s.setup.Fabric(r)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				fabrics = append(fabrics, f)
				peers = append(peers, transport.Peer{Rank: r, ID: string(rune('a' + r)), Host: fmt.Sprint("h", s.hosts[r]), Addr: f.Addr()})
			}
			generation := func(gen int) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				var all sync.WaitGroup
				for r := range ranks {
					all.Go(func() {
						if err := live(ctx, fabrics[r], uint64(gen), r, peers, topology.World{Hosts: s.hosts}, reduces); err != nil {
							t.Errorf("generation %d: rank %d: %v", gen, r, err)
						}
					})
				}
				all.Wait()
			}
			const warm = 3
			for gen := range warm {
				generation(gen + 1)
			}
			before := holds(t)
			for gen := warm; gen < generations && !t.Failed(); gen++ {
				generation(gen + 1)
			}
			after := holds(t)
			if after.goroutines > before.goroutines || after.descriptors > before.descriptors || after.mappings > before.mappings {
				t.Errorf("after %d generations: %+v, before: %+v", generations-warm, after, before)
			}
			const slack = 1 << 20
			if after.heap > before.heap+slack || after.resident > before.resident+slack {
				t.Errorf("memory after %d generations: %+v, before: %+v", generations-warm, after, before)
			}
		})
	}
}

// live is one rank's generation.
func live(ctx context.Context, f transport.Fabric, gen uint64, rank int, peers []transport.Peer, w topology.World, reduces int) error {
	mesh, err := f.Mesh(ctx, gen, rank, peers)
	if err != nil {
		return err
	}
	c := collective.New(mesh, w, rank, collective.Options{})
	var buffers []kernels.Vector
	for i := range 15 {
		p, err := c.Alloc(4 << i)
		if err != nil {
			return err
		}
		buffers = append(buffers, kernels.Vector{Type: kernels.Float32, Bytes: p})
	}
	for i := range reduces {
		if err := c.Lane(i%c.Lanes()).AllReduce(buffers[i%len(buffers)], kernels.Sum); err != nil {
			return err
		}
	}
	for _, v := range buffers {
		if err := c.Free(v.Bytes); err != nil {
			return err
		}
	}
	// Nobody leaves before all have ended.
	if err := c.Barrier(); err != nil {
		return err
	}
	if err := c.Close(); err != nil {
		return err
	}
	return mesh.Close(nil)
}
