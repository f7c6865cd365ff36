package shm

import (
	"fmt"
	"unsafe"

	"github.com/gorun-ml/gorun/collective/transport"
)

// lane is a pair of rings, each in its sender's memory. Head and tail count its bytes. A
// rank writes to the memory of the other only to say that it sleeps.
//
//	tail         head
//	  |▒▒▒▒▒▒▒▒▒▒▒▒|        A frame is a header of 32 bytes and its payload: in the
//	read      written       header's line up to 32 bytes, from the next line on else.
type lane struct {
	mesh   *Mesh
	peer   *neighbour
	number int
	ours   *end // what this rank says
	theirs *end // what the peer says

	// The sender's.
	out     []byte // made when there is something to send
	block   block
	head    uint64 // where the next byte goes
	room    uint64 // to here
	begun   bool   // the header of the frame is written
	sent    int    // bytes of its payload
	left    int    // the others
	sending call

	// The receiver's.
	in        []byte
	tail      uint64 // where the next byte is
	ready     uint64 // to here
	opened    bool   // the header of the frame is read
	got       int    // bytes of its payload
	receiving call
}

type laneKey struct{ peer, number int }

type frame struct {
	bytes uint64
	tag   transport.Tag
	small [smallBytes]byte
}

const (
	unit       = 64 // frames and payloads of more than smallBytes start at multiples of it
	smallBytes = 32
	pieceBytes = 32 << 10 // goes at once: some of it is read while more is written
)

const _ = uint(unit - unsafe.Sizeof(frame{})) // which must not be negative

// lane finds or makes the lane to a neighbour.
func (m *Mesh) lane(peer *neighbour, number int) (transport.Conn, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l := m.lanes[laneKey{peer.Rank, number}]; l != nil {
		return l, nil
	}
	if m.ended.Load() {
		return nil, m.inner.Err()
	}
	ours := m.arena.end(peer.index, number)
	at := endAt(peer.index, number)
	if err := m.arena.back(at, at+endBytes); err != nil {
		return nil, err
	}
	l := &lane{mesh: m, peer: peer, number: number, ours: ours, theirs: peer.end(m.index, number)}
	m.lanes[laneKey{peer.Rank, number}] = l
	return l, nil
}

// Send writes a frame.
func (l *lane) Send(tag transport.Tag, p []byte) error {
	for {
		_, done, err := l.Push(tag, p)
		if done || err != nil {
			return err
		}
		if err := l.mesh.await(&l.sending, l.forRoom()); err != nil {
			return err
		}
	}
}

// Recv reads a frame.
func (l *lane) Recv(tag transport.Tag, p []byte, fold transport.Fold) error {
	for {
		_, done, err := l.Pull(tag, p, fold)
		if done || err != nil {
			return err
		}
		if err := l.mesh.await(&l.receiving, l.forData()); err != nil {
			return err
		}
	}
}

// Push writes what there is room for of a frame.
func (l *lane) Push(tag transport.Tag, p []byte) (moved int, done bool, err error) {
	l.sending.busy.Store(true)
	defer l.sending.busy.Store(false)
	switch {
	case l.mesh.ended.Load():
		return 0, false, l.mesh.inner.Err()
	case l.out == nil:
		if err := l.open(); err != nil {
			return 0, false, err
		}
	}
	start, mask := l.head, uint64(len(l.out)-1)
	if !l.begun {
		if !l.hasRoom() {
			l.left = len(p)
			return 0, false, nil
		}
		f := (*frame)(unsafe.Pointer(&l.out[l.head&mask]))
		f.bytes, f.tag = uint64(len(p)), tag
		l.head += unit
		l.begun, l.sent = true, 0
		if len(p) <= smallBytes {
			l.sent = copy(f.small[:], p)
		}
	}
	for l.sent < len(p) && l.hasRoom() {
		at := l.head & mask
		n := copy(l.out[at:min(at+pieceBytes, at+l.room-l.head, uint64(len(l.out)))], p[l.sent:])
		l.sent += n
		l.head += up(uint64(n), unit)
		if l.sent < len(p) {
			l.write()
		}
	}
	if l.head > start {
		l.write()
	}
	l.left = len(p) - l.sent
	if l.left == 0 {
		l.begun = false
		return int(l.head - start), true, nil
	}
	return int(l.head - start), false, nil
}

// open makes the ring to the peer.
func (l *lane) open() error {
	b, err := l.mesh.arena.alloc(l.mesh.fabric.c.Ring, false)
	if err != nil {
		return err
	}
	l.block = b
	l.out = l.mesh.arena.bytes(b.data, l.mesh.fabric.c.Ring)
	l.room = uint64(len(l.out))
	l.ours.ring.Store(b.data)
	l.ours.size.Store(uint64(len(l.out)))
	return nil
}

func (l *lane) hasRoom() bool {
	if l.head == l.room {
		l.room = l.theirs.tail.Load() + uint64(len(l.out))
	}
	return l.head < l.room
}

// write tells the peer how far the ring is written.
func (l *lane) write() {
	l.ours.head.Store(l.head)
	l.notice(&l.ours.drain)
}

// forRoom is the wait until much of what is left of the frame can go.
func (l *lane) forRoom() wait {
	want := min(up(uint64(unit+l.left), unit), uint64(len(l.out)/4))
	return wait{from: l.peer, w: &l.theirs.tail, sleep: &l.theirs.space, target: l.head + max(want, unit) - uint64(len(l.out))}
}

// Pull reads what there is of a frame.
func (l *lane) Pull(tag transport.Tag, p []byte, fold transport.Fold) (moved int, done bool, err error) {
	l.receiving.busy.Store(true)
	defer l.receiving.busy.Store(false)
	if l.mesh.ended.Load() {
		return 0, false, l.mesh.inner.Err()
	}
	start := l.tail
	if !l.opened {
		if !l.hasData() {
			return 0, false, nil
		}
		if l.in == nil {
			if l.in = l.peer.ring(l.theirs); l.in == nil {
				return 0, false, l.broken()
			}
		}
		f := (*frame)(unsafe.Pointer(&l.in[l.tail&uint64(len(l.in)-1)]))
		if f.bytes != uint64(len(p)) || f.tag != tag {
			return 0, false, l.mesh.inner.Fail(&transport.MismatchError{
				Self: l.mesh.self, Peer: l.peer.Rank,
				Want: tag, Got: f.tag, WantBytes: len(p), GotBytes: int(f.bytes),
			})
		}
		l.opened, l.got = true, 0
		if len(p) <= smallBytes {
			l.take(p, f.small[:len(p)], fold)
		}
		l.tail += unit
	}
	mask := uint64(len(l.in) - 1)
	for l.got < len(p) && l.hasData() {
		at := l.tail & mask
		n := min(len(p)-l.got, int(l.ready-l.tail), len(l.in)-int(at), pieceBytes)
		l.take(p[l.got:l.got+n], l.in[at:int(at)+n], fold)
		l.tail += up(uint64(n), unit)
		if l.got < len(p) {
			l.read()
		}
	}
	if l.tail > start {
		l.read()
	}
	if l.got == len(p) {
		l.opened = false
		return int(l.tail - start), true, nil
	}
	return int(l.tail - start), false, nil
}

// broken ends the mesh because the peer's memory makes no sense.
func (l *lane) broken() error {
	return l.mesh.inner.Fail(&transport.PeerError{Rank: l.peer.Rank, Host: l.peer.Host, Err: fmt.Errorf(
		"%w: lane %d has data but no ring", transport.ErrCorrupt, l.number)})
}

func (l *lane) take(dst, src []byte, fold transport.Fold) {
	if fold == nil {
		copy(dst, src)
	} else if len(dst) > 0 {
		fold(dst, src)
	}
	l.got += len(dst)
}

func (l *lane) hasData() bool {
	if l.tail == l.ready {
		l.ready = l.theirs.head.Load()
	}
	return l.tail < l.ready
}

// read tells the peer how far the ring is read.
func (l *lane) read() {
	l.ours.tail.Store(l.tail)
	l.notice(&l.ours.space)
}

// forData is the wait until there is more of a frame.
func (l *lane) forData() wait {
	return wait{from: l.peer, w: &l.theirs.head, sleep: &l.theirs.drain, target: l.tail + unit}
}
