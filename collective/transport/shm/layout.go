package shm

import (
	"math"
	"sync/atomic"
	"unsafe"

	"github.com/gorun-ml/gorun/collective/transport"
)

// A process's shared memory, from its start. All but the blocks is touched where it is used
// only, and what is not touched costs nothing.
//
//	head     who it is, and which generation the process has left
//	clocks   of the boards: two lines a lane
//	ends     of the lanes: what this process says to each neighbour about each lane
//	areas    of the boards, one a lane
//	pages    which block each page belongs to
//	blocks   what Alloc returns, and rings
const (
	headAt   = 0
	clocksAt = 64 << 10
	endsAt   = clocksAt + transport.MaxLanes*2*lineStride
	areasAt  = (endsAt + maxNeighbours*transport.MaxLanes*endBytes + pageMost - 1) &^ (pageMost - 1)
	pagesAt  = areasAt + transport.MaxLanes*transport.AreaBytes

	maxNeighbours = 512      // ranks of a host
	pageMost      = 64 << 10 // of any system
	lineStride    = 128      // processors fetch lines of 64 bytes in pairs
	endBytes      = 4 * lineStride

	minReach = pagesAt + 64<<20
)

// blocksAt is where the blocks begin in memory of size bytes.
func blocksAt(size, page uint64) uint64 { return up(pagesAt+size/page*4, large) }

// memory is a mapping of a process's shared memory.
type memory struct {
	base unsafe.Pointer
	size uint64
	page uint64
}

func (m *memory) at(off uint64) unsafe.Pointer { return unsafe.Add(m.base, off) }

// bytes is part of the memory, which must be within.
func (m *memory) bytes(off uint64, n int) []byte {
	return unsafe.Slice((*byte)(m.at(off)), n)
}

// word is what others wait for to change, and flag is where they say that they sleep until then.
type (
	word = atomic.Uint64
	flag = atomic.Uint32
)

type head struct {
	magic uint64
	size  uint64
	nonce nonce
	_     [96]byte
	left  word // generation left in good order last
}

type nonce [16]byte

const magic = 0x316d68736e75726f

func (m *memory) head() *head { return (*head)(m.at(headAt)) }

// line is one of the two lines of a rank's clock on a board.
type line struct {
	now   word // generation's low half, then the tick
	note  [transport.NoteBytes]byte
	sleep flag // set by who sleeps until now changes; in a line of its own
	_     [60]byte
}

func (m *memory) line(lane int, tick uint32) *line {
	return (*line)(m.at(clocksAt + uint64(2*lane+int(tick&1))*lineStride))
}

func (m *memory) area(lane int) []byte {
	return m.bytes(areasAt+uint64(lane)*transport.AreaBytes, transport.AreaBytes)[:transport.AreaBytes:transport.AreaBytes]
}

// end is what a process says to one neighbour about one lane. Whose memory it is writes
// the fields, except those that say that the neighbour sleeps.
type end struct {
	ring  word // where the ring to the neighbour lies, 0 while there is none
	size  word // of the ring
	head  word // bytes written to it
	bell  word // descriptor of the bell at which this process sleeps
	_     [96]byte
	drain flag // set by the neighbour, which sleeps until head changes
	_     [124]byte
	tail  word // bytes read from the ring from the neighbour
	_     [120]byte
	space flag // set by the neighbour, which sleeps until tail changes
	_     [124]byte
}

func endAt(neighbour, lane int) uint64 {
	return endsAt + uint64(neighbour*transport.MaxLanes+lane)*endBytes
}

func (m *memory) end(neighbour, lane int) *end { return (*end)(m.at(endAt(neighbour, lane))) }

// ring is the ring that e speaks of, nil where there is none.
func (m *memory) ring(e *end) []byte {
	at, size := e.ring.Load(), e.size.Load()
	if size < minRing || size > m.size || size&(size-1) != 0 || !m.holds(at, int(size)) {
		return nil
	}
	return m.bytes(at, int(size))
}

// owner is the number of the block that a page belongs to, 0 for none.
func (m *memory) owner(off uint64) *atomic.Uint32 {
	return (*atomic.Uint32)(m.at(pagesAt + off/m.page*4))
}

// holds says whether [off, off+n) is part of one block.
func (m *memory) holds(off uint64, n int) bool {
	if n <= 0 || off < blocksAt(m.size, m.page) || off >= m.size || uint64(n) > m.size-off {
		return false
	}
	id := m.owner(off).Load()
	return id != 0 && id == m.owner(off+uint64(n)-1).Load()
}

// mark notes which block pages belong to.
func (m *memory) mark(s span, id uint32) {
	for off := s.from; off < s.to; off += m.page {
		m.owner(off).Store(id)
	}
}

// maxSize keeps lengths within an int.
const maxSize = math.MaxInt / 2
