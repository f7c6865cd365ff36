package tcp

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorun-ml/gorun/collective/transport"
)

// lane is one connection to one peer. Blocking calls go through the runtime's poller, until
// the lane is first used as a transport.Flow: then its descriptor is taken from there.
type lane struct {
	mesh   *Mesh
	peer   transport.Peer
	number int
	ready  chan struct{} // closed when conn is set
	conn   net.Conn
	plain  *net.TCPConn // conn, where nothing was wrapped around that

	blocking sync.RWMutex // held for reading by calls on conn
	taken    atomic.Bool  // fd is there
	use      sync.RWMutex // held for reading while fd is in use, so that nobody closes it
	fd       *descriptor
	closed   bool

	crc32c func(crc uint32, p []byte) uint32
	apart  bool    // what is sent crosses hosts
	sealed *sealed // nil where nothing is encrypted

	// The sender's.
	outgoing outgoing
	sum      bool // frames carry a checksum
	queue    net.Buffers

	// The receiver's.
	incoming incoming
}

// steady is a lane that offers nothing but blocking calls.
type steady struct{ transport.Conn }

// Conn returns a lane to peer.
func (m *Mesh) Conn(peer, number int) (transport.Conn, error) {
	if number < 0 || number >= transport.MaxLanes {
		return nil, fmt.Errorf("lane %d to rank %d: lanes are numbered from 0 to %d", number, peer, transport.MaxLanes-1)
	}
	if _, ok := m.peers[peer]; !ok {
		return nil, fmt.Errorf("rank %d asks for a lane to rank %d, which is not a peer of it in generation %d", m.self, peer, m.gen)
	}
	l, first := m.lane(laneKey{peer, number})
	if first {
		if err := m.ask(l); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	left := m.controls[peer].left
	m.mu.Unlock()
	timer := time.NewTimer(laneWithin)
	defer timer.Stop()
	for {
		select {
		case <-l.ready:
			if !flows || l.plain == nil {
				return steady{l}, nil
			}
			return l, nil
		case <-m.done:
			return nil, m.Err()
		case <-left: // but the lane may have been made just before
			left = nil
			timer.Reset(hearsay)
		case <-timer.C:
			return nil, m.lost(l.peer, fmt.Errorf("lane %d was not made within %v", number, laneWithin))
		}
	}
}

// lane finds or makes an unconnected lane. first says that the caller must see to it that
// the lane gets its connection.
func (m *Mesh) lane(key laneKey) (l *lane, first bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l = m.lanes[key]
	if l == nil {
		l, first = m.newLane(key), true
	}
	return l, first
}

func (m *Mesh) newLane(key laneKey) *lane {
	l := &lane{mesh: m, peer: m.peers[key.peer], number: key.number, ready: make(chan struct{}), crc32c: m.fabric.c.CRC32C}
	switch m.fabric.c.Checksum {
	case BetweenHosts:
		l.apart = l.peer.Host != m.host
	case Always:
		l.apart = true
	}
	l.sum = l.apart
	m.lanes[key] = l
	return l
}

// ask dials, or has the peer dial where this rank is the lower one.
func (m *Mesh) ask(l *lane) error {
	if m.self > l.peer.Rank {
		if !m.begin(func() { m.open(l) }) {
			return m.Err()
		}
		return nil
	}
	m.mu.Lock()
	c := m.controls[l.peer.Rank]
	m.mu.Unlock()
	h := header{kind: kindOpen, tag: transport.Tag{Seq: uint32(l.number)}}
	if err := c.write(h, nil, m.fabric.c.Silence); err != nil {
		return m.lost(l.peer, err)
	}
	return nil
}

// attach gives a lane its connection. answer, for the accepting side, tells the peer so.
func (m *Mesh) attach(key laneKey, c *wire, answer func(status) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return errEnded
	}
	l := m.lanes[key]
	if l == nil {
		l = m.newLane(key)
	}
	if l.conn != nil {
		return errTaken
	}
	if c.tls != nil {
		out, in, err := c.keys(m.fabric.key, answer == nil)
		if err != nil {
			return err
		}
		l.sum, l.sealed = false, newSealed(out, in) // a tag is a better checksum
	}
	if answer != nil {
		if err := answer(statusTaken); err != nil {
			return err // the peer dials again
		}
	}
	if l.conn = c.TCPConn; m.fabric.c.Wrap != nil {
		l.conn = m.fabric.c.Wrap(c.TCPConn)
	} else {
		l.plain = c.TCPConn
	}
	l.outgoing.buf = make([]byte, headerBytes+smallBytes+trailerBytes)
	l.incoming.buf = aligned(alignment + inBytes)
	close(l.ready)
	return nil
}

// enter says how a blocking call moves its frame: raw, or else on conn until leave.
func (l *lane) enter() (raw bool) {
	l.blocking.RLock()
	if l.taken.Load() {
		l.blocking.RUnlock()
		return true
	}
	return false
}

func (l *lane) leave() { l.blocking.RUnlock() }

// take takes the descriptor from the runtime's poller. If a blocking call is under way, the
// poller keeps its own too.
func (l *lane) take() error {
	l.use.Lock()
	defer l.use.Unlock()
	if l.taken.Load() {
		return nil
	}
	if l.closed {
		return l.mesh.Err()
	}
	fd, err := describe(l.plain)
	if err != nil {
		return l.mesh.fail(fmt.Errorf("lane %d to rank %d: %w", l.number, l.peer.Rank, err))
	}
	l.fd = fd
	l.taken.Store(true)
	if l.blocking.TryLock() {
		l.conn.Close()
		l.blocking.Unlock()
	}
	return nil
}

// hold keeps fd open until use is unlocked for reading.
func (l *lane) hold() error {
	if l.mesh.over.Load() {
		return l.mesh.Err()
	}
	l.use.RLock()
	if l.closed {
		l.use.RUnlock()
		return l.mesh.Err()
	}
	return nil
}

// interrupt makes the lane's calls return. The mesh's error is set.
func (l *lane) interrupt() {
	if l.conn != nil {
		l.conn.SetDeadline(time.Unix(1, 0))
	}
	l.use.RLock()
	defer l.use.RUnlock()
	if l.fd != nil {
		l.fd.interrupt()
	}
}

func (l *lane) close() {
	l.use.Lock()
	defer l.use.Unlock()
	l.closed = true
	if l.fd != nil {
		l.fd.close()
	}
	if l.conn != nil {
		l.conn.Close()
	}
}
