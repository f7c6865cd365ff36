package shm

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/collective/transport/tcp"
)

// Mesh is one rank's part of a generation.
type Mesh struct {
	fabric *Fabric
	inner  *tcp.Mesh
	arena  *arena // nil where there is none
	gen    uint64
	epoch  uint64 // the generation's low half, as the upper half of clocks
	self   int

	why      string       // memory is not shared, empty where it is
	sharing  []int        // ranks
	ranks    []*neighbour // by rank, this one among them; nil where memory is not shared
	index    int          // this rank's in sharing
	crowded  bool         // more ranks share memory than there are cores
	together bool         // some of them are in this process

	ended atomic.Bool
	watch sync.WaitGroup

	mu     sync.Mutex
	boards [transport.MaxLanes]*board
	lanes  map[laneKey]*lane
}

var (
	_ transport.Window = (*Mesh)(nil)
	_ transport.Waiter = (*Mesh)(nil)
	_ transport.Flow   = (*lane)(nil)
)

// neighbour is a rank whose memory is mapped.
type neighbour struct {
	transport.Peer
	*memory
	index int // in sharing
	*ringer
}

// start has the mesh notice its end.
func (m *Mesh) start() {
	m.watch.Go(func() {
		<-m.inner.Done()
		m.ended.Store(true)
		m.rouse()
	})
}

// Conn returns the lane to peer. Quiet lanes are tcp's: who waits in a ring holds a thread.
func (m *Mesh) Conn(peer, number int) (transport.Conn, error) {
	if near := m.near(peer); near != nil && peer != m.self && number >= 0 && number < transport.QuietLane {
		return m.lane(near, number)
	}
	return m.inner.Conn(peer, number)
}

func (m *Mesh) near(rank int) *neighbour {
	if rank < 0 || rank >= len(m.ranks) {
		return nil
	}
	return m.ranks[rank]
}

// Sharing is the ranks that reach each other's memory.
func (m *Mesh) Sharing() []int { return m.sharing }

// Shared says whether the ranks of this host share memory, and why not.
func (m *Mesh) Shared() (ok bool, why string) { return m.why == "", m.why }

// Alloc is Fabric.Alloc.
func (m *Mesh) Alloc(bytes int) ([]byte, error) { return m.fabric.Alloc(bytes) }

// Free is Fabric.Free.
func (m *Mesh) Free(p []byte) error { return m.fabric.Free(p) }

// Place says where in this rank's shared memory p lies.
func (m *Mesh) Place(p []byte) (at uint64, ok bool) {
	if m.arena == nil {
		return 0, false
	}
	_, at, ok = m.arena.place(p)
	return at, ok
}

// Memory is n bytes of a sharing rank's memory. It holds until the fabric's next mesh.
func (m *Mesh) Memory(rank int, at uint64, n int) ([]byte, error) {
	near := m.near(rank)
	if near == nil {
		return nil, fmt.Errorf("rank %d does not share memory with rank %d in generation %d", rank, m.self, m.gen)
	}
	if !near.holds(at, n) {
		return nil, fmt.Errorf("rank %d has allocated no %d bytes at %d", rank, n, at)
	}
	return near.bytes(at, n)[:n:n], nil
}

// Done is closed when the mesh has ended.
func (m *Mesh) Done() <-chan struct{} { return m.inner.Done() }

// Err returns why the mesh has ended, nil while it has not.
func (m *Mesh) Err() error { return m.inner.Err() }

// Close ends the mesh and tells the peers.
func (m *Mesh) Close(cause error) error {
	if cause == nil && m.arena != nil && m.inner.Err() == nil {
		m.leave()
	}
	err := m.inner.Close(cause)
	m.watch.Wait()
	return err
}

// leave tells the neighbours that nothing more will come.
func (m *Mesh) leave() {
	m.arena.head().left.Store(m.gen)
	m.mu.Lock()
	defer m.mu.Unlock()
	for lane, b := range m.boards {
		for tick := range uint32(2) {
			if b != nil {
				l := m.arena.line(lane, tick)
				notice(&l.sleep)
			}
		}
	}
	for _, l := range m.lanes {
		l.notice(&l.ours.drain)
		l.notice(&l.ours.space)
	}
}
