// Package tcp connects the ranks of a job over TCP.
//
// Every pair of ranks has one control connection, which says that the peer lives, and one
// connection for every lane in use. All of them begin with a handshake in which both sides
// prove the job's secret. Frames travel as they are, with checksums where they cross hosts, or
// all of it is encrypted.
package tcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/internal/pinned"
)

// Fabric listens for peers and makes meshes.
type Fabric struct {
	c        Config
	key      []byte
	listener *net.TCPListener
	ctx      context.Context // ends with the fabric
	cancel   context.CancelCauseFunc
	work     sync.WaitGroup // the accept loop and handshakes

	ends atomic.Pointer[pinned.Ends] // of TLS; nil where nothing is encrypted

	mu     sync.Mutex
	ended  error
	newest uint64           // generation last joined
	meshes map[uint64]*Mesh // that have not ended
	young  []net.Conn       // not proved yet, oldest first
	parked map[parking]*guest
	turned error // the last stranger turned away since a mesh was joined
}

// Listen opens the fabric's listener.
func Listen(c Config) (*Fabric, error) {
	c, err := c.complete()
	if err != nil {
		return nil, err
	}
	key, err := jobKey(c.Secret, c.Job)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, err
	}
	f := &Fabric{
		c: c, key: key, listener: listener.(*net.TCPListener),
		meshes: map[uint64]*Mesh{}, parked: map[parking]*guest{},
	}
	if c.Encrypt {
		f.Encrypt()
	}
	f.ctx, f.cancel = context.WithCancelCause(context.Background())
	f.work.Go(f.accept)
	return f, nil
}

// Addr returns the address that the fabric listens on.
func (f *Fabric) Addr() string { return f.listener.Addr().String() }

// Alloc returns zeroed memory.
func (f *Fabric) Alloc(bytes int) ([]byte, error) { return transport.Pages(bytes) }

// Free lets go of memory.
func (f *Fabric) Free([]byte) error { return nil }

// Close closes the listener and the meshes that are left.
func (f *Fabric) Close() error { return f.end(transport.ErrClosed) }

// Kill closes everything at once and tells nobody, as the end of the process would.
func (f *Fabric) Kill() { f.end(errKilled) }

var errKilled = fmt.Errorf("%w: the fabric was killed", transport.ErrLost)

func (f *Fabric) end(why error) error {
	f.mu.Lock()
	if f.ended == nil {
		f.ended = why
	}
	var left []*Mesh
	for _, m := range f.meshes {
		left = append(left, m)
	}
	for _, c := range f.young {
		c.Close()
	}
	for at, g := range f.parked {
		g.conn.Close()
		delete(f.parked, at)
	}
	f.mu.Unlock()

	err := f.listener.Close()
	f.cancel(why)
	for _, m := range left {
		m.fail(why)
	}
	for _, m := range left {
		m.Close(why)
	}
	f.work.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Mesh joins generation gen as rank self.
func (f *Fabric) Mesh(ctx context.Context, gen uint64, self int, peers []transport.Peer) (transport.Mesh, error) {
	m, err := newMesh(f, gen, self, peers)
	if err != nil {
		return nil, err
	}
	var guests, late []*guest
	f.mu.Lock()
	switch {
	case f.ended != nil:
		f.mu.Unlock()
		return nil, f.ended
	case gen <= f.newest:
		f.mu.Unlock()
		return nil, fmt.Errorf("%w: cannot join generation %d, this rank is in %d", transport.ErrStale, gen, f.newest)
	}
	f.newest, f.turned = gen, nil
	f.meshes[gen] = m
	for at, g := range f.parked {
		if at.gen <= gen {
			delete(f.parked, at)
			if at.gen == gen {
				guests = append(guests, g)
			} else {
				late = append(late, g)
			}
		}
	}
	f.mu.Unlock()

	for _, g := range late {
		g.conn.SetDeadline(time.Now().Add(f.c.Handshake))
		g.script.answer(g.conn, statusStale, gen)
		g.conn.Close()
	}
	for _, g := range guests {
		if m.welcome(g) != nil {
			g.conn.Close()
		}
	}
	if err := m.join(ctx); err != nil {
		m.Close(err)
		return nil, err
	}
	return m, nil
}

// forget ends a mesh's registration.
func (f *Fabric) forget(m *Mesh) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.meshes, m.gen)
}
