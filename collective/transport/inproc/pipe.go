package inproc

import (
	"sync"

	"github.com/gorun-ml/gorun/collective/transport"
)

type conn struct{ out, in *pipe }

func (c *conn) Send(tag transport.Tag, p []byte) error { return c.out.send(tag, p) }

func (c *conn) Recv(tag transport.Tag, p []byte, fold transport.Fold) error {
	return c.in.recv(tag, p, fold)
}

// pipe carries the frames of a lane in one direction, through a ring of slots.
type pipe struct {
	from, to *Mesh

	mu    sync.Mutex
	moved sync.Cond // a frame was put or taken, or an end has ended
	slots [transport.EagerFrames]slot
	put   uint64 // frames ever put
	taken uint64 // frames ever taken and done with
	busy  bool   // the receiver reads the oldest slot's memory right now
}

type slot struct {
	tag   transport.Tag
	p     []byte // the sender's memory, or eager
	eager []byte // owned by the slot
}

func newPipe(from, to *Mesh) *pipe {
	p := &pipe{from: from, to: to}
	p.moved.L = &p.mu
	return p
}

func (p *pipe) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.moved.Broadcast()
}

func (p *pipe) send(tag transport.Tag, data []byte) error {
	p.mu.Lock()
	for p.put-p.taken == transport.EagerFrames && !p.from.dead.Load() && !p.to.dead.Load() {
		p.moved.Wait()
	}
	if p.from.dead.Load() || p.to.dead.Load() {
		p.mu.Unlock()
		return p.from.lost(p.to)
	}
	mine := p.put
	s := &p.slots[mine%transport.EagerFrames]
	s.tag, s.p = tag, data
	small := len(data) <= transport.EagerBytes
	if small {
		s.keep(data)
	}
	p.put++
	p.moved.Broadcast()
	if small {
		p.mu.Unlock()
		return nil
	}
	for p.taken <= mine {
		reading := p.busy && p.taken == mine
		if !reading && (p.from.dead.Load() || p.to.dead.Load()) {
			p.put = mine // nobody has looked at it, nobody will
			p.mu.Unlock()
			return p.from.lost(p.to)
		}
		p.moved.Wait()
	}
	p.mu.Unlock()
	return nil
}

// keep copies a small frame into the slot, so that the sender need not wait.
func (s *slot) keep(data []byte) {
	if cap(s.eager) < len(data) {
		size := 64
		for size < len(data) {
			size *= 2
		}
		s.eager = make([]byte, size)
	}
	s.p = s.eager[:copy(s.eager[:len(data)], data)]
}

func (p *pipe) recv(tag transport.Tag, dst []byte, fold transport.Fold) error {
	p.mu.Lock()
	for p.put == p.taken && !p.from.dead.Load() && !p.to.dead.Load() {
		p.moved.Wait()
	}
	if p.to.dead.Load() || p.put == p.taken {
		p.mu.Unlock()
		return p.to.lost(p.from)
	}
	s := &p.slots[p.taken%transport.EagerFrames]
	got, src := s.tag, s.p
	if got != tag || len(src) != len(dst) {
		p.mu.Unlock()
		return p.to.fail(&transport.MismatchError{
			Self: p.to.self, Peer: p.from.self,
			Want: tag, Got: got, WantBytes: len(dst), GotBytes: len(src),
		})
	}
	p.busy = true
	p.mu.Unlock()

	if fold == nil {
		copy(dst, src)
	} else if len(dst) > 0 {
		fold(dst, src)
	}

	p.mu.Lock()
	s.p = nil
	p.busy = false
	p.taken++
	p.moved.Broadcast()
	p.mu.Unlock()
	return nil
}
