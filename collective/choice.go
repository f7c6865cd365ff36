package collective

import (
	"fmt"
	"math/bits"
	"sync/atomic"

	"github.com/gorun-ml/gorun/topology"
)

// choice picks the algorithm of an operation. It looks at what is the same on all ranks
// alone, so that all ranks choose alike without asking each other.
type choice struct {
	world  topology.World
	links  topology.Links
	forced uint8 // all-reduce algorithm whatever the size, 0 for none
	shares bool  // all ranks reach each other's memory
	byID   map[uint8]topology.Named
	// The choice of each kind and class of sizes, 0 where none was made yet. Any lane may
	// make it.
	made [watching + 1][66]atomic.Uint32
}

func (c *choice) init(w topology.World, links *topology.Links, forced string, shares bool) error {
	c.world, c.links, c.shares = w, linksOf(w), shares
	if links != nil {
		c.links = *links
	}
	c.byID = map[uint8]topology.Named{}
	for _, n := range topology.Algorithms() {
		c.byID[n.ID] = n
	}
	switch {
	case forced == "":
		return nil
	case forced == sharedName && (shares || w.Size() == 1):
		return nil
	case forced == sharedName:
		return fmt.Errorf("algorithm %s needs ranks that share memory: all on one host, over shm", sharedName)
	}
	n, err := topology.Find(topology.AllReduce, forced)
	c.forced = n.ID
	return err
}

// algorithm returns the ID of the algorithm for an operation on that many bytes.
func (c *choice) algorithm(k kind, bytes int) uint8 {
	if k == allReduce {
		switch {
		case c.forced != 0:
			return c.forced
		case c.shares:
			return sharedAlgorithm
		}
	}
	class := class(bytes)
	made := &c.made[k][class]
	if id := made.Load(); id != 0 {
		return uint8(id)
	}
	id := c.choose(k, class)
	made.Store(uint32(id))
	return id
}

// class is n for the sizes around 2ⁿ⁻¹ bytes: from ¾ of it to 1½ times it.
func class(bytes int) int { return bits.Len(uint(bytes) + uint(bytes)/3) }

// choose decides for a class of sizes, by the power of two in it.
func (c *choice) choose(k kind, class int) uint8 {
	bytes := 1 << max(0, class-1)
	return topology.Select(c.world, topology.Collective{Kind: k.contract()}, int64(bytes), c.links).ID
}

// linksOf is what communication is taken to cost in a world of which nothing is known.
func linksOf(w topology.World) topology.Links {
	if len(w.ByHost()) == 1 {
		return topology.Loopback()
	}
	return topology.TenGigabit()
}

// plan builds rank's plan of an operation.
func (c *choice) plan(key programKey, rank int) topology.Plan {
	if key.kind == barrier {
		return topology.Barrier(c.world, rank)
	}
	return c.byID[key.algo].Algorithm(key.root)(c.world, rank)
}

// algorithmName names an algorithm that a frame carried.
func algorithmName(id uint8) string {
	for _, n := range topology.Algorithms() {
		if n.ID == id {
			return n.Name
		}
	}
	if id == sharedAlgorithm {
		return sharedName
	}
	return fmt.Sprintf("algorithm %d", id)
}
