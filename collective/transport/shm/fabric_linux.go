package shm

import (
	"context"
	"fmt"
	"sync"

	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/collective/transport/tcp"
)

// Fabric is a process's shared memory, and its tcp fabric.
type Fabric struct {
	inner *tcp.Fabric
	c     Config
	arena *arena // nil where there is none
	none  error  // why

	mu     sync.Mutex // held while joining and closing
	closed bool
	last   *Mesh
	open   map[nonce]*memory  // of neighbours
	lent   map[string]process // who has mapped the arena, by address
	rings  map[nonce]*ringer  // of neighbours
	bells  bells
}

// New lets inner's ranks share memory. The fabric closes inner when it is closed.
func New(inner *tcp.Fabric, c Config) (*Fabric, error) {
	c, err := c.complete()
	if err != nil {
		return nil, err
	}
	f := &Fabric{inner: inner, c: c, open: map[nonce]*memory{}, lent: map[string]process{}, rings: map[nonce]*ringer{}}
	if c.Forbid {
		f.none = fmt.Errorf("it is told not to share memory")
		return f, nil
	}
	f.arena, f.none = newArena(c.Reach)
	if f.none != nil && c.Require {
		return nil, fmt.Errorf("no memory to share: %w", f.none)
	}
	return f, nil
}

// Addr returns the address that the tcp fabric listens on.
func (f *Fabric) Addr() string { return f.inner.Addr() }

// Alloc returns zeroed memory that the ranks of this host can reach, where they can. It is
// there until it is freed or the fabric is closed.
func (f *Fabric) Alloc(bytes int) ([]byte, error) {
	if f.arena == nil || bytes <= 0 {
		return transport.Pages(bytes)
	}
	b, err := f.arena.alloc(bytes, true)
	if err != nil {
		return nil, err
	}
	return f.arena.bytes(b.data, bytes)[:bytes:bytes], nil
}

// Free gives back what Alloc has returned, whole.
func (f *Fabric) Free(p []byte) error {
	if f.arena == nil || len(p) == 0 {
		return nil
	}
	b, at, ok := f.arena.place(p)
	if !ok || at != b.data || uint64(len(p)) != b.bytes {
		return fmt.Errorf("%d bytes are freed that Alloc has not returned so", len(p))
	}
	return f.arena.free(b)
}

// Mesh joins generation gen as rank self. What the mesh before has given out of the memory
// of others must not be used any more.
func (f *Fabric) Mesh(ctx context.Context, gen uint64, self int, peers []transport.Peer) (transport.Mesh, error) {
	inner, err := f.inner.Mesh(ctx, gen, self, peers)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	m := &Mesh{
		fabric: f, inner: inner.(*tcp.Mesh), arena: f.arena, gen: gen, epoch: gen << 32, self: self,
		sharing: []int{self}, lanes: map[laneKey]*lane{},
	}
	if err := f.share(m, peers); err != nil {
		err = m.inner.Fail(err)
		m.inner.Close(err)
		return nil, err
	}
	m.start()
	f.last = m
	return m, nil
}

// Kill closes everything at once and tells nobody, as the end of the process would.
func (f *Fabric) Kill() { f.inner.Kill() }

// Close closes the listener and the meshes that are left, and gives up the shared memory.
func (f *Fabric) Close() error {
	err := f.inner.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return err
	}
	f.closed = true
	if f.last != nil {
		f.last.watch.Wait()
		f.last.settle()
	}
	f.forget(nil)
	f.bells.close()
	if f.arena != nil {
		if e := f.arena.close(); err == nil {
			err = e
		}
	}
	return err
}
