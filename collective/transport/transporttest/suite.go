// Package transporttest is the suite that every transport passes.
package transporttest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/collective/transport"
)

// Make returns n fabrics that reach each other, each of them a Killer. The suite closes them.
type Make func(t *testing.T, n int) []transport.Fabric

// Killer is a fabric that can end as the death of its process would end it.
type Killer interface{ Kill() }

// setup is how the worlds of a suite are made.
type setup struct {
	open Make
	host func(rank int) string
}

type testCase struct {
	name string
	test func(*testing.T, setup)
}

// Run runs the suite with every rank on a host of its own.
func Run(t *testing.T, open Make) {
	setup{open, func(rank int) string { return fmt.Sprint("h", rank) }}.run(t, cases)
}

// RunNear runs the suite with all ranks on one host.
func RunNear(t *testing.T, open Make) { near(open).run(t, cases) }

func near(open Make) setup { return setup{open, func(int) string { return "h" }} }

// pairs is two ranks on each host.
func pairs(open Make) setup {
	return setup{open, func(rank int) string { return fmt.Sprint("pair", rank/2) }}
}

func (s setup) run(t *testing.T, cases []testCase) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.test(t, s) })
	}
}

var cases = []testCase{
	{"frames arrive whole and in order", testFrames},
	{"small frames need no receiver", testEager},
	{"large frames cross each other", testDuplex},
	{"lanes are independent", testLanes},
	{"no allocations", testAllocations},
	{"wrong lanes are refused", testWrongLane},
	{"tags differ", testTagMismatch},
	{"lengths differ", testLengthMismatch},
	{"an abort carries its cause", testAbort},
	{"an abort is passed on unchanged", testAbortPassedOn},
	{"the end of the context closes", testContext},
	{"a lost rank is named", testLost},
	{"a rank that has left is named", testLeft},
	{"what was sent before leaving arrives", testSentBeforeLeaving},
	{"a missing rank is named", testMissing},
	{"early ranks wait", testEarly},
	{"a stale generation is refused", testStale},
	{"a generation is joined once", testTwice},
	{"generations follow each other", testGenerations},
	{"generations leak nothing", testLeaks},
}

// world is n ranks in one generation.
type world struct {
	t       *testing.T
	setup   setup
	fabrics []transport.Fabric
	peers   []transport.Peer
	meshes  []transport.Mesh
}

// patience bounds what must not hang.
const patience = 20 * time.Second

func newWorld(t *testing.T, s setup, n int) *world {
	t.Helper()
	w := &world{t: t, setup: s, fabrics: s.open(t, n)}
	t.Cleanup(func() {
		for rank, f := range w.fabrics {
			if err := f.Close(); err != nil {
				t.Errorf("rank %d: closing the fabric: %v", rank, err)
			}
		}
	})
	w.peers = w.peersOf(w.fabrics...)
	return w
}

func (w *world) peersOf(fabrics ...transport.Fabric) []transport.Peer {
	var peers []transport.Peer
	for rank, f := range fabrics {
		peers = append(peers, transport.Peer{Rank: rank, ID: fmt.Sprint("m", rank), Host: w.setup.host(rank), Addr: f.Addr()})
	}
	return peers
}

// joined returns a world of n ranks that have joined generation 1.
func joined(t *testing.T, s setup, n int) *world {
	t.Helper()
	w := newWorld(t, s, n)
	w.join(t.Context(), 1)
	return w
}

func (w *world) join(ctx context.Context, gen uint64) {
	w.t.Helper()
	w.meshes = make([]transport.Mesh, len(w.fabrics))
	w.each(func(rank int) error {
		limited, cancel := context.WithTimeout(ctx, patience)
		w.t.Cleanup(cancel)
		m, err := w.fabrics[rank].Mesh(limited, gen, rank, w.peers)
		w.meshes[rank] = m
		return err
	})
	if w.t.Failed() {
		w.t.FailNow()
	}
}

// each runs f for all ranks at once and waits for them.
func (w *world) each(f func(rank int) error) {
	w.t.Helper()
	var ranks sync.WaitGroup
	for rank := range w.fabrics {
		ranks.Go(func() {
			if err := f(rank); err != nil {
				w.t.Errorf("rank %d of %d: %v", rank, len(w.fabrics), err)
			}
		})
	}
	wait(w.t, &ranks)
}

// close closes all meshes in good order.
func (w *world) close() {
	w.t.Helper()
	w.each(func(rank int) error { return w.meshes[rank].Close(nil) })
}

func (w *world) conn(rank, peer, lane int) transport.Conn {
	w.t.Helper()
	c, err := w.meshes[rank].Conn(peer, lane)
	if err != nil {
		w.t.Errorf("rank %d: lane %d to rank %d: %v", rank, lane, peer, err)
		panic(err)
	}
	return c
}

func wait(t *testing.T, group *sync.WaitGroup) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		group.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(patience):
		panic("ranks hang")
	}
}
