package shm

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/gorun-ml/gorun/collective/transport"
)

// share maps the memory of the neighbours, the ranks of this host, and theirs maps this
// one's: all of them or none. When the peers have joined, none of them is in an earlier
// generation any more. The fabric is locked.
func (f *Fabric) share(m *Mesh, peers []transport.Peer) error {
	group := neighbours(m.self, peers)
	if err := f.turn(group); err != nil {
		return err
	}
	if f.arena != nil {
		f.arena.start(m.epoch)
	}
	switch {
	case len(group) == 1:
		f.forget(nil)
		if f.arena != nil {
			m.meet(group, []*memory{&f.arena.memory}, []*ringer{nil})
		} else {
			m.why = f.none.Error()
		}
		return nil
	case len(group) > maxNeighbours:
		m.why = fmt.Sprintf("%d ranks of a host, of which at most %d can share memory", len(group), maxNeighbours)
		return f.alone(m)
	}
	talk, err := m.converse(group)
	if err != nil {
		return err
	}
	f.lend(m.self, group)
	offers, err := talk.offers(f.offer())
	if err != nil {
		return err
	}
	maps, failed := f.visit(m, group, offers)
	if m.why, err = talk.agree(m.self, failed); err != nil {
		return err
	}
	if m.why != "" {
		return f.alone(m)
	}
	m.meet(group, maps, f.ringers(offers))
	m.crowded = m.inner.Near()+1 > runtime.NumCPU()
	for i, o := range offers {
		m.together = m.together || i != m.index && o.process == offers[m.index].process
	}
	return nil
}

// alone lets go of the neighbours.
func (f *Fabric) alone(m *Mesh) error {
	f.forget(nil)
	if f.c.Require {
		return fmt.Errorf("ranks of this host cannot share memory: %s", m.why)
	}
	return nil
}

// neighbours are the peers on this rank's host, by rank.
func neighbours(self int, peers []transport.Peer) []transport.Peer {
	at := slices.IndexFunc(peers, func(p transport.Peer) bool { return p.Rank == self })
	group := slices.DeleteFunc(slices.Clone(peers), func(p transport.Peer) bool { return p.Host != peers[at].Host })
	slices.SortFunc(group, func(a, b transport.Peer) int { return cmp.Compare(a.Rank, b.Rank) })
	return group
}

// turn ends what the last mesh has left in shared memory, and takes the memory away from
// processes that are not in group any more but may still write to it.
func (f *Fabric) turn(group []transport.Peer) error {
	if f.last != nil {
		f.last.inner.Close(fmt.Errorf("%w: another one follows", transport.ErrStale))
		f.last.watch.Wait()
		f.last.settle()
		for _, l := range f.last.lanes {
			if l.out != nil {
				f.arena.free(l.block)
			}
		}
		f.last = nil
	}
	if f.arena == nil {
		return nil
	}
	late := false
	for addr, p := range f.lent {
		if !slices.ContainsFunc(group, func(g transport.Peer) bool { return g.Addr == addr }) {
			late = late || p == (process{}) || p.alive()
			delete(f.lent, addr)
		}
	}
	if late {
		if err := f.arena.replace(); err != nil {
			return fmt.Errorf("a rank of an earlier generation lives and cannot be kept from this rank's memory: %w", err)
		}
		clear(f.lent)
	}
	return f.arena.restart()
}

// start sets the clocks to the generation's start.
func (a *arena) start(epoch uint64) {
	for lane := range transport.MaxLanes {
		for tick := range uint32(2) {
			a.line(lane, tick).now.Store(epoch)
		}
	}
}

// offer is where the neighbours find this process's memory.
func (f *Fabric) offer() offer {
	o := offer{process: thisProcess(), space: namespace()}
	if f.arena != nil {
		o.fd, o.size, o.nonce = uint32(f.arena.fd), f.arena.size, f.arena.head().nonce
	}
	return o
}

// lend notes that the neighbours are about to learn where the memory is.
func (f *Fabric) lend(self int, group []transport.Peer) {
	for _, p := range group {
		if _, ok := f.lent[p.Addr]; !ok && p.Rank != self {
			f.lent[p.Addr] = process{}
		}
	}
}

// visit maps what the neighbours offer. Memory that was mapped for an earlier generation
// stays mapped where it is still offered. failed says what does not work.
func (f *Fabric) visit(m *Mesh, group []transport.Peer, offers []offer) (maps []*memory, failed error) {
	if f.arena == nil {
		return nil, f.none
	}
	keep := map[nonce]bool{}
	for i, o := range offers {
		if group[i].Rank == m.self {
			maps = append(maps, &f.arena.memory)
			continue
		}
		f.lent[group[i].Addr] = o.process
		known := f.open[o.nonce]
		if known == nil && failed == nil {
			if known, failed = o.open(f.arena.page); failed != nil {
				failed = fmt.Errorf("the memory of rank %d: %w", group[i].Rank, failed)
				continue
			}
			f.open[o.nonce] = known
		}
		keep[o.nonce] = true
		maps = append(maps, known)
	}
	f.forget(keep)
	return maps, failed
}

// forget unmaps the memory of all neighbours but those in keep.
func (f *Fabric) forget(keep map[nonce]bool) {
	for n, m := range f.open {
		if !keep[n] {
			m.unmap()
			delete(f.open, n)
		}
	}
	for n, r := range f.rings {
		if !keep[n] {
			r.close()
			delete(f.rings, n)
		}
	}
}

// ringers are those of the neighbours, kept from generation to generation.
func (f *Fabric) ringers(offers []offer) []*ringer {
	var all []*ringer
	for _, o := range offers {
		if f.rings[o.nonce] == nil {
			f.rings[o.nonce] = &ringer{process: o.process}
		}
		all = append(all, f.rings[o.nonce])
	}
	return all
}

// meet notes whose memory is mapped where.
func (m *Mesh) meet(group []transport.Peer, maps []*memory, ringers []*ringer) {
	m.sharing = nil
	m.ranks = make([]*neighbour, group[len(group)-1].Rank+1)
	for i, p := range group {
		m.ranks[p.Rank] = &neighbour{Peer: p, memory: maps[i], index: i, ringer: ringers[i]}
		m.sharing = append(m.sharing, p.Rank)
		if p.Rank == m.self {
			m.index = i
		}
	}
}

// talk is a conversation of the ranks of a host over tcp, before anybody else uses the
// lane. What one of them says, all hear.
type talk struct {
	conns []transport.Conn // by place in the group, nil for this rank
	tag   transport.Tag
}

// talkLane is the lane for it. Nothing of the conversation is left on it.
const talkLane = 0

func (m *Mesh) converse(group []transport.Peer) (*talk, error) {
	t := &talk{tag: transport.Tag{Seq: uint32(m.gen), Kind: 255}}
	for _, p := range group {
		var c transport.Conn
		if p.Rank != m.self {
			var err error
			if c, err = m.inner.Conn(p.Rank, talkLane); err != nil {
				return nil, err
			}
		}
		t.conns = append(t.conns, c)
	}
	return t, nil
}

// say sends p to all and returns what all have said, as long as p.
func (t *talk) say(p []byte) ([][]byte, error) {
	t.tag.Step++
	for _, c := range t.conns {
		if c != nil {
			if err := c.Send(t.tag, p); err != nil {
				return nil, err
			}
		}
	}
	var all [][]byte
	for _, c := range t.conns {
		said := p
		if c != nil {
			said = make([]byte, len(p))
			if err := c.Recv(t.tag, said, nil); err != nil {
				return nil, err
			}
		}
		all = append(all, said)
	}
	return all, nil
}

func (t *talk) offers(mine offer) ([]offer, error) {
	all, err := t.say(mine.encode())
	offers := make([]offer, len(all))
	for i, b := range all {
		offers[i].decode(b)
	}
	return offers, err
}

const whyBytes = 240

// agree says why memory is not shared. It is where all have said that they can.
func (t *talk) agree(self int, failed error) (why string, err error) {
	mine := make([]byte, whyBytes)
	if failed != nil {
		copy(mine, fmt.Sprintf("rank %d: %v", self, failed))
	}
	all, err := t.say(mine)
	for _, b := range all {
		if text := strings.TrimRight(string(b), "\x00"); text != "" {
			return strings.ToValidUTF8(text, ""), err
		}
	}
	return "", err
}
