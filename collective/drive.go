package collective

import (
	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/topology"
)

// drive runs a plan on the caller's goroutine. What an executor does on two goroutines a
// track that block and wake each other, it does with two cursors a track that take turns:
// one sends what goes at once, the other receives what has come, and only when none moves
// does the goroutine wait, for all.
//
//	send     ──p0──p1──┤ waits for what it sends to have been received, or for room
//	receive  ──p0──┤     waits for data, or for what it overwrites to have left
func (e *executor) drive() fault {
	tracks := e.prog.tracks
	for len(e.turns) < len(tracks) {
		e.turns = append(e.turns, turn{})
	}
	for t := range e.turns {
		e.turns[t].out, e.turns[t].in = cursor{}, cursor{}
	}
	for {
		moved, left := false, false
		for t := range tracks {
			turn, steps := &e.turns[t], tracks[t].steps
			sent, err := e.push(turn, steps)
			if err != nil {
				return fault{turn.out.step, err}
			}
			received, err := e.pull(turn, steps)
			if err != nil {
				return fault{turn.in.step, err}
			}
			moved = moved || sent || received
			left = left || turn.out.step < len(steps) || turn.in.step < len(steps)
		}
		switch {
		case moved:
			e.waiting.Tries = 0
		case !left:
			return fault{}
		default:
			if err := e.wait(); err != nil {
				return fault{e.waited(), err}
			}
		}
	}
}

// wait waits for all that is under way. None moves, so some flow is waited for and not only
// each other: a plan has no such circle.
func (e *executor) wait() error {
	e.waiting.Reset()
	for t := range e.prog.tracks {
		turn := &e.turns[t]
		if turn.out.flow != nil {
			e.waiting.Out = append(e.waiting.Out, turn.out.flow)
		}
		if turn.in.flow != nil {
			e.waiting.In = append(e.waiting.In, turn.in.flow)
		}
	}
	return e.prog.waiter.Wait(&e.waiting)
}

// waited is the first step that was waited for, of a receiving direction if there is one.
func (e *executor) waited() (step int) {
	for t := range e.prog.tracks {
		switch turn := &e.turns[t]; {
		case turn.in.flow != nil:
			return turn.in.step
		case turn.out.flow != nil:
			step = turn.out.step
		}
	}
	return step
}

// turn is how far a track has come.
type turn struct {
	out, in cursor
	scratch []byte // what must not be folded in yet
}

// cursor is how far one direction has come.
type cursor struct {
	step int
	at   uint64         // mark that it has reached
	open bool           // the step's message is being cut into pieces
	busy bool           // a piece is under way
	flow transport.Flow // what can be waited for, nil while the other direction is

	pieces pieces
	piece  []byte
	tag    transport.Tag
	fold   transport.Fold
	beside bool // what is received is not folded in at once
	whole  bool // and that is so for the whole message
	held   bool // a piece is here and not folded in
}

// pass goes on to the next step.
func (c *cursor) pass() {
	c.step++
	c.open = false
	c.at = mark(c.step, 0)
}

// reached says that w need not be waited for by the piece that ends at hi bytes. An empty
// message, as in a barrier, waits for the step as a whole.
func (c *cursor) reached(w wait, hi int) bool {
	return w.step < 0 || c.step > w.step || hi > 0 && c.at >= w.mark(hi)
}

// passed says whether steps of other tracks have ended.
func (e *executor) passed(refs []topology.Ref) bool {
	for _, r := range refs {
		if t := &e.turns[r.Track]; t.out.step <= r.Step || t.in.step <= r.Step {
			return false
		}
	}
	return true
}

// push sends a piece, or what goes of one. It reports whether anything went.
func (e *executor) push(t *turn, steps []step) (bool, error) {
	c := &t.out
	c.flow = nil
	passed := false
	for !c.busy {
		if c.step == len(steps) {
			return passed, nil
		}
		s := &steps[c.step]
		if !c.open && !e.passed(s.after) {
			return passed, nil
		}
		if s.to == nil {
			c.pass()
			passed = true
			continue
		}
		if !c.open {
			c.pieces, c.open = e.pieces(s.send), true
			if !c.pieces.next() {
				c.pass()
				passed = true
				continue
			}
		}
		if !t.in.reached(s.behind, c.pieces.hi) {
			return passed, nil
		}
		c.piece, c.tag, c.busy = c.pieces.bytes(), e.tagged(s.sendNo), true
	}
	flow := steps[c.step].out
	moved, done, err := flow.Push(c.tag, c.piece)
	if err != nil {
		return false, err
	}
	if !done {
		c.flow = flow
		return passed || moved > 0, nil
	}
	c.busy = false
	if c.at = mark(c.step, c.pieces.hi); !c.pieces.next() {
		c.pass()
	}
	return true, nil
}

// pull receives a piece, or what has come of one. It reports whether anything came.
func (e *executor) pull(t *turn, steps []step) (bool, error) {
	c := &t.in
	c.flow = nil
	passed := false
	for !c.busy {
		if c.step == len(steps) {
			return passed, nil
		}
		s := &steps[c.step]
		if !c.open && !e.passed(s.after) {
			return passed, nil
		}
		if s.from == nil {
			c.pass()
			passed = true
			continue
		}
		if !c.open {
			c.pieces, c.open = e.pieces(s.recv), true
			if !c.pieces.next() {
				c.pass()
				passed = true
				continue
			}
			c.whole = s.apart && !s.ahead.exact && !t.out.reached(s.ahead, 0)
		}
		if !e.place(t, s) {
			return passed, nil
		}
	}
	s := &steps[c.step]
	if c.held {
		return e.land(t, s) || passed, nil
	}
	moved, done, err := s.in.Pull(c.tag, c.piece, c.fold)
	if err != nil {
		return false, err
	}
	if !done {
		c.flow = s.in
		return passed || moved > 0, nil
	}
	if c.beside {
		c.held = true
		e.land(t, s)
		return true, nil
	}
	e.arrived(c)
	return true, nil
}

// place says where the next piece goes: to where it belongs, or beside that where the bytes
// there have not left. It reports false where that must be waited for.
func (e *executor) place(t *turn, s *step) bool {
	c := &t.in
	c.piece, c.fold, c.beside = c.pieces.bytes(), e.folding(s), false
	switch {
	case c.whole:
		c.piece, c.fold, c.beside = t.room(len(c.pieces.all))[c.pieces.lo:c.pieces.hi], nil, true
	case t.out.reached(s.ahead, c.pieces.hi):
	case s.apart:
		c.piece, c.fold, c.beside = t.room(c.pieces.hi-c.pieces.lo), nil, true
	default:
		return false
	}
	c.tag, c.busy = e.tagged(s.recvNo), true
	return true
}

// land folds in what was received beside its place, once that may be.
func (e *executor) land(t *turn, s *step) bool {
	c := &t.in
	to, last := c.pieces.bytes(), true
	if c.whole {
		to, last = c.pieces.all, c.pieces.hi == len(c.pieces.all)
	}
	if last {
		if !t.out.reached(s.ahead, c.pieces.hi) {
			return false
		}
		if len(to) > 0 {
			e.fold(to, t.scratch[:len(to)])
		}
	}
	c.held = false
	e.arrived(c)
	return true
}

// arrived notes that a piece is in its place.
func (e *executor) arrived(c *cursor) {
	c.busy = false
	if !c.whole {
		c.at = mark(c.step, c.pieces.hi)
	}
	if !c.pieces.next() {
		c.pass()
	}
}

// room returns scratch memory. What it held stays where there was enough of it.
func (t *turn) room(bytes int) []byte {
	if cap(t.scratch) < bytes {
		t.scratch = make([]byte, bytes)
	}
	return t.scratch[:bytes]
}
