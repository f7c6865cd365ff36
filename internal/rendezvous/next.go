package rendezvous

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Next decides who is in the generation after prev. It reads no clock and does no I/O: the
// same arguments give the same answer, in whatever order the sightings come.
//
//   - Survivors keep their order; newcomers come after them, by slot, then by ID.
//   - A member leaves when somebody has seen it Dead or Leaving, which can't be taken back.
//     Suspicion alone changes nothing. A member nobody has seen stays.
//   - Only Registered members join, one for each slot; one that is suspected waits.
//   - A loss is acted on at once, if p.Min members are there. While fewer are, everybody
//     waits for newcomers, and they are taken as soon as there are enough.
//   - Growth that nobody waits for is acted on when a newcomer has been there for p.Settle,
//     doubled for each failure of its slot, so that a flapping one can't cause a storm.
//     It takes along whoever has never failed. Where a rank has finished, nobody joins.
//   - Members that are stranded in prev, while all of them live, begin a new generation as
//     they are: their connections are made anew.
//   - A start, first or after the loss of all, waits for p.Max members, for p.Settle.
//
// why says in a sentence what happened or, where ok is false, what is waited for; "" if the
// membership is as it should be.
func Next(prev Generation, seen []Sighting, now time.Time, p Policy) (next Generation, why string, ok bool) {
	if prev.Done {
		return Generation{}, "", false
	}
	p.Min = max(p.Min, 1)
	p.Max = max(p.Max, p.Min)

	c := change{from: prev, policy: p}
	known := census(seen)
	c.sort(known)
	candidates := newcomers(known, c.stay, prev)
	total := len(c.stay) + len(candidates)
	ripe := slices.ContainsFunc(candidates, func(s standing) bool { return s.ripe(now, p) })

	switch {
	case total < p.Min:
		return Generation{}, c.waiting(total), false
	case len(c.stay) == 0:
		if total < p.Max && !ripe {
			return Generation{}, fmt.Sprintf("%d ranks are ready: waiting a little for up to %d", total, p.Max), false
		}
		c.admit(candidates)
	case len(c.stay) < p.Min:
		c.admit(candidates)
	case c.loses() || c.stranded != nil || ripe && !c.finished:
		candidates = slices.DeleteFunc(candidates, func(s standing) bool { return s.failures > 0 && !s.ripe(now, p) })
		c.admit(candidates)
	}
	if !c.loses() && len(c.join) == 0 && c.stranded == nil {
		return Generation{}, "", false
	}
	why = c.why()
	planned := len(c.stay) > 0 && len(c.died) == 0 && c.stranded == nil
	return Generation{ID: prev.ID + 1, Members: slices.Concat(c.stay, c.join), Why: why, Planned: planned}, why, true
}

// change is the step from one generation to the next.
type change struct {
	from   Generation
	policy Policy

	died, left, released []int    // ranks of from
	stranded             []int    // ranks of from that stay and need new connections
	stay                 []Member // in the order of from
	join                 []Member
	finished             bool // one of stay has finished
}

// sort says what becomes of the members there were.
func (c *change) sort(known map[string]standing) {
	for r, m := range c.from.Members {
		s, seen := known[m.ID]
		switch {
		case seen && s.state == Dead:
			c.died = append(c.died, r)
		case seen && s.state == Leaving:
			c.left = append(c.left, r)
		case len(c.stay) == c.policy.Max:
			c.released = append(c.released, r)
		default:
			c.stay = append(c.stay, m)
			c.finished = c.finished || seen && s.state == Finished
			if seen && s.stranded == c.from.ID && c.from.ID > 0 {
				c.stranded = append(c.stranded, r)
			}
		}
	}
}

func (c *change) loses() bool { return len(c.stay) < len(c.from.Members) }

// admit lets in as many as there is room for.
func (c *change) admit(candidates []standing) {
	for _, s := range candidates[:min(len(candidates), c.policy.Max-len(c.stay))] {
		c.join = append(c.join, s.member)
	}
}

// standing is what all sightings together say of one member.
type standing struct {
	member   Member
	state    State
	since    time.Time // of its newest registration
	failures int
	stranded uint64
}

// ripe says whether a newcomer has been there for long enough to disturb the others.
func (s standing) ripe(now time.Time, p Policy) bool {
	return now.Sub(s.since) >= p.Settle<<min(s.failures, 6)
}

// newcomers are the members that could join, in the order in which they would.
func newcomers(known map[string]standing, stay []Member, prev Generation) []standing {
	was := make(map[string]bool, len(prev.Members))
	for _, m := range prev.Members {
		was[m.ID] = true
	}
	// A slot has one rank. Who holds it keeps it, and of several the first has it.
	held := make(map[int]bool, len(stay))
	for _, m := range stay {
		held[m.Slot] = true
	}
	first := make(map[int]standing)
	for _, s := range known {
		if was[s.member.ID] || s.state != Registered || held[s.member.Slot] {
			continue
		}
		other, taken := first[s.member.Slot]
		if !taken || cmp.Or(s.since.Compare(other.since), cmp.Compare(s.member.ID, other.member.ID)) < 0 {
			first[s.member.Slot] = s
		}
	}
	all := make([]standing, 0, len(first))
	for _, s := range first {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b standing) int { return cmp.Compare(a.member.Slot, b.member.Slot) })
	return all
}
