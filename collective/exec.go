package collective

import (
	"sync"
	"sync/atomic"

	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/topology"
)

// PieceBytes is how much of a message travels as one frame. Messages longer than that are
// cut, so that a piece can be folded and passed on while the next is on its way: smaller
// pieces overlap better, larger ones cost fewer frames.
const PieceBytes = 256 << 10

// inlineBytes is the longest message that a rank sends on the goroutine that receives, where
// connections block.
const inlineBytes = transport.EagerBytes

// executor runs programs on one lane, one at a time: where it can drive the connections, on
// the caller's goroutine, and else on goroutines of its own too, that live as long as the
// lane. All it needs is allocated when a program first needs it.
type executor struct {
	streams []*stream // two a track: sends, receives
	working sync.WaitGroup
	living  sync.WaitGroup

	// The run under way.
	prog  *program
	tag   transport.Tag
	fold  transport.Fold
	views [2]view
	every bool // empty messages are sent too
	gates bool // somebody waits for the gates

	// Of a run that is driven.
	turns   []turn // one a track
	waiting transport.Waiting

	failed  atomic.Bool
	mu      sync.Mutex
	failure fault
}

// fault is where a run failed and why.
type fault struct {
	step int
	err  error
}

// stream is one direction of one track, or both where messages are small.
type stream struct {
	track   int
	done    *gate       // how far this direction has come
	start   chan func() // capacity 1; closed at the end
	do      func()      // runs this direction
	both    func()      // runs the whole track
	scratch []byte      // of the receiving direction: what must not be folded in yet
}

// stream returns the streams of a track: sends, receives.
func (e *executor) stream(track int) (sends, recvs *stream) {
	return e.streams[2*track], e.streams[2*track+1]
}

// grow makes streams for n tracks.
func (e *executor) grow(n int) {
	for t := len(e.streams) / 2; t < n; t++ {
		sends, recvs := &stream{track: t, done: newGate()}, &stream{track: t, done: newGate()}
		sends.do = func() { e.send(sends, recvs.done) }
		recvs.do = func() { e.recv(recvs, sends.done) }
		recvs.both = func() { e.both(t, sends.done, recvs.done) }
		e.streams = append(e.streams, sends, recvs)
	}
}

// run executes prog over the views. It returns when nothing of the views is in use any more.
func (e *executor) run(prog *program, tag transport.Tag, fold transport.Fold, every bool, views [2]view) fault {
	e.prog, e.tag, e.fold, e.every, e.views = prog, tag, fold, every, views
	if prog.waiter != nil {
		f := e.drive()
		e.forget()
		return f
	}
	e.failure = fault{}
	small := e.widest() <= inlineBytes
	e.gates = len(prog.tracks) > 1 || !small
	if e.gates {
		e.grow(len(prog.tracks))
		for _, s := range e.streams {
			s.done.at.Store(0)
		}
	} else if len(e.streams) == 0 {
		e.grow(1)
	}
	// One stream runs on the caller's goroutine, a receiving one if there is one.
	var mine func()
	for t := range prog.tracks {
		tr := &prog.tracks[t]
		sends, recvs := e.stream(t)
		switch {
		case len(tr.steps) == 0:
		case small || !tr.sends || !tr.recvs:
			// One direction alone never waits for the other.
			mine = e.launch(mine, recvs, recvs.both)
		default:
			mine = e.launch(mine, recvs, recvs.do)
			mine = e.launch(mine, sends, sends.do)
		}
	}
	if mine != nil {
		mine()
	}
	e.working.Wait()
	e.forget()
	if e.failed.Load() {
		return e.failure
	}
	return fault{}
}

// forget lets go of what the run was called with.
func (e *executor) forget() {
	e.views, e.fold, e.prog = [2]view{}, nil, nil
	for t := range e.turns {
		e.turns[t].out, e.turns[t].in = cursor{}, cursor{}
	}
	clear(e.waiting.Out[:cap(e.waiting.Out)])
	clear(e.waiting.In[:cap(e.waiting.In)])
	e.waiting.Reset()
}

// launch keeps do for the caller's goroutine if that has nothing to do yet, and otherwise
// has it done by the stream's.
func (e *executor) launch(mine func(), s *stream, do func()) func() {
	if mine == nil {
		return do
	}
	if s.start == nil {
		s.start = make(chan func(), 1)
		e.living.Go(func() {
			for do := range s.start {
				do()
				e.working.Done()
			}
		})
	}
	e.working.Add(1)
	s.start <- do
	return mine
}

// close ends the goroutines. No run is under way.
func (e *executor) close() {
	for _, s := range e.streams {
		if s.start != nil {
			close(s.start)
		}
	}
	e.living.Wait()
	e.streams = nil
}

// widest is the length of the longest message of the run, or more.
func (e *executor) widest() int {
	widest := 0
	for i := range e.views {
		switch v := &e.views[i]; {
		case v.cuts != nil:
			for c := e.prog.touch[i].lo; c < e.prog.touch[i].hi; c++ {
				widest = max(widest, v.cuts[c+1]-v.cuts[c])
			}
		case v.chunks > 0:
			widest = max(widest, (v.count+v.chunks-1)/v.chunks*v.size)
		}
	}
	return widest * max(1, e.prog.widest)
}

// both runs a track on one goroutine: each step sends first and then receives. That is safe
// for messages of inlineBytes: of all ranks the one that is furthest behind in the plan has
// no older message on its way to anyone, so its Send does not wait. It is also safe where a
// track goes in one direction only.
func (e *executor) both(t int, sent, received *gate) {
	tr := &e.prog.tracks[t]
	for k := range tr.steps {
		s := &tr.steps[k]
		if !e.await(s.after) {
			return
		}
		if s.to != nil {
			for p := e.pieces(s.send); p.next(); {
				if err := s.to.Send(e.tagged(s.sendNo), p.bytes()); err != nil {
					e.fail(k, err)
					return
				}
			}
		}
		if s.from != nil {
			for p := e.pieces(s.recv); p.next(); {
				if err := s.from.Recv(e.tagged(s.recvNo), p.bytes(), e.folding(s)); err != nil {
					e.fail(k, err)
					return
				}
			}
		}
		if e.gates {
			sent.reach(mark(k+1, 0))
			received.reach(mark(k+1, 0))
		}
	}
}

// send runs the sending direction of a track.
func (e *executor) send(st *stream, received *gate) {
	tr := &e.prog.tracks[st.track]
	for k := range tr.steps {
		s := &tr.steps[k]
		if !e.await(s.after) {
			return
		}
		if s.to != nil {
			for p := e.pieces(s.send); p.next(); {
				if s.behind.step >= 0 && !received.wait(s.behind.mark(p.hi), &e.failed) {
					return
				}
				if err := s.to.Send(e.tagged(s.sendNo), p.bytes()); err != nil {
					e.fail(k, err)
					return
				}
				st.done.reach(mark(k, p.hi))
			}
		}
		st.done.reach(mark(k+1, 0))
	}
}

// recv runs the receiving direction of a track.
func (e *executor) recv(st *stream, sent *gate) {
	tr := &e.prog.tracks[st.track]
	for k := range tr.steps {
		s := &tr.steps[k]
		if !e.await(s.after) {
			return
		}
		if s.from != nil && !e.receive(st, s, k, sent) {
			return
		}
		st.done.reach(mark(k+1, 0))
	}
}

// receive runs the receiving half of step k. It reports whether the run goes on.
func (e *executor) receive(st *stream, s *step, k int, sent *gate) bool {
	if s.apart {
		return e.receiveApart(st, s, k, sent)
	}
	for p := e.pieces(s.recv); p.next(); {
		if s.ahead.step >= 0 && !sent.wait(s.ahead.mark(p.hi), &e.failed) {
			return false
		}
		if err := s.from.Recv(e.tagged(s.recvNo), p.bytes(), e.folding(s)); err != nil {
			e.fail(k, err)
			return false
		}
		st.done.reach(mark(k, p.hi))
	}
	return true
}

// receiveApart is receive where the step sends what it folds into: the peer may be doing
// the same, so that both must receive before either has sent. A piece is received beside
// the buffer and folded in when the one it meets has left. Where the spans differ that
// can't be told by piece, and the whole message waits beside the buffer.
func (e *executor) receiveApart(st *stream, s *step, k int, sent *gate) bool {
	whole := e.views[s.recv.Buf].bytes(s.recv.Lo, s.recv.Hi)
	keep := len(whole)
	if s.ahead.exact {
		keep = min(keep, PieceBytes)
	}
	if cap(st.scratch) < keep {
		st.scratch = make([]byte, keep)
	}
	for p := e.pieces(s.recv); p.next(); {
		beside := st.scratch[:p.hi-p.lo]
		if !s.ahead.exact {
			beside = st.scratch[p.lo:p.hi]
		}
		if err := s.from.Recv(e.tagged(s.recvNo), beside, nil); err != nil {
			e.fail(k, err)
			return false
		}
		if s.ahead.exact {
			if !sent.wait(s.ahead.mark(p.hi), &e.failed) {
				return false
			}
			e.fold(p.bytes(), beside)
			st.done.reach(mark(k, p.hi))
		}
	}
	if !s.ahead.exact && keep > 0 {
		if !sent.wait(s.ahead.mark(keep), &e.failed) {
			return false
		}
		e.fold(whole, st.scratch[:keep])
	}
	return true
}

func (e *executor) tagged(message uint16) transport.Tag {
	tag := e.tag
	tag.Step = message
	return tag
}

func (e *executor) folding(s *step) transport.Fold {
	if s.reduce {
		return e.fold
	}
	return nil
}

// await waits for steps of other tracks. It reports whether the run goes on.
func (e *executor) await(refs []topology.Ref) bool {
	for _, r := range refs {
		sends, recvs := e.stream(r.Track)
		if end := mark(r.Step+1, 0); !sends.done.wait(end, &e.failed) || !recvs.done.wait(end, &e.failed) {
			return false
		}
	}
	return !e.failed.Load()
}

// fail notes the first failure of the run and wakes all who wait.
func (e *executor) fail(step int, err error) {
	e.mu.Lock()
	if !e.failed.Load() {
		e.failure = fault{step, err}
		e.failed.Store(true)
	}
	e.mu.Unlock()
	for _, s := range e.streams {
		s.done.wake()
	}
}

// pieces iterates over the frames of one message. Both ends cut alike, by length alone.
type pieces struct {
	all    []byte
	size   int // of all but the last
	lo, hi int
	again  bool // an empty message that is sent all the same
}

func (e *executor) pieces(s topology.Span) pieces {
	return pieces{all: e.views[s.Buf].bytes(s.Lo, s.Hi), size: PieceBytes, again: e.every}
}

func (p *pieces) next() bool {
	p.lo = p.hi
	p.hi = min(p.lo+p.size, len(p.all))
	more := p.lo < p.hi || p.again
	p.again = false
	return more
}

func (p *pieces) bytes() []byte { return p.all[p.lo:p.hi:p.hi] }
