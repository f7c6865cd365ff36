package launcher

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
)

// A slow rank keeps the others waiting at the end of each step, since its own part of it
// (reading samples, computing) takes it much longer than others theirs.

const (
	// slowFactor is how many times as long as others a rank must work to be told of.
	slowFactor = 2
	// leastEvict and mostEvict bound the factor for which a rank is replaced: less is noise.
	leastEvict = 1.5
	mostEvict  = 1000
	// slowLeast is what a rank's part of a step must take for it to matter, in milliseconds.
	slowLeast = 1.0
	// slowSteps and slowFor are for how long a rank must be slow, both.
	slowSteps = 50
	slowFor   = 5 * time.Second
	// paceFrom is how many steps of each rank there must be to compare them.
	paceFrom = 10
	// paceEvery is how often to look.
	paceEvery = time.Second
	// mostEvicted bounds the ranks that a job replaces for being slow: if that doesn't help,
	// the next one doesn't either.
	mostEvicted = 3
	// settleIn is how long a new process is left alone: it may have much to read at first.
	settleIn = time.Minute
)

// paces is how long each rank's own part of its last steps took, to tell which of them is
// slow. It is used by one goroutine, and knows no clock.
type paces struct {
	evict      float64 // from which factor on a rank is replaced; 0: never
	generation uint64  // shares of a step are equal in one only
	ranks      map[string]*pace
}

// pace is that of one rank.
type pace struct {
	own   [slowSteps]float64 // milliseconds, a ring
	steps int
	slow  spell // for a report
	late  spell // for an eviction
}

// spell is a time in which something holds, so far.
type spell struct {
	on    bool
	since time.Time
	from  int // the step
}

// is notes whether it holds, and says whether it has done so for long.
func (s *spell) is(on bool, steps int, now time.Time) (long bool) {
	if !on || !s.on {
		*s = spell{on, now, steps}
		return false
	}
	return steps-s.from >= slowSteps && now.Sub(s.since) >= slowFor
}

// slowness is what makes a rank a slow one.
type slowness struct {
	Member  string  `json:"member"`
	Own     float64 `json:"own"`     // the median of its part of a step, in milliseconds
	Typical float64 `json:"typical"` // the median of all ranks' medians
	Steps   int     `json:"steps"`   // in which it was so
	Evict   bool    `json:"evict,omitempty"`
}

func newPaces(evict float64) *paces { return &paces{evict: evict, ranks: map[string]*pace{}} }

// hear takes in a report. Those of a generation that has ended say nothing of this one.
func (p *paces) hear(r control.Report) {
	if r.Generation > p.generation {
		p.generation = r.Generation
		clear(p.ranks)
	}
	if r.Generation < p.generation {
		return
	}
	one := p.ranks[r.Member]
	if one == nil {
		one = &pace{}
		p.ranks[r.Member] = one
	}
	one.own[one.steps%slowSteps] = r.ComputeMS + r.InputMS
	one.steps++
}

// median is that of the last steps.
func (p *pace) median() float64 { return middle(p.own[:min(p.steps, slowSteps)]) }

// middle is the median: of two that are in the middle the lower, so that of two ranks the
// faster is the measure.
func middle(of []float64) float64 {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[(len(sorted)-1)/2]
}

// find says which ranks are slow, and have been for long.
func (p *paces) find(j *job, now time.Time) []event {
	members := j.gen.Members
	if j.phase != training || p.generation != j.gen.ID || len(members) < 2 {
		return nil
	}
	medians := make([]float64, len(members))
	for i, m := range members {
		one := p.ranks[m.ID]
		if one == nil || one.steps < paceFrom {
			return nil
		}
		medians[i] = one.median()
	}
	typical := middle(medians)
	var found []event
	for i, m := range members {
		one, own := p.ranks[m.ID], medians[i]
		slow := one.slow.is(own >= slowLeast && own >= slowFactor*typical, one.steps, now)
		late := one.late.is(p.evict > 0 && own >= slowLeast && own >= p.evict*typical, one.steps, now)
		c := j.members[m.ID]
		e := evSlow{slowness{Member: m.ID, Own: own, Typical: typical}}
		switch {
		case late && j.mayEvict(c, now):
			e.Evict, e.Steps = true, one.steps-one.late.from
		case slow && !c.slow:
			e.Steps = one.steps - one.slow.from
		default:
			continue
		}
		found = append(found, e)
	}
	return found
}

// text says it for people.
func (s slowness) text(c *candidate, ranks int) string {
	return fmt.Sprintf("rank %d (host %s, pid %d) is %.1f x slower than the median of %s for %s: %s of its own work a step instead of %s",
		c.rank, c.host, c.pid, s.Own/max(s.Typical, 0.001), plural(ranks, "rank"), plural(s.Steps, "step"), millis(s.Own), millis(s.Typical))
}

func millis(ms float64) string {
	if ms < 10 {
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.0f ms", ms)
}

// slow tells of a slow rank, once, or has another take its place.
func (j *job) slow(e evSlow, now time.Time) {
	c := j.members[e.Member]
	if c == nil || c.exited || c.generation != j.gen.ID || j.phase != training {
		return
	}
	text := e.text(c, len(j.gen.Members))
	if e.Evict {
		if j.mayEvict(c, now) {
			c.slow, c.evicted = true, true
			j.evictions++
			j.note("%s: another takes its place (%d of %d)", text, j.evictions, mostEvicted)
		}
		return
	}
	if c.slow {
		return
	}
	c.slow = true
	if j.EvictSlow > 0 && j.evictions >= mostEvicted {
		text += fmt.Sprintf(": it stays, %s were replaced before", plural(mostEvicted, "rank"))
	}
	j.note("%s", text)
}

// mayEvict says whether a rank may be replaced for being slow: not while the job is about to
// change anyway, not a process that has hardly begun, and not without end.
func (j *job) mayEvict(c *candidate, now time.Time) bool {
	if j.EvictSlow == 0 || j.evictions >= mostEvicted || now.Before(c.settles) || j.phase != training || j.closing > 0 || j.suspect != nil || j.grows() || j.drains() {
		return false
	}
	for _, m := range j.gen.Members {
		if o := j.members[m.ID]; o.exited || o.failure != nil || o.stalled != "" {
			return false
		}
	}
	return true
}

// evicts says whether a rank that lives is to be replaced for being slow.
func (j *job) evicts() bool {
	return slices.ContainsFunc(j.candidates(), func(c *candidate) bool { return c.evicted && !c.exited && !c.released })
}

// shuns says whether a rank is to leave a host for being slow there.
func (j *job) shuns(site int) bool {
	return slices.ContainsFunc(j.candidates(), func(c *candidate) bool {
		return c.evicted && !c.released && j.slots[c.slot].site == site
	})
}

// spareSlow has slow ranks stay: who was to take their places can't.
func (j *job) spareSlow() {
	for _, c := range j.candidates() {
		if c.evicted && !c.exited && !c.released {
			c.evicted, c.settles = false, j.handled.Add(settleIn)
			j.note("rank %d (host %s, pid %d) stays, slow as it is", c.rank, c.host, c.pid)
		}
	}
}

// roomier says whether a host is the better one for a new process: one with room that no
// rank leaves, else the one with the most room, or with the least beyond it.
func (j *job) roomier(room []int, a, b int) bool {
	free := func(site int) int {
		if room[site] > 0 && !j.shuns(site) {
			return 1
		}
		return 0
	}
	return cmp.Or(free(a)-free(b), room[a]-room[b]) > 0
}

// slowly has all keepers know of ranks that are slow.
func (k *keeper) slowly() {
	k.mu.Lock()
	var found []event
	if k.s.job != nil && k.leads.Load() {
		found = k.s.paces.find(k.s.job, k.time())
	}
	k.mu.Unlock()
	for _, e := range found {
		_ = k.propose(e) // who leads then finds it too
	}
}
