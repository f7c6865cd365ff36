package shm

import (
	"fmt"

	"github.com/gorun-ml/gorun/collective/transport"
)

// board is a lane's board.
type board struct {
	mesh *Mesh
	lane int
	call call
}

// Board returns the lane's board.
func (m *Mesh) Board(lane int) (transport.Board, error) {
	if lane < 0 || lane >= transport.MaxLanes {
		return nil, fmt.Errorf("board of lane %d: lanes are numbered from 0 to %d", lane, transport.MaxLanes-1)
	}
	if m.arena == nil {
		return nil, fmt.Errorf("there are no boards: %s", m.why)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.boards[lane] == nil {
		m.boards[lane] = &board{mesh: m, lane: lane}
	}
	return m.boards[lane], nil
}

func (b *board) Note(rank int, tick uint32) []byte {
	return b.mesh.ranks[rank].line(b.lane, tick).note[:]
}

func (b *board) Area(rank int) []byte { return b.mesh.ranks[rank].area(b.lane) }

func (b *board) Publish(tick uint32) {
	l := b.mesh.arena.line(b.lane, tick)
	l.now.Store(b.mesh.epoch | uint64(tick))
	notice(&l.sleep)
}

func (b *board) Await(rank int, tick uint32) error {
	m := b.mesh
	if m.ended.Load() {
		return m.inner.Err()
	}
	from := m.ranks[rank]
	l := from.line(b.lane, tick)
	w := wait{from: from, w: &l.now, sleep: &l.sleep, target: m.epoch | uint64(tick), clock: true}
	if w.over() {
		return nil
	}
	return m.await(&b.call, w)
}
