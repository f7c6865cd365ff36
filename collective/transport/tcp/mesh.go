package tcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorun-ml/gorun/collective/transport"
)

// Mesh is one rank's part of a generation.
type Mesh struct {
	fabric *Fabric
	gen    uint64
	self   int
	host   string
	peers  map[int]transport.Peer // without self

	ctx    context.Context // ends with the mesh, for dialling
	cancel context.CancelCauseFunc
	done   chan struct{}  // closed when err is set
	full   chan struct{}  // closed when all control connections are there
	work   sync.WaitGroup // control readers and dialling; added to only while err is nil
	ended  chan struct{}  // closed when all is closed and joined
	stop   func() bool    // ends the watch over the context

	greetings chan struct{} // a token for each handshake that this rank has begun

	over     atomic.Bool // err is set
	near     int         // peers on this machine
	patience patience

	mu       sync.Mutex
	err      error // first cause
	present  int   // peers that have joined
	controls map[int]*control
	lanes    map[laneKey]*lane
	last     map[int]error // why the last try to dial a peer has failed
}

type laneKey struct{ peer, number int }

func newMesh(f *Fabric, gen uint64, self int, peers []transport.Peer) (*Mesh, error) {
	m := &Mesh{
		fabric: f, gen: gen, self: self,
		peers:     make(map[int]transport.Peer, len(peers)),
		greetings: make(chan struct{}, mostGreetings),
		done:      make(chan struct{}), full: make(chan struct{}), ended: make(chan struct{}),
		controls: map[int]*control{}, lanes: map[laneKey]*lane{}, last: map[int]error{},
	}
	found := false
	for _, p := range peers {
		if p.Rank == self {
			found, m.host = true, p.Host
			continue
		}
		m.peers[p.Rank] = p
	}
	if !found || len(m.peers) != len(peers)-1 {
		return nil, fmt.Errorf("generation %d: the %d peers name rank %d not once, or another rank twice", gen, len(peers), self)
	}
	if len(m.peers) == 0 {
		close(m.full)
	}
	m.near = neighbours(m.peers, m.host, f.Addr())
	m.patience = f.c.patience(m.near+1 > min(runtime.NumCPU(), runtime.GOMAXPROCS(0)))
	m.ctx, m.cancel = context.WithCancelCause(f.ctx)
	return m, nil
}

// join makes the control connections: a rank dials those below it and waits for those above.
// It begins with the next, so that not all come to rank 0 at once.
func (m *Mesh) join(ctx context.Context) error {
	m.begin(func() {
		for rank := m.self - 1; rank >= 0; rank-- {
			p, ok := m.peers[rank]
			if !ok {
				continue
			}
			if m.turn(m.ctx) != nil {
				return // the mesh has ended
			}
			m.begin(func() {
				c, err := m.dial(m.ctx, p, controlLane)
				if err != nil {
					m.fail(err)
					return
				}
				if err := m.meet(p, c, nil); err != nil {
					c.Close()
				}
			})
		}
	})
	select {
	case <-m.full:
	case <-m.done:
		return m.Err()
	case <-ctx.Done():
		return m.fail(m.missing(context.Cause(ctx)))
	}
	stop := context.AfterFunc(ctx, func() { m.fail(context.Cause(ctx)) })
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stop = stop
	if m.err != nil {
		stop()
	}
	return m.err
}

// begin runs work that the mesh's end waits for. It reports false where the mesh has ended.
func (m *Mesh) begin(work func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.work.Go(work)
	}
	return m.err == nil
}

// missing is the error of a generation that did not come together. It says what has gone
// wrong on the way, which is likely why.
func (m *Mesh) missing(cause error) error {
	m.fabric.mu.Lock()
	turned := m.fabric.turned
	m.fabric.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	e := &transport.JoinError{Generation: m.gen, Err: cause}
	for _, rank := range slices.Sorted(maps.Keys(m.peers)) {
		if m.controls[rank] != nil {
			continue
		}
		e.Missing = append(e.Missing, m.peers[rank])
		if last := m.last[rank]; last != nil {
			e.Err = fmt.Errorf("%w; dialling rank %d: %s", e.Err, rank, reason(last))
		}
	}
	if turned != nil {
		e.Err = fmt.Errorf("%w; %v", e.Err, turned)
	}
	return e
}

// welcome takes in a guest of this generation. The caller closes the connection where that
// returns an error.
func (m *Mesh) welcome(g *guest) error {
	from, number := int(g.hello.from), int(g.hello.lane)
	peer, ok := m.peers[from]
	control := number == controlLane
	if !ok || int(g.hello.to) != m.self || from < m.self || !control && number >= transport.MaxLanes {
		g.script.answer(g.conn, statusRank, m.gen)
		return fmt.Errorf("rank %d of generation %d asks rank %d for lane %d of rank %d", from, m.gen, m.self, number, g.hello.to)
	}
	if err := tune(g.conn.TCPConn, control, m.fabric.c.Silence); err != nil {
		return err
	}
	g.conn.SetDeadline(time.Time{})
	answer := func(s status) error { return g.script.answer(g.conn, s, m.gen) }
	var err error
	if control {
		err = m.meet(peer, g.conn, answer)
	} else {
		err = m.attach(laneKey{from, number}, g.conn, answer)
	}
	switch {
	case err == errTaken:
		answer(statusRank)
	case err == errEnded:
		answer(statusStale)
	}
	return err
}

var (
	errTaken = errors.New("this connection is there already")
	errEnded = errors.New("the mesh has ended")
)

// refuse ends the mesh because a peer has proved that it can't join.
func (m *Mesh) refuse(rank int, why error) {
	if peer, ok := m.peers[rank]; ok {
		m.fail(&transport.PeerError{Rank: rank, Host: peer.Host, Err: why})
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

// Close ends the mesh, tells the peers, and waits until nothing of it is left.
func (m *Mesh) Close(cause error) error {
	if cause == nil {
		cause = transport.ErrClosed
	}
	m.fail(cause)
	<-m.ended
	return nil
}

// fail ends the mesh with its first cause and returns that.
func (m *Mesh) fail(cause error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.err = cause
		m.over.Store(true)
		close(m.done)
		m.cancel(cause)
		go m.end(cause) // joined by Close
	}
	return m.err
}

// hearsay is how long a lane that broke waits for the control connection to say why.
const hearsay = 100 * time.Millisecond

// lost ends the mesh because a lane to peer broke. The control connection may know better
// why: that the peer gave up, and because of whom. If it says that the peer has left in good
// order, only this call fails.
func (m *Mesh) lost(peer transport.Peer, why error) error {
	m.mu.Lock()
	err, control := m.err, m.controls[peer.Rank]
	m.mu.Unlock()
	if err != nil {
		return err
	}
	timer := time.NewTimer(hearsay)
	defer timer.Stop()
	select {
	case <-m.done:
		return m.Err()
	case <-control.left:
		return m.departed(peer)
	case <-timer.C:
		why = fmt.Errorf("%w: %s", transport.ErrLost, reason(why))
	}
	return m.fail(&transport.PeerError{Rank: peer.Rank, Host: peer.Host, Err: why})
}

// departed is the error of a call that needs a peer which has left in good order. The mesh
// goes on: others may not need that peer any more.
func (m *Mesh) departed(peer transport.Peer) error {
	return &transport.PeerError{Rank: peer.Rank, Host: peer.Host, Err: fmt.Errorf(
		"%w: it has left generation %d", transport.ErrLost, m.gen)}
}

// end closes what the mesh has: first this rank's calls return, then the peers are told,
// then, when they have heard it, the connections are closed.
func (m *Mesh) end(cause error) {
	m.mu.Lock()
	controls := slices.Collect(maps.Values(m.controls))
	lanes := slices.Collect(maps.Values(m.lanes))
	stop := m.stop
	m.mu.Unlock()

	for _, l := range lanes {
		l.interrupt()
	}
	if stop != nil {
		stop()
	}
	if cause != errKilled {
		m.tell(controls, cause)
	}
	for _, c := range controls {
		if cause == errKilled || cause == transport.ErrClosed {
			c.conn.Close()
		} else {
			c.conn.SetReadDeadline(time.Now().Add(m.fabric.c.Linger))
		}
	}
	m.work.Wait()
	for _, c := range controls {
		c.conn.Close()
	}
	for _, l := range lanes {
		l.close()
	}
	m.fabric.forget(m)
	close(m.ended)
}

// reason cuts from a network error what only repeats who speaks to whom.
func reason(err error) string {
	var op *net.OpError
	for errors.As(err, &op) {
		err = op.Err
	}
	var call *os.SyscallError
	if errors.As(err, &call) {
		err = call.Err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "the peer closed it"
	}
	return err.Error()
}
