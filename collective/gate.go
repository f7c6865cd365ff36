package collective

import (
	"sync"
	"sync/atomic"
)

// gate is how far one direction of a track has come. It only grows during a run; others
// wait for it to reach a mark.
type gate struct {
	at      atomic.Uint64
	waiting atomic.Int32
	mu      sync.Mutex
	moved   sync.Cond
}

// mark is a point in a direction of a track: bytes of step are done, and all of the steps
// before. All of a step is the start of the next.
func mark(step, bytes int) uint64 { return uint64(step)<<40 | uint64(bytes) }

func newGate() *gate {
	g := new(gate)
	g.moved.L = &g.mu
	return g
}

// reach moves the gate to m and wakes who waits for it. Only one goroutine moves a gate.
func (g *gate) reach(m uint64) {
	g.at.Store(m)
	if g.waiting.Load() != 0 {
		g.wake()
	}
}

// wake makes all who wait look again.
func (g *gate) wake() {
	g.mu.Lock()
	g.moved.Broadcast()
	g.mu.Unlock()
}

// wait returns true when the gate has reached m, false when the run has failed before.
func (g *gate) wait(m uint64, failed *atomic.Bool) bool {
	if g.at.Load() >= m {
		return true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting.Add(1)
	defer g.waiting.Add(-1)
	for g.at.Load() < m {
		if failed.Load() {
			return false
		}
		g.moved.Wait()
	}
	return true
}
