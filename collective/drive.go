package collective

import (
	"github.com/gorun-ml/gorun/collective/transport"
)

// drive runs a plan of one track on the caller's goroutine. What an executor does on two
// goroutines that block and wake each other, it does with two cursors that take turns: one
// sends what goes at once, the other receives what has come, and only when neither moves
// does the goroutine wait, for both.
//
//	send     ──p0──p1──┤ waits for what it sends to have been received, or for room
//	receive  ──p0──┤     waits for data, or for what it overwrites to have left
func (e *executor) drive() fault {
	out, in := &e.out, &e.in
	*out, *in = cursor{}, cursor{}
	steps := e.prog.tracks[0].steps
	for {
		sent, err := e.push(steps)
		if err != nil {
			return fault{out.step, err}
		}
		received, err := e.pull(steps)
		if err != nil {
			return fault{in.step, err}
		}
		if sent || received {
			continue
		}
		if out.step == len(steps) && in.step == len(steps) {
			return fault{}
		}
		// Neither moves, so neither waits for the other alone: a plan has no such circle.
		if err := e.prog.waiter.Wait(out.flow, in.flow); err != nil {
			step := in.step
			if in.flow == nil {
				step = out.step
			}
			return fault{step, err}
		}
	}
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

// push sends a piece, or what goes of one. It reports whether anything went.
func (e *executor) push(steps []step) (bool, error) {
	c := &e.out
	c.flow = nil
	for !c.busy {
		if c.step == len(steps) {
			return false, nil
		}
		s := &steps[c.step]
		if s.to == nil {
			c.pass()
			continue
		}
		if !c.open {
			c.pieces, c.open = e.pieces(s.send), true
			if !c.pieces.next() {
				c.pass()
				continue
			}
		}
		if !e.in.reached(s.behind, c.pieces.hi) {
			return false, nil
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
		return moved > 0, nil
	}
	c.busy = false
	if c.at = mark(c.step, c.pieces.hi); !c.pieces.next() {
		c.pass()
	}
	return true, nil
}

// pull receives a piece, or what has come of one. It reports whether anything came.
func (e *executor) pull(steps []step) (bool, error) {
	c := &e.in
	c.flow = nil
	for !c.busy {
		if c.step == len(steps) {
			return false, nil
		}
		s := &steps[c.step]
		if s.from == nil {
			c.pass()
			continue
		}
		if !c.open {
			c.pieces, c.open = e.pieces(s.recv), true
			if !c.pieces.next() {
				c.pass()
				continue
			}
			c.whole = s.apart && !s.ahead.exact && !e.out.reached(s.ahead, 0)
		}
		if !e.place(c, s) {
			return false, nil
		}
	}
	s := &steps[c.step]
	if c.held {
		return e.land(c, s), nil
	}
	moved, done, err := s.in.Pull(c.tag, c.piece, c.fold)
	if err != nil {
		return false, err
	}
	if !done {
		c.flow = s.in
		return moved > 0, nil
	}
	if c.beside {
		c.held = true
		e.land(c, s)
		return true, nil
	}
	e.arrived(c)
	return true, nil
}

// place says where the next piece goes: to where it belongs, or beside that where the bytes
// there have not left. It reports false where that must be waited for.
func (e *executor) place(c *cursor, s *step) bool {
	c.piece, c.fold, c.beside = c.pieces.bytes(), e.folding(s), false
	switch {
	case c.whole:
		c.piece, c.fold, c.beside = e.room(len(c.pieces.all))[c.pieces.lo:c.pieces.hi], nil, true
	case e.out.reached(s.ahead, c.pieces.hi):
	case s.apart:
		c.piece, c.fold, c.beside = e.room(c.pieces.hi-c.pieces.lo), nil, true
	default:
		return false
	}
	c.tag, c.busy = e.tagged(s.recvNo), true
	return true
}

// land folds in what was received beside its place, once that may be.
func (e *executor) land(c *cursor, s *step) bool {
	to, last := c.pieces.bytes(), true
	if c.whole {
		to, last = c.pieces.all, c.pieces.hi == len(c.pieces.all)
	}
	if last {
		if !e.out.reached(s.ahead, c.pieces.hi) {
			return false
		}
		if len(to) > 0 {
			e.fold(to, e.scratch[:len(to)])
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
func (e *executor) room(bytes int) []byte {
	if cap(e.scratch) < bytes {
		e.scratch = make([]byte, bytes)
	}
	return e.scratch[:bytes]
}
