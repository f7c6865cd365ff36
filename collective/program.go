package collective

import (
	"fmt"

	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/topology"
)

// program is a plan made ready to run on one lane: connections in place of ranks, and what
// each half of a step waits for.
//
// A plan's steps are duplex and run one after the other. Run literally, each step would
// wait for its slower half. But a half needs less: what is sent must have been received
// before, and what is overwritten must have been sent before. So a track runs as two
// streams, sends in order and receives in order, which wait for each other only where
// their spans overlap. Where the spans are the same, they wait piece by piece: a piece is
// passed on while the next one is still on its way.
//
//	receive  | chunk 3: p0 p1 p2 p3 | chunk 2: p0 p1 p2 p3 | …
//	send     | chunk 0 …            |  chunk 3: p0 p1 p2 p3  | …
type program struct {
	chunks int
	tracks []track
	widest int    // chunks in the widest span, for one buffer's even chunks
	touch  [2]run // chunks of each buffer that any step touches

	// waiter waits for the connections, where the plan can be driven: all of them are flows.
	// Else it is nil.
	waiter transport.Waiter
}

type track struct {
	steps        []step
	sends, recvs bool // there are any
}

// run is a range of chunks.
type run struct{ lo, hi int }

type step struct {
	to, from   transport.Conn // nil where there is none
	out, in    transport.Flow // the same, where the plan is driven
	send, recv topology.Span
	reduce     bool
	// What the frames' tags carry: which message to that peer this is, as both ends count.
	sendNo, recvNo uint16

	// behind is the last earlier receive that overlaps send; the bytes must have arrived.
	behind wait
	// ahead is the last earlier send that overlaps recv; the bytes must have left.
	ahead wait
	// apart is set where send and recv of this very step overlap: the bytes are received
	// beside the buffer and folded in once the old ones have left.
	apart bool

	after []topology.Ref
}

// wait names a step of the other direction. exact is set where the spans are the same, so
// that pieces can be waited for one by one.
type wait struct {
	step  int // -1: nothing to wait for
	exact bool
}

// mark is what the other direction's gate must have reached before the piece that ends at
// hi bytes into the span may go on.
func (w wait) mark(hi int) uint64 {
	if w.exact {
		return mark(w.step, hi)
	}
	return mark(w.step+1, 0)
}

func overlap(a, b topology.Span) bool {
	return a.Buf == b.Buf && a.Lo < b.Hi && b.Lo < a.Hi
}

// compile makes p runnable on a mesh. connect returns the connection of a track to a peer.
func compile(p topology.Plan, mesh transport.Mesh, connect func(track, peer int) (transport.Conn, error)) (*program, error) {
	g := &program{chunks: p.Chunks, tracks: make([]track, len(p.Tracks))}
	for i := range g.touch {
		g.touch[i] = run{lo: p.Chunks}
	}
	for t, steps := range p.Tracks {
		if len(steps) >= 1<<16 {
			return nil, fmt.Errorf("the plan has %d steps on track %d: a frame's tag has room for %d", len(steps), t, 1<<16-1)
		}
		sent, received := map[int]uint16{}, map[int]uint16{}
		tr := &g.tracks[t]
		tr.steps = make([]step, len(steps))
		for k, s := range steps {
			d := step{send: s.Send, recv: s.Recv, reduce: s.Reduce, after: s.After, behind: wait{step: -1}, ahead: wait{step: -1}}
			var err error
			if s.SendTo != topology.None {
				if d.to, err = connect(t, s.SendTo); err != nil {
					return nil, err
				}
				d.sendNo = sent[s.SendTo]
				sent[s.SendTo]++
				tr.sends = true
				g.span(s.Send)
				d.behind = last(tr.steps[:k], s.Send, false)
			}
			if s.RecvFrom != topology.None {
				if d.from, err = connect(t, s.RecvFrom); err != nil {
					return nil, err
				}
				d.recvNo = received[s.RecvFrom]
				received[s.RecvFrom]++
				tr.recvs = true
				g.span(s.Recv)
				d.ahead = last(tr.steps[:k], s.Recv, true)
				if d.to != nil && overlap(s.Send, s.Recv) {
					d.apart = true
					d.ahead = wait{step: k, exact: s.Send == s.Recv}
				}
			}
			tr.steps[k] = d
		}
	}
	if w, ok := mesh.(transport.Waiter); ok && len(g.tracks) <= transport.MaxFlows && g.flows() {
		g.waiter = w
	}
	return g, nil
}

// flows notes the steps' connections as flows. It reports false where some are not.
func (g *program) flows() (all bool) {
	for t := range g.tracks {
		for k := range g.tracks[t].steps {
			s := &g.tracks[t].steps[k]
			out, flowsOut := s.to.(transport.Flow)
			in, flowsIn := s.from.(transport.Flow)
			if s.to != nil && !flowsOut || s.from != nil && !flowsIn {
				return false
			}
			s.out, s.in = out, in
		}
	}
	return true
}

// span notes that a step touches s.
func (g *program) span(s topology.Span) {
	if s.Hi <= s.Lo {
		return
	}
	g.widest = max(g.widest, s.Hi-s.Lo)
	t := &g.touch[s.Buf]
	t.lo, t.hi = min(t.lo, s.Lo), max(t.hi, s.Hi)
}

// last finds the last step that sends (or else receives) something of s.
func last(steps []step, s topology.Span, sends bool) wait {
	for k := len(steps) - 1; k >= 0; k-- {
		conn, other := steps[k].from, steps[k].recv
		if sends {
			conn, other = steps[k].to, steps[k].send
		}
		if conn != nil && overlap(s, other) {
			return wait{step: k, exact: s == other}
		}
	}
	return wait{step: -1}
}
