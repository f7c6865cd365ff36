package inproc

import (
	"fmt"
	"sync"

	"github.com/gorun-ml/gorun/collective/transport"
)

// board is a lane's board, as one rank uses it.
type board struct {
	mesh  *Mesh
	peers map[int]*Mesh // by rank, this one among them
	cells map[int]*cell
}

// cell is a rank's part of a board.
type cell struct {
	mu    sync.Mutex
	moved sync.Cond // the clock has, or an end has ended
	clock [2]uint32
	note  [2][transport.NoteBytes]byte
	area  []byte // made when it is asked for
}

// Board returns the lane's board.
func (m *Mesh) Board(lane int) (transport.Board, error) {
	if lane < 0 || lane >= transport.MaxLanes {
		return nil, fmt.Errorf("board of lane %d: lanes are numbered from 0 to %d", lane, transport.MaxLanes-1)
	}
	m.mu.Lock()
	b := m.board[lane]
	m.mu.Unlock()
	if b != nil {
		return b, nil
	}
	b = &board{mesh: m, peers: map[int]*Mesh{}, cells: map[int]*cell{}}
	for _, rank := range m.Sharing() {
		b.peers[rank] = m.sharing(rank)
		b.cells[rank] = b.peers[rank].cell(lane)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if old := m.board[lane]; old != nil {
		return old, nil
	}
	m.board[lane] = b
	return b, nil
}

// cell is this rank's part of the lane's board, also where the rank has ended: what it said
// before can still be read.
func (m *Mesh) cell(lane int) *cell {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.cells[lane]
	if c == nil {
		c = &cell{}
		c.moved.L = &c.mu
		m.cells[lane] = c
	}
	return c
}

func (c *cell) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moved.Broadcast()
}

func (b *board) Note(rank int, tick uint32) []byte { return b.cells[rank].note[tick&1][:] }

func (b *board) Area(rank int) []byte {
	c := b.cells[rank]
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.area == nil {
		c.area, _ = transport.Pages(transport.AreaBytes) // fails for sizes that are none
	}
	return c.area
}

func (b *board) Publish(tick uint32) {
	c := b.cells[b.mesh.self]
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clock[tick&1] = tick
	c.moved.Broadcast()
}

func (b *board) Await(rank int, tick uint32) error {
	c, other := b.cells[rank], b.peers[rank]
	c.mu.Lock()
	come := false
	for {
		come = int32(c.clock[tick&1]-tick) >= 0
		if come || b.mesh.dead.Load() || other.dead.Load() {
			break
		}
		c.moved.Wait()
	}
	c.mu.Unlock()
	if b.mesh.dead.Load() {
		return b.mesh.Err()
	}
	if come {
		return nil
	}
	return b.mesh.lost(other)
}
