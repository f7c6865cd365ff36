package collective

import (
	"encoding/binary"
	"runtime"
	"slices"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/kernels"
)

// sharedAlgorithm is what frames and flags call an all-reduce through shared memory.
const (
	sharedAlgorithm = 200
	sharedName      = "shared"
)

// shared is a lane of ranks that reach each other's memory. Its operations send nothing:
// ranks write where others can read, and tell them so by a tick of their clock.
//
// An all-reduce begins with a tick whose note says what the rank runs, and has the whole
// vector in it if that is tiny. What follows depends on the length and on where all ranks'
// vectors lie, which all know by then:
//
//	once    every rank has copied its vector to its area, and folds those of all
//	direct  vectors lie in shared memory: a rank folds its part of all of them, and writes
//	        the result to all of them
//	staged  they don't: the same in pieces that are copied through the areas
//
// The parts are folded in the order of ranks, each by one rank or by all alike, so that all
// ranks hold the same bits.
type shared struct {
	window transport.Window
	board  transport.Board
	ranks  []int // ranks of the mesh, by rank of the communicator
	me     int
	tick   uint32 // the clock of all ranks when no operation is under way

	sources [][]byte // of each rank, what is folded
	places  []uint64 // of each rank, where its vector lies
	sum     []byte   // a block of the result
}

// A note begins with the operation, followed by where the vector lies or by the vector.
const (
	notePlace = 24
	noteBody  = 32
	bodyBytes = transport.NoteBytes - noteBody

	// private is the place of a vector that others can't reach.
	private = ^uint64(0)
)

const (
	// blockBytes is how much is folded at once. All ranks' blocks fit into the first cache.
	blockBytes = 8 << 10
	// onceBytes is the longest vector that all ranks fold whole.
	onceBytes = 16 << 10
	// stageBytes is the longest piece that is copied at once, for each rank. Shorter ones stay
	// in closer caches, longer ones cost less waiting: where ranks outnumber cores, each wait
	// is a round of all of them through the scheduler.
	stageBytes = 256 << 10
	// stages is how many pieces the areas hold; see swap and scatter.
	stages = 4
)

// An area holds the vectors of two operations that run once, in turns, then the stages, and
// at its end the tick with which the rank has last ended an operation.
const (
	stagesAt = 2 * onceBytes
	endedAt  = transport.AreaBytes - 64
)

// shares tells whether all ranks share memory, and there are any to share it with.
func shares(m transport.Mesh, ranks []int) bool {
	w, ok := m.(transport.Window)
	if !ok || len(ranks) < 2 {
		return false
	}
	sharing := w.Sharing()
	for _, r := range ranks {
		if !slices.Contains(sharing, r) {
			return false
		}
	}
	return true
}

// newShared returns rank me's end of a lane. All ranks' clocks on that board show at most tick.
func newShared(w transport.Window, ranks []int, me, lane int, tick uint32) (*shared, error) {
	board, err := w.Board(lane)
	if err != nil {
		return nil, err
	}
	s := &shared{
		window: w, board: board, ranks: ranks, me: me, tick: tick,
		sources: make([][]byte, len(ranks)), places: make([]uint64, len(ranks)), sum: make([]byte, blockBytes),
	}
	s.end()
	return s, nil
}

// ended is the tick with which rank r has last ended an operation.
func (s *shared) ended(r int) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(&s.board.Area(s.ranks[r])[endedAt]))
}

// end says that this rank reads nothing of the operation any more.
func (s *shared) end() { s.ended(s.me).Store(s.tick) }

// lingers bounds how long a rank that leaves waits for the others to read what it wrote.
const lingers = time.Second

// leave returns when no rank reads this one's notes and areas any more, so that others may
// use the lane. All have begun the last operation that this rank has ended, and end it soon
// unless they are lost.
func (s *shared) leave() {
	start := time.Now()
	for r := range s.ranks {
		for int32(s.ended(r).Load()-s.tick) < 0 && time.Since(start) < lingers {
			runtime.Gosched()
		}
	}
}

// allReduce runs one all-reduce.
func (s *shared) allReduce(tag transport.Tag, x kernels.Vector, op kernels.Op) error {
	defer s.end()
	note := s.board.Note(s.ranks[s.me], s.tick+1)
	tag.Put((*[transport.TagBytes]byte)(note))
	switch n := len(x.Bytes); {
	case n <= bodyBytes:
		copy(note[noteBody:], x.Bytes)
	case n <= onceBytes:
		copy(s.once(s.me, s.tick+1), x.Bytes)
	default:
		at, ok := s.window.Place(x.Bytes)
		if !ok {
			at = private
		}
		binary.LittleEndian.PutUint64(note[notePlace:], at)
	}
	s.publish()
	if err := s.meet(tag); err != nil {
		return err
	}
	switch n := len(x.Bytes); {
	case n == 0:
		return nil
	case n <= bodyBytes:
		for r := range s.ranks {
			s.sources[r] = s.note(r)[noteBody : noteBody+n]
		}
		s.fold(x, op)
		return nil
	case n <= onceBytes:
		for r := range s.ranks {
			s.sources[r] = s.once(r, s.tick)[:n]
		}
		s.fold(x, op)
		return nil
	}
	for r := range s.ranks {
		s.places[r] = binary.LittleEndian.Uint64(s.note(r)[notePlace:])
	}
	switch {
	case !slices.Contains(s.places, private):
		return s.direct(x, op)
	case len(s.ranks) == 2:
		return s.swap(x, op)
	default:
		return s.scatter(x, op)
	}
}

// barrier returns when all ranks are there.
func (s *shared) barrier(tag transport.Tag) error {
	defer s.end()
	tag.Put((*[transport.TagBytes]byte)(s.board.Note(s.ranks[s.me], s.tick+1)))
	s.publish()
	return s.meet(tag)
}

// publish shows the next tick.
func (s *shared) publish() {
	s.tick++
	s.board.Publish(s.tick)
}

// await waits until all ranks show a tick.
func (s *shared) await(tick uint32) error {
	for r, rank := range s.ranks {
		if r != s.me {
			if err := s.board.Await(rank, tick); err != nil {
				return err
			}
		}
	}
	return nil
}

// meet waits until all ranks have begun the operation, and finds out whether it is the same.
func (s *shared) meet(tag transport.Tag) error {
	for r, rank := range s.ranks {
		if r == s.me {
			continue
		}
		if err := s.board.Await(rank, s.tick); err != nil {
			return err
		}
		if theirs := transport.TagOf((*[transport.TagBytes]byte)(s.note(r))); theirs != tag {
			return &transport.MismatchError{Self: s.ranks[s.me], Peer: rank, Want: tag, Got: theirs}
		}
	}
	return nil
}

// note is what rank r of the communicator says with the tick of now.
func (s *shared) note(r int) []byte { return s.board.Note(s.ranks[r], s.tick) }

// once is where rank r keeps a vector that all fold whole, in the operation of a tick. Who
// begins the operation after the next has ended the next, which all others had begun then:
// nobody reads this one's any more.
func (s *shared) once(r int, tick uint32) []byte {
	return s.board.Area(s.ranks[r])[int(tick&1)*onceBytes:][:onceBytes]
}

// reduce leaves in dst the reduction of what the sources have at [lo, hi).
func (s *shared) reduce(f *folding, dst []byte, lo, hi int) {
	f.into(dst, s.sources[0][lo:hi], s.sources[1][lo:hi])
	for _, src := range s.sources[2:] {
		f.fold(dst, src[lo:hi])
	}
	if f.op == kernels.Average {
		kernels.Divide(kernels.Vector{Type: f.typ, Bytes: dst}, len(s.sources))
	}
}

// folding is a reduction of a type of elements, looked up once.
type folding struct {
	typ  kernels.Type
	op   kernels.Op
	fold func(dst, src []byte)
	into func(dst, a, b []byte)
}

func foldingOf(x kernels.Vector, op kernels.Op) folding {
	return folding{x.Type, op, kernels.Folder(op, x.Type), kernels.IntoFolder(op, x.Type)}
}

// fold leaves in x the reduction of the sources.
func (s *shared) fold(x kernels.Vector, op kernels.Op) {
	f := foldingOf(x, op)
	for lo := 0; lo < len(x.Bytes); lo += blockBytes {
		hi := min(lo+blockBytes, len(x.Bytes))
		s.reduce(&f, x.Bytes[lo:hi], lo, hi)
	}
}

// part is the bytes [lo, hi) of x that rank r folds.
func (s *shared) part(x kernels.Vector, r int) (lo, hi int) {
	n, size := x.Len(), x.Type.Size()
	return n * r / len(s.ranks) * size, n * (r + 1) / len(s.ranks) * size
}

// direct is the all-reduce of vectors that lie in shared memory. Each rank reads n times its
// part and writes it n times, all at once from the first cache: no rank copies anything.
func (s *shared) direct(x kernels.Vector, op kernels.Op) error {
	for r, rank := range s.ranks {
		if r == s.me {
			s.sources[r] = x.Bytes
			continue
		}
		memory, err := s.window.Memory(rank, s.places[r], len(x.Bytes))
		if err != nil {
			return err
		}
		s.sources[r] = memory
	}
	f := foldingOf(x, op)
	lo, end := s.part(x, s.me)
	for ; lo < end; lo += blockBytes {
		hi := min(lo+blockBytes, end)
		sum := s.sum[:hi-lo]
		s.reduce(&f, sum, lo, hi)
		for _, dst := range s.sources {
			copy(dst[lo:hi], sum)
		}
	}
	s.publish()
	return s.await(s.tick)
}
