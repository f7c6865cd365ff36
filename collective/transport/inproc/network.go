// Package inproc connects ranks that are goroutines of one process.
//
// A large frame is handed over by reference: the receiver copies or folds straight out of
// the sender's memory, and the sender waits for that. All waiting is on condition
// variables, so that ranks may live in a synctest bubble.
package inproc

import (
	"context"
	"fmt"
	"sync"

	"github.com/gorun-ml/gorun/collective/transport"
)

// Network is where fabrics find each other by name.
type Network struct {
	mu      sync.Mutex // guards the fields of the network's fabrics too, and which meshes have joined
	changed sync.Cond  // a fabric or a mesh came or went
	fabrics map[string]*Fabric
}

// NewNetwork returns a network without fabrics.
func NewNetwork() *Network {
	n := &Network{fabrics: map[string]*Fabric{}}
	n.changed.L = &n.mu
	return n
}

// Fabric returns a new fabric whose address is name. It takes the place of an earlier one
// of that name, as a process does that gets the port of one that has died.
func (n *Network) Fabric(name string) *Fabric {
	f := &Fabric{net: n, name: name, meshes: map[uint64]*Mesh{}}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fabrics[name] = f
	n.changed.Broadcast()
	return f
}

// Fabric is one process's place on the network.
type Fabric struct {
	net    *Network
	name   string
	shared memory

	// guarded by net.mu
	ended  error            // nil while the fabric lives
	newest uint64           // generation last joined
	last   *Mesh            // of that generation
	meshes map[uint64]*Mesh // joined or joining, by generation
}

// Addr returns the fabric's name.
func (f *Fabric) Addr() string { return f.name }

// Alloc returns zeroed memory.
func (f *Fabric) Alloc(bytes int) ([]byte, error) { return f.shared.alloc(bytes) }

// Free lets go of memory.
func (f *Fabric) Free(p []byte) error { return f.shared.free(p) }

// Close closes the fabric and the meshes that are left.
func (f *Fabric) Close() error {
	for _, m := range f.end(transport.ErrClosed) {
		m.Close(nil)
	}
	return nil
}

// Kill ends the fabric as the death of its process would: nobody is told anything, peers
// lose the connection.
func (f *Fabric) Kill() {
	for _, m := range f.end(errKilled) {
		m.fail(errKilled)
	}
}

var errKilled = fmt.Errorf("%w: the fabric was killed", transport.ErrLost)

func (f *Fabric) end(why error) []*Mesh {
	f.net.mu.Lock()
	defer f.net.mu.Unlock()
	if f.ended == nil {
		f.ended = why
	}
	var left []*Mesh
	for _, m := range f.meshes {
		left = append(left, m)
	}
	f.net.changed.Broadcast()
	return left
}

// Mesh joins generation gen as rank self.
func (f *Fabric) Mesh(ctx context.Context, gen uint64, self int, peers []transport.Peer) (transport.Mesh, error) {
	n := f.net
	wake := context.AfterFunc(ctx, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.changed.Broadcast()
	})
	defer wake()

	m := newMesh(f, gen, self, peers)
	n.mu.Lock()
	switch {
	case f.ended != nil:
		n.mu.Unlock()
		return nil, f.ended
	case gen <= f.newest:
		n.mu.Unlock()
		return nil, fmt.Errorf("%w: cannot join generation %d, this rank is in %d", transport.ErrStale, gen, f.newest)
	}
	f.newest, f.last = gen, m
	f.meshes[gen] = m
	n.changed.Broadcast()
	err := m.join(ctx)
	n.mu.Unlock()

	if err != nil {
		m.fail(err)
		m.Close(err)
		return nil, err
	}
	m.stop = context.AfterFunc(ctx, func() { m.fail(context.Cause(ctx)) })
	return m, nil
}

// join waits until all peers have joined the mesh's generation. The network is locked.
func (m *Mesh) join(ctx context.Context) error {
	for {
		if err := m.Err(); err != nil {
			return err // a peer gave up or was lost after it had joined
		}
		missing, err := m.meet()
		if err != nil || len(missing) == 0 {
			return err
		}
		if ctx.Err() != nil {
			return &transport.JoinError{Generation: m.gen, Missing: missing, Err: context.Cause(ctx)}
		}
		m.fabric.net.changed.Wait()
	}
}

// meet notes the meshes of the peers that have joined and returns the peers that have not.
// The network is locked.
func (m *Mesh) meet() (missing []transport.Peer, err error) {
	for _, p := range m.peers {
		if p.Rank == m.self || m.met[p.Rank] != nil {
			continue
		}
		f := m.fabric.net.fabrics[p.Addr]
		switch {
		case f == nil:
			missing = append(missing, p)
		case f.ended != nil:
			return nil, &transport.PeerError{Rank: p.Rank, Host: p.Host, Err: transport.ErrLost}
		case f.newest > m.gen:
			return nil, &transport.PeerError{Rank: p.Rank, Host: p.Host, Err: fmt.Errorf(
				"%w: generation %d is over, this is %d", transport.ErrStale, m.gen, f.newest)}
		case f.newest == m.gen && f.meshes[m.gen] == nil:
			return nil, f.last.gone(p)
		case f.newest == m.gen && f.meshes[m.gen].self == p.Rank:
			m.met[p.Rank] = f.meshes[m.gen]
		default:
			missing = append(missing, p)
		}
	}
	return missing, nil
}
