package collective

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/topology"
)

// Sub makes a communicator of some ranks of c, which get the ranks 0, 1, … in the order
// given. All of those ranks call it, with the same list; others need not. A rank that is
// to be in several groups makes them in the same order as the other members do.
//
// Operations of a group are apart from all others: it has connections of its own, which
// limits how many groups of two ranks or more a rank can be in at once. Close gives them
// back.
func (c *Comm) Sub(ranks []int) (*Comm, error) {
	members, me, err := c.members(ranks)
	if err != nil {
		return nil, fmt.Errorf("group of %s: %w", ranksText(ranks), err)
	}
	o := c.options
	o.Lanes = o.GroupLanes
	return c.join("group of "+ranksText(ranks), members, me, c.worldOf(ranks), o)
}

// join makes a communicator of members, ranks of the mesh, of which this one is number me.
// Errors call it what.
func (c *Comm) join(what string, members []int, me int, w topology.World, o Options) (*Comm, error) {
	c.core.grouping.Lock()
	defer c.core.grouping.Unlock()
	if err := c.core.failed(); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	at, epoch, err := c.core.agree(members, o.Lanes*o.Tracks)
	if err != nil {
		if !errors.Is(err, errNoRoom) {
			err = c.core.fail(explain(err, func(*transport.MismatchError) (where, note string) { return "", "" }))
		}
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return newComm(c.core, o, w, members, me, epoch<<32|uint64(digest(members)), at), nil
}

// members turns ranks of c into ranks of the mesh and finds this one among them.
func (c *Comm) members(ranks []int) (members []int, me int, err error) {
	me = -1
	for i, r := range ranks {
		if r < 0 || r >= c.Size() {
			return nil, 0, fmt.Errorf("there is no rank %d: want 0 to %d", r, c.Size()-1)
		}
		if slices.Contains(ranks[:i], r) {
			return nil, 0, fmt.Errorf("rank %d is listed twice", r)
		}
		if r == c.rank {
			me = i
		}
		members = append(members, c.ranks[r])
	}
	if me < 0 {
		return nil, 0, fmt.Errorf("rank %d makes it and is not in it", c.rank)
	}
	return members, me, nil
}

// worldOf is the part of the world that ranks are in.
func (c *Comm) worldOf(ranks []int) topology.World {
	w := topology.World{Hosts: make([]int, len(ranks))}
	number := map[int]int{}
	for i, r := range ranks {
		host, seen := number[c.world.Hosts[r]]
		if !seen {
			host = len(number)
			number[c.world.Hosts[r]] = host
		}
		w.Hosts[i] = host
	}
	return w
}

var errNoRoom = errors.New("its members have no connections left in common: close groups that are not needed, or have fewer Options.GroupLanes or Options.Tracks")

// noLane is the answer that there is no room.
const noLane = 1 << 8

// agree finds n neighbouring transport lanes that none of the members uses, where to begin
// on them, and a number that no group of theirs has had. The first member collects what all
// have and decides.
func (c *core) agree(members []int, n int) (at start, epoch uint64, err error) {
	c.mu.Lock()
	free, epoch, tick := c.free, c.epoch+1, c.tick
	c.mu.Unlock()
	first := 0
	tag := transport.Tag{Kind: uint8(grouping), Bytes: uint64(digest(members))}
	var frame [24]byte
	le := binary.LittleEndian
	if c.rank != members[0] {
		conn, err := c.mesh.Conn(members[0], groupLane)
		if err != nil {
			return start{}, 0, err
		}
		le.PutUint64(frame[:], free)
		le.PutUint64(frame[8:], epoch)
		le.PutUint32(frame[16:], tick)
		if err := conn.Send(tag, frame[:]); err != nil {
			return start{}, 0, err
		}
		if err := conn.Recv(tag, frame[:], nil); err != nil {
			return start{}, 0, err
		}
		first, epoch, tick = int(le.Uint64(frame[:])), le.Uint64(frame[8:]), le.Uint32(frame[16:])
	} else {
		conns := make([]transport.Conn, len(members))
		for i, r := range members[1:] {
			if conns[i], err = c.mesh.Conn(r, groupLane); err != nil {
				return start{}, 0, err
			}
			if err := conns[i].Recv(tag, frame[:], nil); err != nil {
				return start{}, 0, err
			}
			free &= le.Uint64(frame[:])
			epoch = max(epoch, le.Uint64(frame[8:]))
			tick = later(tick, le.Uint32(frame[16:]))
		}
		if first = take(free, n); first < 0 {
			first = noLane
		}
		le.PutUint64(frame[:], uint64(first))
		le.PutUint64(frame[8:], epoch)
		le.PutUint32(frame[16:], tick)
		for i := range members[1:] {
			if err := conns[i].Send(tag, frame[:]); err != nil {
				return start{}, 0, err
			}
		}
	}
	c.mu.Lock()
	c.epoch = max(c.epoch, epoch)
	c.mu.Unlock()
	if first == noLane {
		return start{}, 0, errNoRoom
	}
	return start{first, tick}, epoch, nil
}

// digest tells lists of numbers apart (FNV-1a).
func digest(numbers []int) uint32 {
	h := uint32(2166136261)
	for _, n := range numbers {
		for b := 0; b < 64; b += 8 {
			h = (h ^ uint32(n>>b)&0xff) * 16777619
		}
	}
	return h
}
