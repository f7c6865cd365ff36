package inproc

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/gorun-ml/gorun/collective/transport"
)

// Mesh is one rank's part of a generation.
type Mesh struct {
	fabric *Fabric
	gen    uint64
	self   int
	peers  []transport.Peer
	met    map[int]*Mesh // by rank; guarded by the network's lock, fixed once joined
	stop   func() bool   // ends the watch over the context

	dead atomic.Bool // err is set; read by pipes under their own lock
	done chan struct{}

	mu    sync.Mutex
	err   error // first cause
	conns map[lane]*conn
	cells map[int]*cell  // this rank's parts of boards, by lane
	board map[int]*board // by lane
}

type lane struct{ peer, lane int }

func newMesh(f *Fabric, gen uint64, self int, peers []transport.Peer) *Mesh {
	return &Mesh{
		fabric: f, gen: gen, self: self, peers: peers,
		met:   make(map[int]*Mesh, len(peers)),
		done:  make(chan struct{}),
		conns: map[lane]*conn{},
		cells: map[int]*cell{},
		board: map[int]*board{},
	}
}

// Done is closed when the mesh has ended.
func (m *Mesh) Done() <-chan struct{} { return m.done }

// Err returns why the mesh has ended, nil while it has not.
func (m *Mesh) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

// Conn returns the lane to peer.
func (m *Mesh) Conn(peer, number int) (transport.Conn, error) {
	other := m.met[peer]
	if other == nil {
		return nil, fmt.Errorf("rank %d asks for a lane to rank %d, which is not a peer of it in generation %d", m.self, peer, m.gen)
	}
	if number < 0 || number >= transport.MaxLanes {
		return nil, fmt.Errorf("lane %d to rank %d: lanes are numbered from 0 to %d", number, peer, transport.MaxLanes-1)
	}
	c, err := m.conn(other, number)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// conn finds or makes this rank's end of a lane. Pipes belong to the lower rank's end, the
// higher rank's end borrows them.
func (m *Mesh) conn(other *Mesh, number int) (*conn, error) {
	key := lane{other.self, number}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return nil, m.err
	}
	if c := m.conns[key]; c != nil {
		return c, nil
	}
	out, in := newPipe(m, other), newPipe(other, m)
	if m.self > other.self {
		lower := other.lower(m, number)
		out, in = lower.in, lower.out
	}
	c := &conn{out: out, in: in}
	m.conns[key] = c
	return c, nil
}

// lower is conn for the other end, which gets it even where this rank has ended: what was
// sent before the end can still be received.
func (m *Mesh) lower(other *Mesh, number int) *conn {
	key := lane{other.self, number}
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.conns[key]
	if c == nil {
		c = &conn{out: newPipe(m, other), in: newPipe(other, m)}
		m.conns[key] = c
	}
	return c
}

// Close ends the mesh and tells the peers.
func (m *Mesh) Close(cause error) error {
	if cause == nil {
		cause = transport.ErrClosed
	}
	m.fail(cause)
	if m.stop != nil {
		m.stop()
	}
	n := m.fabric.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if m.fabric.meshes[m.gen] == m {
		delete(m.fabric.meshes, m.gen)
		n.changed.Broadcast()
	}
	return nil
}

// fail ends the mesh with its first cause, tells the peers, and returns the first cause.
func (m *Mesh) fail(cause error) error {
	if !m.fall(cause) {
		return m.Err()
	}
	for _, other := range m.others() {
		switch cause {
		case errKilled:
			other.fail(&transport.PeerError{Rank: m.self, Host: other.host(m.self), Err: transport.ErrLost})
		case transport.ErrClosed:
			other.wake() // who waits for this rank's data is told that it has left
		default:
			other.fall(transport.Abort(m.self, cause))
		}
	}
	return cause
}

// fall ends this rank's part only. It reports whether the mesh was still alive.
func (m *Mesh) fall(cause error) bool {
	m.mu.Lock()
	first := m.err == nil
	if first {
		m.err = cause
		m.dead.Store(true)
		close(m.done)
	}
	m.mu.Unlock()
	if !first {
		return false
	}
	m.wake()
	n := m.fabric.net
	n.mu.Lock()
	defer n.mu.Unlock()
	n.changed.Broadcast()
	return true
}

// wake makes all calls on the mesh's lanes and boards look at the state of both ends again.
func (m *Mesh) wake() {
	m.mu.Lock()
	conns := slices.Collect(maps.Values(m.conns))
	cells := slices.Collect(maps.Values(m.cells))
	for _, b := range m.board {
		cells = slices.AppendSeq(cells, maps.Values(b.cells))
	}
	m.mu.Unlock()
	for _, c := range cells {
		c.wake()
	}
	for _, c := range conns {
		c.in.wake()
		c.out.wake()
	}
}

// others returns the meshes of the peers that have joined so far.
func (m *Mesh) others() []*Mesh {
	n := m.fabric.net
	n.mu.Lock()
	defer n.mu.Unlock()
	var found []*Mesh
	for _, p := range m.peers {
		other := m.met[p.Rank]
		if f := n.fabrics[p.Addr]; other == nil && f != nil {
			other = f.meshes[m.gen]
		}
		if other != nil && other != m {
			found = append(found, other)
		}
	}
	return found
}

// gone is what others read when they need this mesh, of rank p, after its end.
func (m *Mesh) gone(p transport.Peer) error {
	switch why := m.Err(); why {
	case errKilled:
		return &transport.PeerError{Rank: p.Rank, Host: p.Host, Err: transport.ErrLost}
	case transport.ErrClosed:
		return &transport.PeerError{Rank: p.Rank, Host: p.Host, Err: fmt.Errorf(
			"%w: it has left generation %d", transport.ErrLost, m.gen)}
	default:
		return transport.Abort(m.self, why)
	}
}

// lost says why a call that needs peer has ended: because this mesh has, or because the
// peer's has, of which this one may not have heard yet.
func (m *Mesh) lost(peer *Mesh) error {
	if err := m.Err(); err != nil {
		return err
	}
	why := peer.gone(transport.Peer{Rank: peer.self, Host: m.host(peer.self)})
	if abort, ok := why.(*transport.AbortError); ok {
		m.fall(abort) // the peer tells the others
		return m.Err()
	}
	if peer.Err() == transport.ErrClosed {
		return why // the mesh goes on: others may not need that peer any more
	}
	return m.fail(why)
}

func (m *Mesh) host(rank int) string {
	for _, p := range m.peers {
		if p.Rank == rank {
			return p.Host
		}
	}
	return ""
}
