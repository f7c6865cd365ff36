package launcher

import (
	"fmt"
	"syscall"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
)

// Of a rank that lives and keeps others waiting, and of one that writes a file, more patience
// is had than of one that gives no sign of life: so many times as much.
const (
	stallWorks = 12
	stallSaves = 60
)

// dumpFor is how long a hung rank has to write down where it is, after SIGQUIT.
const dumpFor = time.Second

// stalls is what ranks were heard of, to tell which of them hangs. It is used by one
// goroutine, and knows no clock.
type stalls struct {
	limit time.Duration // without a sign of life; 0: nobody ever hangs
	heard map[string]sign
}

// sign is a rank's last sign of life.
type sign struct {
	at    time.Time
	pulse control.Pulse
}

func newStalls(limit time.Duration) *stalls { return &stalls{limit, map[string]sign{}} }

// every is how often to look.
func (s *stalls) every() time.Duration {
	if s.limit <= 0 {
		return time.Hour
	}
	return control.PulseEvery(s.limit) / 2
}

func (s *stalls) hear(p control.Pulse, now time.Time) { s.heard[p.Member] = sign{now, p} }

// where is what a rank is at that keeps others waiting.
var where = map[control.Doing]string{control.Works: "is in its own code", control.Saves: "writes a file"}

// find says which ranks hang. A rank does where others have to wait for it: either it gives
// no sign of life and some rank that does is held up, or others wait, and it is long about
// its own. Where nobody is held up, or all are, nobody hangs.
func (s *stalls) find(j *job, now time.Time) []event {
	if s.limit <= 0 || j.phase != training || j.gen.ID == 0 {
		return nil
	}
	heldUp, waiting := false, false
	var silent, busy []event
	for _, m := range j.gen.Members {
		c := j.members[m.ID]
		if c.exited || c.failure != nil || c.stalled != "" {
			return nil // the next generation is on its way
		}
		h, known := s.heard[m.ID]
		if !known || h.at.Before(j.since) {
			h = sign{at: j.since, pulse: control.Pulse{Doing: control.Waits}}
			s.heard[m.ID] = h
		}
		quiet := now.Sub(h.at)
		held := h.pulse.For() + quiet
		switch {
		case quiet >= s.limit*8/10: // it is to be named within the limit
			silent = append(silent, evStalled{m.ID, fmt.Sprintf("gave no sign of life for %v (is it stopped?)", round(quiet)), true})
		case h.pulse.Doing == control.Waits:
			waiting = waiting || held >= s.limit/2
		case h.pulse.Doing == control.Works && held >= stallWorks*s.limit, held >= stallSaves*s.limit:
			busy = append(busy, evStalled{m.ID, fmt.Sprintf("kept others waiting for %v (it %s)", round(held), where[h.pulse.Doing]), false})
		}
		heldUp = heldUp || quiet < s.limit/2 && held >= s.limit/2
	}
	var found []event
	if heldUp {
		found = append(found, silent...)
	}
	if waiting {
		found = append(found, busy...)
	}
	return found
}

// round keeps what people want to know of how long something hung.
func round(d time.Duration) time.Duration {
	if d > 10*time.Second {
		return d.Round(time.Second)
	}
	return d.Round(10 * time.Millisecond)
}

// stall ends a rank that hangs, so that another takes its place. One that lives says before
// where it is.
func (j *job) stall(e evStalled, now time.Time) {
	c := j.members[e.member]
	if c == nil || c.exited || c.released || c.stalled != "" || c.generation != j.gen.ID || j.phase != training {
		return
	}
	c.stalled, c.killAt = e.why, now
	j.outage.begin(j.gen.ID, now)
	if !e.silent {
		cause, _ := causeOf(c, j.steps)
		j.note("%s: where it is follows, then it is ended", oneLine(cause.String()))
		c.killAt = now.Add(dumpFor)
		j.do(actSignal{c.member, syscall.SIGQUIT})
	}
}

// killStalled ends those that have had the time to say where they are.
func (j *job) killStalled(due func(time.Time) bool) {
	for _, c := range j.candidates() {
		if c.stalled != "" && !c.exited && due(c.killAt) {
			c.killAt = time.Time{}
			j.do(actSignal{c.member, syscall.SIGKILL})
		}
	}
}

// stalled has all keepers know of ranks that hang.
func (k *keeper) stalled() {
	k.mu.Lock()
	var found []event
	if k.s.job != nil && k.leads.Load() {
		found = k.s.stalls.find(k.s.job, k.time())
	}
	k.mu.Unlock()
	for _, e := range found {
		_ = k.propose(e) // who leads then finds it too
	}
}
