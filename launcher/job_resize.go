package launcher

import (
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/gorun-ml/gorun/internal/rendezvous"
)

// growSettle is how long ranks that make the job bigger wait for each other, so that they
// cost the others one generation and not one each.
const growSettle = 500 * time.Millisecond

// mayResize says why the job can't have another number of ranks, nil if it can.
func (j *job) mayResize(np int) error {
	total, known := 0, true
	for site, n := range j.Capacity {
		if j.usable(site) {
			total += n
			known = known && n > 0
		}
	}
	switch {
	case np < 1:
		return refuse("%d ranks: want at least 1", np)
	case j.phase != training:
		return refuse("the job is about to end")
	case j.fixed:
		return refuse("it makes its batch bigger with the number of ranks (ScaleBatch), so that a step depends on it: stop it, and start it anew with as many")
	case j.gen.ID == 0:
		return refuse("its ranks have not begun to train, or never call worker.Run: only a job that trains can be resized")
	case known && np+j.Spares > total && !j.Oversubscribe:
		return refuse("%s: its hosts have slots for %d: only a job that was started with --oversubscribe may have more", plural(np, "rank"), total-j.Spares)
	}
	return nil
}

// resize makes the job bigger or smaller, after a step that all of its ranks complete.
func (j *job) resize(e evResize, now time.Time) {
	np := e.np
	if np == j.NP || j.mayResize(np) != nil {
		return
	}
	j.note("gorun resize (%s): the job is to have %s instead of %d", e.by, plural(np, "rank"), j.NP)
	j.NP, j.top = np, np
	if j.elastic() {
		j.MinNP = min(j.MinNP, np)
	}
	j.add(np-j.staying()+j.Spares-len(j.beside()), now)
	j.trim()
}

// add starts so many candidates more.
func (j *job) add(n int, now time.Time) {
	for range n {
		i := slices.IndexFunc(j.slots, func(s slot) bool { return s.retired && s.current.exited && s.current.drained })
		if i < 0 {
			i = len(j.slots)
			j.slots = append(j.slots, slot{retired: true})
		}
		j.slots[i].site = j.refuge()
		j.slots[i].retired = false
		j.start(i, now)
	}
}

// beside is the slots in use that the generation has no rank from.
func (j *job) beside() []int {
	held := make([]bool, len(j.slots))
	for _, m := range j.gen.Members {
		held[m.Slot] = true
	}
	var all []int
	for i := range j.slots {
		if !held[i] && !j.slots[i].retired {
			all = append(all, i)
		}
	}
	return all
}

// trim gives up slots that nobody will need any more, the last first.
func (j *job) trim() {
	all := j.beside()
	for keep := j.Spares + max(0, j.NP-j.staying()); len(all) > keep; all = all[:len(all)-1] {
		s := &j.slots[all[len(all)-1]]
		s.retired, s.startAt, s.current.released = true, time.Time{}, true
		if s.current.alive() {
			j.do(actSignal{s.current.member, syscall.SIGTERM})
		}
	}
}

// grows says whether ranks are on their way that make the job bigger.
func (j *job) grows() bool { return j.gen.ID > 0 && len(j.gen.Members) < j.NP }

// dispensable says whether the job does without a candidate that no rank waits for: a spare,
// or one that was to make the job bigger.
func (j *job) dispensable(c *candidate) bool {
	if j.gen.ID == 0 || j.phase != training || j.ranked(c) {
		return false
	}
	for _, m := range j.gen.Members {
		if o := j.members[m.ID]; o.exited || o.failure != nil {
			return false
		}
	}
	return true
}

// giveUp goes on without a candidate, and without what it was for.
func (j *job) giveUp(c *candidate, why string) {
	if c.released {
		return
	}
	what := "a spare"
	switch {
	case j.staying() < len(j.gen.Members):
		what = "in the place of one that is to leave"
		j.recall()
	case j.grows():
		what = fmt.Sprintf("one of %s", plural(j.NP, "rank"))
		j.NP--
		j.top = j.NP
		j.MinNP = min(j.MinNP, j.top)
	default:
		j.Spares--
	}
	j.note("pid %d on %s, to be %s, %s: the job goes on without it", c.pid, c.host, what, oneLine(why))
	c.released = true
	j.slots[c.slot].retired, j.slots[c.slot].startAt = true, time.Time{}
	if c.alive() {
		j.do(actSignal{c.member, syscall.SIGTERM})
	}
}

// policy is how many ranks there are to be. While a job grows the ranks that it has train.
func (j *job) policy() rendezvous.Policy {
	p := rendezvous.Policy{Min: j.NP, Max: j.NP}
	if j.elastic() && j.gen.ID > 0 { // fewer train while others are on their way
		p.Min, p.Settle = j.MinNP, growSettle
		return p
	}
	if j.grows() {
		p.Min, p.Settle = len(j.gen.Members), growSettle
	}
	return p
}

// ripens is when a rank that makes the job bigger has waited for others for long enough;
// zero where it isn't one.
func (j *job) ripens(c *candidate) time.Time {
	if j.phase != training || !j.grows() || !c.registered || c.exited || c.released || j.ranked(c) {
		return time.Time{}
	}
	return c.since.Add(growSettle << min(j.slots[c.slot].failures, 6))
}

// release lets go of who was part of the generation before, lives, and is not part of this
// one. They end by themselves once they hear of it.
func (j *job) release(before rendezvous.Generation) {
	for _, m := range before.Members {
		c := j.members[m.ID]
		if _, stays := j.gen.Rank(m.ID); stays || !j.gen.Planned {
			continue
		}
		c.released = true
		j.slots[c.slot].retired = true
	}
	j.trim()
}
