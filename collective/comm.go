// Package collective makes the ranks of a mesh compute together: each operation is a plan
// from topology that every rank runs over its connections, folding with kernels.
//
// An operation that fails, fails on all ranks and ends the mesh; every call then returns
// the first cause. Ranks that call different operations are told so at once, by name.
package collective

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/kernels"
	"github.com/gorun-ml/gorun/topology"
)

// Options are a communicator's settings, the same on all ranks. The zero value is useful.
type Options struct {
	// Lanes is how many operations may run at once (default 4).
	Lanes int
	// Tracks is how many tracks the plan of one operation may have (default 4). Each is a
	// connection to a peer, of which there are 62 in all.
	Tracks int
	// GroupLanes is Lanes of the communicators that Sub makes (default 2, at most Lanes).
	GroupLanes int
	// Queue is how many operations may be started on a lane and not have ended (default 64).
	Queue int
	// Algorithm is the all-reduce to use whatever the size, by its name in topology.
	// Empty chooses by size and world.
	Algorithm string
	// Links is what communication costs, for the choice of algorithms. nil stands for
	// constants of a usual network.
	Links *topology.Links
}

func (o Options) withDefaults() Options {
	for _, d := range []struct {
		field *int
		value int
	}{{&o.Lanes, 4}, {&o.Tracks, 4}, {&o.GroupLanes, 2}, {&o.Queue, 64}} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	o.GroupLanes = min(o.GroupLanes, o.Lanes)
	return o
}

// errClosed is what operations on a closed communicator return.
var errClosed = errors.New("the communicator is closed")

// Comm is one rank's end of a communicator: the ranks of a mesh, or a group of them.
// Its own operations run on lane 0.
type Comm struct {
	core    *core
	options Options
	world   topology.World
	rank    int
	ranks   []int  // ranks of the mesh, by rank of the communicator
	group   uint64 // number of the group, 0 for all ranks
	used    uint64 // transport lanes, as bits
	shares  bool   // all ranks reach each other's memory
	tick    uint32 // where the clocks of the boards begin
	lanes   []*Lane
	choice  choice
	closing sync.Once
}

// New returns rank's end of a communicator of all ranks of w over mesh m, which may be nil
// in a world of one rank. All ranks call it once a mesh. It panics if the options cannot be
// had: an algorithm that does not exist, more connections to a peer than a mesh has.
func New(m transport.Mesh, w topology.World, rank int, o Options) *Comm {
	o = o.withDefaults()
	need := o.Lanes * o.Tracks
	if need > transport.MaxLanes-2 {
		panic(fmt.Sprintf("collective: %d lanes of %d tracks need %d connections to each peer, there are %d", o.Lanes, o.Tracks, need, transport.MaxLanes-2))
	}
	core := &core{mesh: m, rank: rank, free: freeLanes}
	ranks := make([]int, w.Size())
	for r := range ranks {
		ranks[r] = r
	}
	core.watch = newWatch(core, w.Size())
	return newComm(core, o, w, ranks, rank, 0, start{lane: take(freeLanes, need)})
}

// start is where a communicator begins: the first of its transport lanes, and a tick that
// none of its ranks' clocks on the lanes' boards has passed.
type start struct {
	lane int
	tick uint32
}

// newComm makes a communicator.
func newComm(core *core, o Options, w topology.World, ranks []int, rank int, group uint64, at start) *Comm {
	c := &Comm{core: core, options: o, world: w, rank: rank, ranks: ranks, group: group}
	c.shares, c.tick = shares(core.mesh, ranks), at.tick
	if err := c.choice.init(w, o.Links, o.Algorithm, c.shares); err != nil {
		panic("collective: " + err.Error())
	}
	first := at.lane
	c.used = laneBits(first, o.Lanes*o.Tracks)
	core.occupy(c.used)
	for i := range o.Lanes {
		l := &Lane{comm: c, number: i, first: first + i*o.Tracks, programs: map[programKey]*program{}}
		l.record = core.watch.add(group, i, l.where())
		l.queue.init(o.Queue)
		c.lanes = append(c.lanes, l)
	}
	return c
}

// Rank is this rank in the communicator.
func (c *Comm) Rank() int { return c.rank }

// Size is the number of ranks.
func (c *Comm) Size() int { return len(c.ranks) }

// World says which ranks share a host.
func (c *Comm) World() topology.World { return c.world }

// Lanes is the number of lanes.
func (c *Comm) Lanes() int { return len(c.lanes) }

// Lane returns lane i.
func (c *Comm) Lane(i int) *Lane { return c.lanes[i] }

// Alloc returns zeroed memory that the other ranks of this host reach where they can:
// operations on vectors in it need no copies. It lives on after the communicator, until
// Free or the end of the process.
func (c *Comm) Alloc(bytes int) ([]byte, error) {
	if w, ok := c.core.mesh.(transport.Window); ok {
		return w.Alloc(bytes)
	}
	return transport.Pages(bytes)
}

// Free gives back what Alloc has returned.
func (c *Comm) Free(p []byte) error {
	if w, ok := c.core.mesh.(transport.Window); ok {
		return w.Free(p)
	}
	return nil
}

// Close ends the communicator's goroutines. It waits for operations that are under way or
// queued: to give those up, close the mesh with the cause first. The mesh stays open.
// Groups are closed by themselves, before the communicator that they were made from.
func (c *Comm) Close() error {
	c.closing.Do(func() {
		for _, l := range c.lanes {
			c.core.passed(l.close())
			c.core.watch.remove(l.record)
		}
		if c.group == 0 {
			c.core.watch.close()
		}
		c.core.release(c.used)
	})
	return nil
}

// AllReduce leaves in x, on every rank, the reduction of all ranks' x. All ranks hold the
// same bits afterwards.
func (c *Comm) AllReduce(x kernels.Vector, op kernels.Op) error { return c.lanes[0].AllReduce(x, op) }

// Broadcast copies root's x to every rank's x.
func (c *Comm) Broadcast(x kernels.Vector, root int) error { return c.lanes[0].Broadcast(x, root) }

// Reduce leaves in root's x the reduction of all ranks' x. On other ranks x holds anything
// afterwards.
func (c *Comm) Reduce(x kernels.Vector, op kernels.Op, root int) error {
	return c.lanes[0].Reduce(x, op, root)
}

// AllGather concatenates all ranks' src, equally long, in the order of ranks, in every
// rank's dst. src may be this rank's part of dst.
func (c *Comm) AllGather(dst, src kernels.Vector) error { return c.lanes[0].AllGather(dst, src) }

// AllGatherV is AllGather where rank r's src has counts[r] elements. All ranks give the
// same counts.
func (c *Comm) AllGatherV(dst kernels.Vector, counts []int, src kernels.Vector) error {
	return c.lanes[0].AllGatherV(dst, counts, src)
}

// Gather concatenates all ranks' src, equally long, in root's dst. Elsewhere dst is not
// looked at.
func (c *Comm) Gather(dst, src kernels.Vector, root int) error {
	return c.lanes[0].Gather(dst, src, root)
}

// Scatter gives each rank, in dst, its part of root's src, all equally long. Elsewhere src
// is not looked at.
func (c *Comm) Scatter(dst, src kernels.Vector, root int) error {
	return c.lanes[0].Scatter(dst, src, root)
}

// ReduceScatter reduces all ranks' src, which has a part for each rank, and leaves in dst
// this rank's part of the result.
func (c *Comm) ReduceScatter(dst, src kernels.Vector, op kernels.Op) error {
	return c.lanes[0].ReduceScatter(dst, src, op)
}

// AllToAll sends part r of src to rank r, and receives into part r of dst what rank r sends.
// All parts are equally long.
func (c *Comm) AllToAll(dst, src kernels.Vector) error { return c.lanes[0].AllToAll(dst, src) }

// AllToAllV is AllToAll with parts of different lengths: srcCounts[r] elements go to rank
// r, dstCounts[r] come from it.
func (c *Comm) AllToAllV(dst kernels.Vector, dstCounts []int, src kernels.Vector, srcCounts []int) error {
	return c.lanes[0].AllToAllV(dst, dstCounts, src, srcCounts)
}

// Barrier returns when all ranks have called it.
func (c *Comm) Barrier() error { return c.lanes[0].Barrier() }

// ranksText lists ranks for an error text.
func ranksText(ranks []int) string {
	const most = 8
	words := make([]string, 0, most+1)
	for i, r := range ranks {
		if i == most {
			words = append(words, fmt.Sprintf("… (%d in all)", len(ranks)))
			break
		}
		words = append(words, fmt.Sprint(r))
	}
	if len(ranks) == 0 {
		return "no ranks"
	}
	return "ranks " + strings.Join(words, ", ")
}
