package collective

import (
	"fmt"
	"sync"

	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/kernels"
)

// Lane runs one operation at a time, on connections of its own. Operations on different
// lanes run at once. All ranks of the communicator must run the same operations in the same
// order on a lane; the order between lanes does not matter.
//
// Vectors belong to the lane until the operation has ended. After a failure they hold
// anything, and so does every later operation fail: the mesh has ended on all ranks.
type Lane struct {
	comm   *Comm
	number int
	first  int // transport lane of track 0

	mu       sync.Mutex // held while an operation runs
	seq      uint32     // operations before
	past     uint64     // digest of them
	exec     executor
	programs map[programKey]*program
	recent   recent
	cuts     [2][]int // uneven chunks of the views
	scratch  []byte   // what a plan needs beside the caller's vectors
	record   *record  // what the watch knows
	shared   *shared  // made on first use, where all ranks share memory
	closed   bool

	queue queue
}

type programKey struct {
	kind kind
	algo uint8
	root int
}

// recent is the program that was looked up last.
type recent struct {
	key  programKey
	prog *program
}

// call is one operation as the lane runs it.
type call struct {
	kind kind
	typ  kernels.Type
	op   kernels.Op
	root int
	algo uint8
	hash uint16 // of the counts, for uneven parts
	size int    // bytes of the whole operation
	name string
}

// tag is what frames of the operation carry. Where there is no root, its place is taken by
// what the lane has run before, so that ranks which have disagreed without noticing, each
// sending what nobody waited for, notice in the next operation that has no root.
func (c *call) tag(seq uint32, past uint64) transport.Tag {
	tag := transport.Tag{Seq: seq, Kind: uint8(c.kind), Type: uint8(c.typ), Op: uint8(c.op), Algo: c.algo, Root: uint16(past >> 48)}
	tag.Bytes = uint64(c.size) | uint64(c.hash)<<sizeBits
	if c.kind.rooted() {
		tag.Root = uint16(c.root)
	}
	return tag
}

// pass adds an operation to what the lane has run before.
func pass(past uint64, t transport.Tag) uint64 {
	const prime = 0x9e3779b97f4a7c15
	past ^= uint64(t.Kind) | uint64(t.Type)<<8 | uint64(t.Op)<<16 | uint64(t.Algo)<<24 | uint64(t.Root)<<32
	past *= prime
	past ^= past>>32 ^ t.Bytes
	return past * prime
}

// Number is the lane's number in its communicator.
func (l *Lane) Number() int { return l.number }

// lock waits for the operations that were started, and keeps others out.
func (l *Lane) lock() {
	l.queue.drain()
	l.mu.Lock()
}

// begin starts an operation: it is counted, known to the watch, and has a program, unless it
// runs through shared memory. The lane is locked.
func (l *Lane) begin(c *call) (*program, transport.Tag, error) {
	if c.kind != barrier {
		c.algo = l.comm.choice.algorithm(c.kind, c.size)
	}
	tag := c.tag(l.seq, l.past)
	if l.closed {
		return nil, tag, l.wrap(c, tag, fault{-1, errClosed})
	}
	l.seq, l.past = l.seq+1, pass(l.past, tag)
	core := l.comm.core
	if err := core.failed(); err != nil {
		return nil, tag, l.wrap(c, tag, fault{-1, err})
	}
	core.watch.begin(l.record, tag, c.name)
	if l.sharing(c) {
		if err := l.share(); err != nil {
			return nil, tag, l.end(c, tag, fault{-1, err})
		}
		return nil, tag, nil
	}
	prog, err := l.program(programKey{c.kind, c.algo, c.root})
	if err != nil {
		return nil, tag, l.end(c, tag, fault{-1, err})
	}
	return prog, tag, nil
}

// sharing tells whether an operation runs through shared memory.
func (l *Lane) sharing(c *call) bool {
	return l.comm.shares && (c.algo == sharedAlgorithm || c.kind == barrier)
}

// share makes l.shared.
func (l *Lane) share() error {
	if l.shared != nil {
		return nil
	}
	c := l.comm
	var err error
	l.shared, err = newShared(c.core.mesh.(transport.Window), c.ranks, c.rank, l.first, c.tick)
	return err
}

// end is begin's counterpart.
func (l *Lane) end(c *call, tag transport.Tag, f fault) error {
	l.comm.core.watch.end(l.record, f.err != nil)
	if f.err == nil {
		return nil
	}
	f.err = l.comm.core.fail(l.explain(tag, f.err))
	return l.wrap(c, tag, f)
}

// explain puts a mismatch into words.
func (l *Lane) explain(tag transport.Tag, err error) error {
	return explain(err, func(m *transport.MismatchError) (where, note string) {
		self := l.comm.core.rank
		mine, theirs := &m.Want, &m.Got
		if m.Peer == self {
			mine, theirs = theirs, mine
		}
		if !same(tag, *mine) {
			return "", "" // it was on another lane, or between other ranks
		}
		// If this rank is ahead, what it ran at the other's place tells more.
		if earlier, ok := l.record.at(theirs.Seq); ok && !same(earlier, *theirs) {
			*mine = earlier
		}
		// If only the past differs, each rank can tell its own.
		if last, ok := l.record.at(mine.Seq - 1); ok && mine.Root != theirs.Root && describe(*mine) == describe(*theirs) {
			note = fmt.Sprintf("; rank %d ran %s as operation %d", self, describe(last), last.Seq)
		}
		return l.where(), note
	})
}

// where tells the lane from others in an error text.
func (l *Lane) where() string {
	s := ""
	if l.number != 0 {
		s = fmt.Sprintf(" on lane %d", l.number)
	}
	if l.comm.group != 0 {
		s += fmt.Sprintf(" of the group of %s", ranksText(l.comm.ranks))
	}
	return s
}

func (l *Lane) wrap(c *call, tag transport.Tag, f fault) error {
	return &Error{
		Operation: fmt.Sprintf("%s %d%s", c.kind, tag.Seq, l.where()),
		Name:      c.name, Step: f.step, Err: f.err, detail: detail(tag),
	}
}

// program returns the plan of an operation, ready to run.
func (l *Lane) program(key programKey) (*program, error) {
	if l.recent.prog != nil && l.recent.key == key {
		return l.recent.prog, nil
	}
	prog := l.programs[key]
	if prog == nil {
		plan := l.comm.choice.plan(key, l.comm.rank)
		if tracks := l.comm.options.Tracks; len(plan.Tracks) > tracks {
			return nil, fmt.Errorf("the plan of algorithm %s has %d tracks, Options.Tracks is %d", algorithmName(key.algo), len(plan.Tracks), tracks)
		}
		var err error
		prog, err = compile(plan, l.comm.core.mesh, func(track, peer int) (transport.Conn, error) {
			return l.comm.core.mesh.Conn(l.comm.ranks[peer], l.first+track)
		})
		if err != nil {
			return nil, err
		}
		l.programs[key] = prog
	}
	l.recent = recent{key, prog}
	return prog, nil
}

// room returns scratch memory that is kept for the next operation.
func (l *Lane) room(bytes int) []byte {
	if cap(l.scratch) < bytes {
		l.scratch = make([]byte, bytes)
	}
	return l.scratch[:bytes]
}

// cut turns counts of elements into byte offsets, kept by the lane until the next operation.
func (l *Lane) cut(i int, counts []int, size int) []int {
	cuts := append(l.cuts[i][:0], 0)
	for _, n := range counts {
		cuts = append(cuts, cuts[len(cuts)-1]+n*size)
	}
	l.cuts[i] = cuts
	return cuts
}

// close returns the tick that the clock on the lane's board has come to.
func (l *Lane) close() uint32 {
	l.queue.close()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.exec.close()
	if l.shared == nil {
		return 0
	}
	if l.comm.group != 0 && l.comm.core.failed() == nil {
		l.shared.leave()
	}
	return l.shared.tick
}
