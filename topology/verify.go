package topology

import (
	"errors"
	"fmt"
)

// Verify proves that plans, one a rank in order, carry out c: the steps are well formed,
// no two tracks race, nothing deadlocks, every contribution arrives exactly once, and all
// ranks end with the same expression tree, hence the same bits.
//
// It runs the plans on expression trees instead of numbers, a message being passed only
// when both ends have come to it. Each end takes its messages in an order of its own that
// nothing can change, so one such run stands for all: with buffers in between a rank waits
// less and for nothing new, and the same messages meet.
func Verify(c Collective, plans []Plan) error {
	if err := verify(c, plans); err != nil {
		return fmt.Errorf("topology: %v over %d ranks: %w", c.Kind, len(plans), err)
	}
	return nil
}

func verify(c Collective, plans []Plan) error {
	if int(c.Kind) >= len(kindNames) {
		return fmt.Errorf("there is no kind %d", c.Kind)
	}
	if len(plans) == 0 {
		return errors.New("there are no plans")
	}
	if c.rooted() && (c.Root < 0 || c.Root >= len(plans)) {
		return fmt.Errorf("root %d is not a rank: want 0 to %d", c.Root, len(plans)-1)
	}
	for rank, p := range plans {
		if err := c.checkPlan(p, rank, plans[0].Chunks, len(plans)); err != nil {
			return err
		}
		if err := checkOrder(p); err != nil {
			return err
		}
	}
	run := newRehearsal(c, plans)
	if err := run.play(); err != nil {
		return err
	}
	return run.result()
}

func (c Collective) rooted() bool {
	switch c.Kind {
	case Broadcast, Reduce, Gather, Scatter:
		return true
	}
	return false
}

// chunkPerRank says whether chunk r belongs to rank r.
func (c Collective) chunkPerRank() bool {
	switch c.Kind {
	case ReduceScatter, AllGather, Gather, Scatter, AllToAll:
		return true
	}
	return false
}

// stepError places what is wrong.
func stepError(rank, track, step int, format string, args ...any) error {
	return fmt.Errorf("rank %d track %d step %d: %s", rank, track, step, fmt.Sprintf(format, args...))
}

func (c Collective) checkPlan(p Plan, rank, chunks, size int) error {
	switch {
	case p.Rank != rank:
		return fmt.Errorf("rank %d: its plan is for rank %d", rank, p.Rank)
	case p.Size != size:
		return fmt.Errorf("rank %d: its plan is for %d ranks", rank, p.Size)
	case p.Chunks != chunks:
		return fmt.Errorf("rank %d: its plan has %d chunks, rank 0's has %d", rank, p.Chunks, chunks)
	case chunks < 1:
		return fmt.Errorf("rank %d: its plan has %d chunks: want one or more", rank, chunks)
	case c.chunkPerRank() && chunks != size:
		return fmt.Errorf("rank %d: its plan has %d chunks: want %d, one a rank", rank, chunks, size)
	}
	for t, track := range p.Tracks {
		for i := range track {
			if err := c.checkStep(p, t, i); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c Collective) checkStep(p Plan, t, i int) error {
	s := &p.Tracks[t][i]
	from, to := 0, 0
	if c.Kind == AllToAll {
		to = 1
	}
	ends := [...]struct {
		peer, buf int
		span      Span
		does      string
	}{{s.SendTo, from, s.Send, "sends to"}, {s.RecvFrom, to, s.Recv, "receives from"}}
	for _, e := range ends {
		switch {
		case e.peer == None:
		case e.peer == p.Rank:
			return stepError(p.Rank, t, i, "%s itself", e.does)
		case e.peer < 0 || e.peer >= p.Size:
			return stepError(p.Rank, t, i, "%s rank %d, which is not one of %d", e.does, e.peer, p.Size)
		case e.span.Buf != e.buf:
			return stepError(p.Rank, t, i, "%s rank %d with buffer %d: want %d", e.does, e.peer, e.span.Buf, e.buf)
		case e.span.Lo < 0 || e.span.Lo >= e.span.Hi || e.span.Hi > p.Chunks:
			return stepError(p.Rank, t, i, "%s rank %d chunks [%d, %d) of %d", e.does, e.peer, e.span.Lo, e.span.Hi, p.Chunks)
		}
	}
	switch {
	case s.SendTo == None && s.RecvFrom == None:
		return stepError(p.Rank, t, i, "neither sends nor receives")
	case s.Reduce && s.RecvFrom == None:
		return stepError(p.Rank, t, i, "reduces but receives nothing")
	case !s.Reduce && s.SendTo != None && s.RecvFrom != None && overlap(s.Send, s.Recv):
		return stepError(p.Rank, t, i, "sends chunks [%d, %d) while [%d, %d) is overwritten", s.Send.Lo, s.Send.Hi, s.Recv.Lo, s.Recv.Hi)
	}
	for _, r := range s.After {
		if r.Track < 0 || r.Track >= len(p.Tracks) || r.Track == t || r.Step < 0 || r.Step >= len(p.Tracks[r.Track]) {
			return stepError(p.Rank, t, i, "comes after step %d of track %d, which is not a step of another track", r.Step, r.Track)
		}
	}
	return nil
}

func overlap(a, b Span) bool { return a.Buf == b.Buf && a.Lo < b.Hi && b.Lo < a.Hi }
