package launcher

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
)

// An elastic job has as many ranks as its hosts have slots for, from MinNP up to MaxNP. It
// loses a host: it goes on with fewer. A host joins: it grows, after a step that all ranks
// complete. With less than MinNP it waits for hosts, and at last ends as it can be resumed.

const (
	// closeWithin bounds the step after which ranks save the last checkpoint.
	closeWithin = 30 * time.Second
	// coolFirst is how long a host that was lost is left alone. It doubles with each loss, so
	// that one that comes and goes doesn't keep the others from training.
	coolFirst = time.Second
	coolMost  = 5 * time.Minute
	// steadyFor is how long a host must have been there for its losses to be forgotten.
	steadyFor = 10 * time.Minute
	// unbounded is the room of a host that takes as many as it is given.
	unbounded = 1 << 20
)

// stay is what the job remembers of a host.
type stay struct {
	agent    string    // the name of the agent that counts; "" for the host's own
	lost     time.Time // when it was, last
	up       time.Time // since when it is there; zero for since the start
	losses   int       // that are not forgotten
	draining bool      // it is to have no ranks
	leaves   bool      // it is about to go, and its agent ends once it has none
	told     bool      // that it has none
}

// cool is when a host that was lost may be used again.
func (s *stay) cool() time.Time {
	return s.lost.Add(min(coolFirst<<min(max(s.losses-1, 0), 20), coolMost))
}

// elastic says whether the number of ranks follows from the slots that there are.
func (j *job) elastic() bool { return j.MinNP > 0 && !j.fixed }

// stayAt is what is remembered of a host by number.
func (j *job) stayAt(site int) *stay {
	s := j.stays[site]
	if s == nil {
		s = &stay{}
		j.stays[site] = s
	}
	return s
}

// siteOf is the number of the host whose agent goes by a name; -1 for none. That of an
// agent whose place another has taken is none.
func (j *job) siteOf(agent string) int {
	for site, host := range j.Sites {
		if s := j.stays[site]; s != nil && s.agent != "" {
			host = s.agent
		}
		if host == agent {
			return site
		}
	}
	return -1
}

// usable says whether ranks may be started on a host.
func (j *job) usable(site int) bool {
	_, gone := j.lost[site]
	s := j.stays[site]
	return !gone && (s == nil || !s.draining)
}

// room is how many ranks the hosts take.
func (j *job) room() int {
	total := 0
	for site, n := range j.Capacity {
		switch {
		case !j.usable(site):
		case n == 0 || j.Oversubscribe && !j.elastic():
			return unbounded
		default:
			total += n
		}
	}
	return total
}

// leaving says whether a rank is to make room: its host is, or it is too slow.
func (j *job) leaving(c *candidate) bool {
	s := j.stays[j.slots[c.slot].site]
	return !c.exited && (c.evicted || s != nil && s.draining)
}

// staying is how many of the generation's ranks are on hosts that they may stay on.
func (j *job) staying() (n int) {
	for _, m := range j.gen.Members {
		if c := j.members[m.ID]; !j.leaving(c) {
			n++
		}
	}
	return n
}

// adapt has the number of ranks follow from the slots, and starts what is missing.
func (j *job) adapt(now time.Time) {
	if j.phase != training || j.gen.ID == 0 || j.suspect != nil || j.closing > 0 {
		return
	}
	if j.elastic() {
		room := j.room()
		fit := min(j.top, max(room-j.Spares, min(room, j.MinNP)))
		switch {
		case fit >= j.MinNP && !j.short.IsZero():
			j.short = time.Time{}
			j.note("there are slots for %s: going on", plural(fit, "rank"))
		case fit < j.MinNP && j.short.IsZero():
			j.short = now
			j.note("the hosts that are left have %s and --min-np is %d: waiting up to %v for hosts", plural(room, "slot"), j.MinNP, j.ElasticTimeout)
		}
		j.NP = max(fit, j.MinNP)
	}
	if j.elastic() || j.drains() {
		j.fill(now)
	}
}

// fill starts as many candidates as are missing, as far as there is room, and forgets those
// that there is no room for.
func (j *job) fill(now time.Time) {
	allowed, active := min(j.NP+j.Spares, j.room()), 0
	for i := range j.slots {
		s := &j.slots[i]
		c := s.current
		if s.retired || c == nil || c.evicted && !c.exited || !j.usable(s.site) && !(c.exited && !s.startAt.IsZero()) {
			continue
		}
		if c.exited && s.startAt.IsZero() && c.finished != j.gen.ID {
			continue // nobody takes its place
		}
		active++
	}
	for i := len(j.slots) - 1; i >= 0 && active > allowed; i-- {
		if s := &j.slots[i]; !s.retired && s.current.exited && !s.startAt.IsZero() {
			s.retired, s.startAt = true, time.Time{}
			active--
		}
	}
	if active > allowed {
		j.trim()
	}
	j.add(allowed-active, now)
}

// starveAt is when a job without enough slots ends; zero for never.
func (j *job) starveAt() time.Time {
	if j.short.IsZero() {
		return j.short
	}
	return j.short.Add(j.ElasticTimeout)
}

// starves ends a job that has waited for hosts in vain: ranks that live form a last
// generation, save after its first step, and end.
func (j *job) starves(now time.Time) {
	cause := Cause{
		Rank: -1, Host: j.Host, Step: j.steps, Kind: control.KindHost,
		Detail: fmt.Sprintf("found slots for %d of the %s that --min-np wants, and waited %v for hosts", j.room(), plural(j.MinNP, "rank"), j.ElasticTimeout),
	}
	alive := 0
	for _, m := range j.gen.Members {
		if c := j.members[m.ID]; !c.exited && c.failure == nil {
			alive++
		}
	}
	if alive == 0 || !j.Checkpoint {
		j.fail(cause, control.StatusTemporary, now)
		return
	}
	j.note("no hosts came within %v: %s that are left save a checkpoint and end", j.ElasticTimeout, plural(alive, "rank"))
	j.NP, j.MinNP, j.top = alive, alive, alive
	j.short = time.Time{}
	j.last, j.closing, j.closeBy = cause, j.gen.ID+1, now.Add(closeWithin)
	j.dropStarts()
}

// closes has ranks save and end, once they have done a step together or can't.
func (j *job) closes(now time.Time) {
	if j.phase == training {
		j.fare(j.last, now)
	}
}

// fare ends the job well: ranks save a checkpoint after the same step, and it can go on from
// there.
func (j *job) fare(cause Cause, now time.Time) {
	j.cause, j.status = &cause, control.StatusTemporary
	j.cause.Step = j.steps
	j.stop(now, control.Command{Stop: true, Checkpoint: j.Checkpoint, Why: oneLine(cause.String())})
}

// hostUp takes in a host whose agent is ready: a new one, or one that was lost and is back.
func (j *job) hostUp(e evHostUp, now time.Time) {
	site := slices.Index(j.Sites, e.host)
	_, gone := j.lost[site]
	if j.phase != training || !j.elastic() || site >= 0 && !gone {
		j.do(actDismiss{e.agent})
		return
	}
	how := "has joined"
	if site < 0 {
		site = len(j.Sites)
		j.Sites, j.Capacity = append(j.Sites, e.host), append(j.Capacity, 0)
	} else {
		how = "is back"
		delete(j.lost, site)
	}
	s := j.stayAt(site)
	j.Capacity[site], s.agent, s.up = e.slots, e.agent, now
	s.draining, s.leaves, s.told = false, false, false // else nobody had asked it
	j.do(actUse{e.host, e.agent, e.hello})
	j.note("host %s %s with %s", e.host, how, plural(e.slots, "slot"))
}

// strike counts that a host was lost, for how long it is left alone.
func (j *job) strike(site int, now time.Time) {
	s := j.stayAt(site)
	from := s.up
	if from.IsZero() {
		from = j.started
	}
	if now.Sub(from) >= steadyFor {
		s.losses = 0
	}
	s.losses++
	s.lost = now
}

// A recruiting is what hosts a job looks for.
type recruiting struct {
	slots  int
	except map[string]bool // hosts that it has, or wants to leave alone
}

// recruits says what hosts the job looks for now: none where it has what it may have.
func (j *job) recruits(now time.Time) (r recruiting) {
	if j.phase != training || !j.elastic() || j.gen.ID == 0 || j.closing > 0 {
		return r
	}
	r.slots = max(j.top+j.Spares-j.room(), 0)
	r.except = map[string]bool{}
	for site, host := range j.Sites {
		s := j.stayAt(site)
		if _, gone := j.lost[site]; !gone || s.draining || now.Before(s.cool()) {
			r.except[host] = true
		}
	}
	return r
}

// shortText names the hosts that ranks can be on.
func (j *job) shortText() string {
	var names []string
	for site, host := range j.Sites {
		if j.usable(site) {
			names = append(names, fmt.Sprintf("%s:%d", host, j.Capacity[site]))
		}
	}
	if len(names) == 0 {
		return "no host"
	}
	return strings.Join(names, " ")
}
