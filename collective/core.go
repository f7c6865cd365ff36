package collective

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/gorun-ml/gorun/collective/transport"
)

// Of the transport's lanes, the quiet ones serve all communicators of a mesh; the others
// are lent to communicators, lane by lane, so that nothing of theirs ever mixes.
const (
	watchLane = transport.QuietLane
	groupLane = transport.QuietLane + 1
	freeLanes = ^uint64(1<<watchLane | 1<<groupLane)
)

// core is what a communicator and the groups made from it share: the mesh, how it ended,
// and who uses which of its lanes.
type core struct {
	mesh  transport.Mesh
	rank  int // in the mesh
	watch *watch
	step  atomic.Int64 // that operations are noted for

	mu    sync.Mutex
	cause error  // the first failure
	free  uint64 // transport lanes that no communicator of this rank uses, as bits
	epoch uint64 // highest number of a group that this rank is or was in
	tick  uint32 // latest that this rank's clocks show on lanes that are free again

	grouping sync.Mutex // one group is made at a time
}

// fail notes err as the first failure, unless there is one, and ends the mesh with it, so
// that all ranks end. It returns the first failure.
func (c *core) fail(err error) error {
	c.mu.Lock()
	first := c.cause == nil
	if first {
		c.cause = err
	}
	cause := c.cause
	c.mu.Unlock()
	// A peer that gave up has told everybody itself, and a closed mesh needs no closing.
	if first && !errors.Is(err, transport.ErrAborted) && !errors.Is(err, transport.ErrClosed) {
		c.mesh.Close(err)
	}
	return cause
}

// failed returns the first failure, nil if there is none.
func (c *core) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}

// take returns the first of n neighbouring transport lanes that are free, -1 if there are none.
func take(free uint64, n int) int {
	for first := 0; first+n <= transport.MaxLanes; first++ {
		if want := laneBits(first, n); free&want == want {
			return first
		}
	}
	return -1
}

func laneBits(first, n int) uint64 { return (1<<n - 1) << first }

// occupy marks transport lanes as used, or as free again.
func (c *core) occupy(lanes uint64) {
	c.mu.Lock()
	c.free &^= lanes
	c.mu.Unlock()
}

func (c *core) release(lanes uint64) {
	c.mu.Lock()
	c.free |= lanes
	c.mu.Unlock()
}

// passed notes where a clock of a lane that is free again has come.
func (c *core) passed(tick uint32) {
	c.mu.Lock()
	c.tick = later(c.tick, tick)
	c.mu.Unlock()
}

// later is the later of two ticks.
func later(a, b uint32) uint32 {
	if int32(b-a) > 0 {
		return b
	}
	return a
}
