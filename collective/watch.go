package collective

import (
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorun-ml/gorun/collective/transport"
)

// patience is how long a rank waits in an operation before it tells the others which one
// that is. It tells them again after 2, 4, 8 … times that.
const patience = 50 * time.Millisecond

// watch finds ranks that run different operations where no frame would show it: ranks that
// all wait for frames from each other, each for the next one of its own plan, and ranks
// that have ended an operation which the others are still in.
//
// A rank that has waited for a while reports its operation to rank 0, which passes the
// report on to all. Who has begun another operation at that place of that lane ends the
// mesh and names both. It costs nothing while operations end in time: a rank notes what
// it runs, and a timer runs while it runs anything.
type watch struct {
	core  *core
	size  int
	began time.Time // of the watch; others are counted from it

	armed atomic.Bool   // the timer runs
	wake  chan struct{} // capacity 1: start the timer
	stop  chan struct{}
	done  sync.WaitGroup
	links []*link // rank 0: to all others; other ranks: to rank 0

	mu      sync.Mutex
	records map[recordKey]*record
	relayed map[recordKey]report // rank 0: last passed on
	found   []*record
}

type recordKey struct {
	group uint64
	lane  uint32
}

// memory is how many operations back a record goes.
const memory = 256

// record is what a lane runs and has run lately.
type record struct {
	key   recordKey
	where string // for error texts

	mu    sync.Mutex
	tags  [memory]transport.Tag // by sequence number
	spans [memory]span          // of the same operations
	begun uint32                // operations
	busy  bool
	ticks int // of the timer, since the operation began
}

// report says that a rank waits in an operation.
type report struct {
	rank int
	key  recordKey
	tag  transport.Tag
}

func newWatch(c *core, size int) *watch {
	w := &watch{
		core: c, size: size, began: time.Now(),
		wake: make(chan struct{}, 1), stop: make(chan struct{}),
		records: map[recordKey]*record{}, relayed: map[recordKey]report{},
	}
	if size < 2 {
		return w
	}
	if c.rank == 0 {
		for r := 1; r < size; r++ {
			w.links = append(w.links, &link{peer: r})
		}
	} else {
		w.links = append(w.links, &link{peer: 0})
	}
	for _, l := range w.links {
		w.done.Go(func() { w.listen(l) })
	}
	w.done.Go(w.tick)
	return w
}

// add makes the record of a lane.
func (w *watch) add(group uint64, lane int, where string) *record {
	r := &record{key: recordKey{group, uint32(lane)}, where: where}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.records[r.key] = r
	return r
}

func (w *watch) remove(r *record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.records, r.key)
	delete(w.relayed, r.key)
}

// begin notes that a lane begins the operation of tag.
func (w *watch) begin(r *record, tag transport.Tag, name string) {
	now := time.Since(w.began)
	r.mu.Lock()
	r.tags[tag.Seq%memory] = tag
	r.spans[tag.Seq%memory] = span{begun: now, step: w.core.step.Load(), name: name}
	r.begun = tag.Seq + 1
	r.busy, r.ticks = true, 0
	r.mu.Unlock()
	if !w.armed.Load() && w.armed.CompareAndSwap(false, true) {
		w.wake <- struct{}{}
	}
}

// end notes that the lane's operation is over, and whether it has failed.
func (w *watch) end(r *record, failed bool) {
	now := time.Since(w.began)
	r.mu.Lock()
	r.busy = false
	if s := &r.spans[(r.begun-1)%memory]; !failed {
		s.ended, s.over = now, true
	}
	r.mu.Unlock()
}

// tick looks at the lanes from time to time, while any of them is busy.
func (w *watch) tick() {
	timer := time.NewTimer(patience)
	timer.Stop()
	defer timer.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-w.wake:
			timer.Reset(patience)
		case <-timer.C:
			if w.look() {
				timer.Reset(patience)
				continue
			}
			w.armed.Store(false)
			// A lane that began just before may have found the timer armed.
			if w.busy() && w.armed.CompareAndSwap(false, true) {
				timer.Reset(patience)
			}
		}
	}
}

// look reports what has waited for long. It returns whether any lane is busy.
func (w *watch) look() bool {
	busy := false
	for _, r := range w.all() {
		r.mu.Lock()
		if r.busy {
			busy = true
			r.ticks++
		}
		// The first tick may come right after the beginning.
		late := r.busy && r.ticks >= 2 && r.ticks&(r.ticks-1) == 0
		due := report{rank: w.core.rank, key: r.key, tag: r.tags[(r.begun-1)%memory]}
		r.mu.Unlock()
		if late {
			w.tell(due)
		}
	}
	return busy
}

func (w *watch) busy() bool {
	for _, r := range w.all() {
		r.mu.Lock()
		busy := r.busy
		r.mu.Unlock()
		if busy {
			return true
		}
	}
	return false
}

// all is all records, valid until the next call. Only the ticking goroutine calls it.
func (w *watch) all() []*record {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.found = w.found[:0]
	for _, r := range w.records {
		w.found = append(w.found, r)
	}
	return w.found
}

// tell sends a report to rank 0, or from there to all but the rank that made it.
func (w *watch) tell(r report) {
	for _, l := range w.links {
		if l.peer != r.rank {
			l.send(r)
		}
	}
}

// hear compares what another rank runs with what this one runs or has run.
func (w *watch) hear(r report) {
	w.mu.Lock()
	mine := w.records[r.key]
	pass := false
	if w.core.rank == 0 {
		// Many wait in one operation; passing on the report of one of them will do.
		last, seen := w.relayed[r.key]
		if pass = !seen || last.tag != r.tag || last.rank == r.rank; pass {
			w.relayed[r.key] = r
		}
	}
	w.mu.Unlock()
	if mine != nil {
		if tag, ok := mine.at(r.tag.Seq); ok && !same(tag, r.tag) {
			m := &transport.MismatchError{Self: w.core.rank, Want: tag, Peer: r.rank, Got: r.tag}
			w.core.fail(&disagreement{text: differ(mine.where, m), err: m})
			return
		}
	}
	if pass {
		w.tell(r)
	}
}

// at is what the lane ran as operation seq, if it has begun that and remembers it.
func (r *record) at(seq uint32) (transport.Tag, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	back := r.begun - seq
	if back == 0 || back > memory {
		return transport.Tag{}, false
	}
	return r.tags[seq%memory], true
}

// close ends the goroutines, here and at the other ends of their links.
func (w *watch) close() {
	if w.size < 2 {
		return
	}
	close(w.stop)
	for _, l := range w.links {
		l.leave()
	}
	w.done.Wait()
}

// frameBytes is the length of a report on the wire:
//
//	rank 4 · lane 4 · group 8 · tag 20
//
// The tag's step, which a report has no use for, is not 0 in the frame of a rank that leaves.
const (
	frameBytes = reportTag + transport.TagBytes
	reportTag  = 16
)

func (r report) put(b []byte) {
	le := binary.LittleEndian
	le.PutUint32(b, uint32(r.rank))
	le.PutUint32(b[4:], r.key.lane)
	le.PutUint64(b[8:], r.key.group)
	r.tag.Put((*[transport.TagBytes]byte)(b[reportTag:]))
}

func readReport(b []byte) (r report, leaves bool) {
	le := binary.LittleEndian
	r.rank = int(le.Uint32(b))
	r.key = recordKey{lane: le.Uint32(b[4:]), group: le.Uint64(b[8:])}
	r.tag = transport.TagOf((*[transport.TagBytes]byte)(b[reportTag:]))
	return r, r.tag.Step != 0
}
