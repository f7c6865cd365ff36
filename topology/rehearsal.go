package topology

import (
	"fmt"
	"strings"
)

// rehearsal runs plans on expressions.
type rehearsal struct {
	c      Collective
	plans  []Plan
	chunks int
	values [2][]expression // [buffer][rank·chunks + chunk]
	forest *expressions
	actors [][]actor // [rank][track]
	queue  []*actor
}

// actor is one track of one rank.
type actor struct {
	rank, track    int
	steps          []Step
	pc             int
	begun          bool // the step's After has been met and its content taken
	sent, received bool
	content        []expression // what the step sends, from when it began
	queued         bool
}

func newRehearsal(c Collective, plans []Plan) *rehearsal {
	r := &rehearsal{c: c, plans: plans, chunks: plans[0].Chunks, forest: newExpressions(len(plans))}
	for b := range r.values {
		if b == 1 && c.Kind != AllToAll {
			break
		}
		r.values[b] = make([]expression, len(plans)*r.chunks)
		for i := range r.values[b] {
			r.values[b][i] = nothing
			if rank, chunk := i/r.chunks, i%r.chunks; b == 0 && c.holds(rank, chunk) {
				r.values[b][i] = expression(rank)
			}
		}
	}
	r.actors = make([][]actor, len(plans))
	for rank, p := range plans {
		r.actors[rank] = make([]actor, len(p.Tracks))
		for t, steps := range p.Tracks {
			a := &r.actors[rank][t]
			*a = actor{rank: rank, track: t, steps: steps}
			r.enqueue(a)
		}
	}
	return r
}

// holds says whether a rank has data in a chunk of buffer 0 when the operation starts.
func (c Collective) holds(rank, chunk int) bool {
	switch c.Kind {
	case Broadcast, Scatter:
		return rank == c.Root
	case AllGather, Gather:
		return rank == chunk
	}
	return true
}

func (r *rehearsal) enqueue(a *actor) {
	if !a.queued {
		a.queued = true
		r.queue = append(r.queue, a)
	}
}

// play runs until no rank can go on and says who is stuck.
func (r *rehearsal) play() error {
	for len(r.queue) > 0 {
		a := r.queue[len(r.queue)-1]
		r.queue = r.queue[:len(r.queue)-1]
		a.queued = false
		if err := r.advance(a); err != nil {
			return err
		}
	}
	for rank := range r.actors {
		for t := range r.actors[rank] {
			if a := &r.actors[rank][t]; a.pc < len(a.steps) {
				return r.stuck(a)
			}
		}
	}
	return nil
}

// advance takes a through as many steps as its peers allow.
func (r *rehearsal) advance(a *actor) error {
	for a.pc < len(a.steps) {
		s := &a.steps[a.pc]
		if !a.begun {
			if !r.met(a.rank, s.After) {
				return nil
			}
			if err := r.begin(a, s); err != nil {
				return err
			}
		}
		if p := r.peer(s.SendTo, a.track); !a.sent && p != nil && p.begun && !p.received && p.steps[p.pc].RecvFrom == a.rank {
			if err := r.pass(a, p); err != nil {
				return err
			}
			r.enqueue(p)
		}
		if p := r.peer(s.RecvFrom, a.track); !a.received && p != nil && p.begun && !p.sent && p.steps[p.pc].SendTo == a.rank {
			if err := r.pass(p, a); err != nil {
				return err
			}
			r.enqueue(p)
		}
		if !a.sent || !a.received {
			return nil
		}
		a.begun = false
		a.pc++
		for t := range r.actors[a.rank] {
			if t != a.track { // may have waited for this step
				r.enqueue(&r.actors[a.rank][t])
			}
		}
	}
	return nil
}

// peer is the other end of a track, if it has steps left.
func (r *rehearsal) peer(rank, track int) *actor {
	if rank == None || track >= len(r.actors[rank]) {
		return nil
	}
	if p := &r.actors[rank][track]; p.pc < len(p.steps) {
		return p
	}
	return nil
}

func (r *rehearsal) met(rank int, after []Ref) bool {
	for _, ref := range after {
		if r.actors[rank][ref.Track].pc <= ref.Step {
			return false
		}
	}
	return true
}

func (r *rehearsal) begin(a *actor, s *Step) error {
	a.begun, a.sent, a.received = true, s.SendTo == None, s.RecvFrom == None
	if a.sent {
		return nil
	}
	a.content = append(a.content[:0], r.cells(a.rank, s.Send)...)
	for i, e := range a.content {
		if e == nothing {
			return stepError(a.rank, a.track, a.pc, "sends chunk %d, which holds nothing yet, to rank %d", s.Send.Lo+i, s.SendTo)
		}
	}
	return nil
}

func (r *rehearsal) cells(rank int, s Span) []expression {
	return r.values[s.Buf][rank*r.chunks+s.Lo : rank*r.chunks+s.Hi]
}

// pass hands over the message that both ends have come to.
func (r *rehearsal) pass(from, to *actor) error {
	out, in := &from.steps[from.pc], &to.steps[to.pc]
	if err := r.agree(from, to, out.Send, in.Recv); err != nil {
		return err
	}
	from.sent, to.received = true, true
	cells := r.cells(to.rank, in.Recv)
	for i, e := range from.content {
		switch {
		case !in.Reduce:
			cells[i] = e
		case cells[i] == nothing:
			return stepError(to.rank, to.track, to.pc, "folds into chunk %d, which holds nothing yet", in.Recv.Lo+i)
		default:
			cells[i] = r.forest.fold(cells[i], e)
		}
	}
	return nil
}

// agree checks that a message is of the same chunks at both ends, so that its length is
// the same however a run cuts its data.
func (r *rehearsal) agree(from, to *actor, out, in Span) error {
	same := out.Lo == in.Lo && out.Hi == in.Hi
	if r.c.Kind == AllToAll { // what s has for r is of its own length, and goes nowhere else
		same = out == Span{0, to.rank, to.rank + 1} && in == Span{1, from.rank, from.rank + 1}
	}
	if same {
		return nil
	}
	return stepError(to.rank, to.track, to.pc, "receives chunks [%d, %d) from rank %d, whose step %d sends chunks [%d, %d)",
		in.Lo, in.Hi, from.rank, from.pc, out.Lo, out.Hi)
}

// stuck follows who waits for whom from a on, until it comes round or to an end.
func (r *rehearsal) stuck(a *actor) error {
	var chain []string
	first := a
	for visited := map[*actor]bool{}; !visited[a] && len(chain) < 8; {
		visited[a] = true
		s := &a.steps[a.pc]
		where := fmt.Sprintf("rank %d track %d step %d", a.rank, a.track, a.pc)
		if !a.begun {
			for _, ref := range s.After {
				if next := &r.actors[a.rank][ref.Track]; next.pc <= ref.Step {
					chain = append(chain, fmt.Sprintf("%s waits for step %d of track %d", where, ref.Step, ref.Track))
					a = next
					break
				}
			}
			continue
		}
		peer, does := s.RecvFrom, "waits to receive from"
		if a.received {
			peer, does = s.SendTo, "waits to send to"
		}
		chain = append(chain, fmt.Sprintf("%s %s rank %d", where, does, peer))
		next := r.peer(peer, a.track)
		if next == nil {
			chain = append(chain, fmt.Sprintf("rank %d has no more steps on track %d", peer, a.track))
			break
		}
		a = next
	}
	return stepError(first.rank, first.track, first.pc, "deadlock: %s", strings.Join(chain, "; "))
}

// result checks what the collective promises.
func (r *rehearsal) result() error {
	seen := make([]bool, len(r.plans))
	checked := make(map[expression]bool)
	reference := make([]expression, r.chunks)
	for rank := range r.plans {
		for chunk := range r.chunks {
			if !r.c.promises(rank, chunk) {
				continue
			}
			got := r.values[0][rank*r.chunks+chunk]
			if r.c.Kind == AllToAll {
				got = r.values[1][rank*r.chunks+chunk]
			}
			if want, one := r.c.source(chunk); one {
				if got != expression(want) {
					return fmt.Errorf("rank %d: chunk %d ends as %s: want rank %d's", rank, chunk, r.describe(got), want)
				}
				continue
			}
			if !checked[got] {
				if err := r.forest.complete(got, seen); err != nil {
					return fmt.Errorf("rank %d: chunk %d %w", rank, chunk, err)
				}
				checked[got] = true
			}
			if rank == 0 {
				reference[chunk] = got
			} else if r.c.Kind == AllReduce && got != reference[chunk] {
				return fmt.Errorf("rank %d: chunk %d is folded in another order than on rank 0: %s, there %s",
					rank, chunk, r.describe(got), r.describe(reference[chunk]))
			}
		}
	}
	return nil
}

// promises says whether a rank's chunk has a defined content at the end.
func (c Collective) promises(rank, chunk int) bool {
	switch c.Kind {
	case Reduce, Gather:
		return rank == c.Root
	case ReduceScatter, Scatter:
		return rank == chunk
	case AllToAll:
		return rank != chunk
	}
	return true
}

// source is the rank that a chunk's content comes from, where it is a single one.
func (c Collective) source(chunk int) (rank int, one bool) {
	switch c.Kind {
	case Broadcast, Scatter:
		return c.Root, true
	case AllGather, Gather, AllToAll:
		return chunk, true
	}
	return 0, false
}

func (r *rehearsal) describe(e expression) string {
	if e == nothing {
		return "nothing"
	}
	if text := r.forest.text(e); text != "" {
		return text[2:]
	}
	return fmt.Sprintf("a fold of %d contributions", r.forest.nodes[e].leaves)
}
