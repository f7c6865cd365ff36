package launcher

import (
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
)

// drains says whether ranks are to leave: their host, or for being slow.
func (j *job) drains() bool {
	for site, s := range j.stays {
		if _, gone := j.lost[site]; s.draining && !gone {
			return true
		}
	}
	return j.evicts()
}

// mayDrain says why ranks can't leave a host, nil if they can, and whether they have.
func (j *job) mayDrain(host string) (done bool, err error) {
	site := slices.Index(j.Sites, host)
	if _, gone := j.lost[site]; site < 0 || gone {
		return false, absent{refuse("it uses %s", j.shortText())}
	}
	switch {
	case j.phase != training:
		return false, refuse("the job is about to end")
	case j.gen.ID == 0:
		return false, refuse("its ranks have not begun to train, or never call worker.Run: only a job that trains can leave a host")
	}
	s := j.stayAt(site)
	was := s.draining
	s.draining = true
	room, left := j.room(), j.shortText()
	s.draining = was
	need, remedy := j.NP, "--min-np allows fewer, --oversubscribe more on a host"
	if j.elastic() {
		need, remedy = j.MinNP, "--min-np allows fewer"
	}
	if room < need {
		return false, refuse("%s without host %s: there is %s: add a host, or start the job anew: %s", plural(need, "rank"), host, left, remedy)
	}
	return s.told, nil
}

// drain has ranks leave a host, after a step that all complete, or lets them come back.
// Where the host is about to go, and there is no room elsewhere, the job saves and ends.
func (j *job) drain(e evDrain, now time.Time) {
	site := slices.Index(j.Sites, e.host)
	if e.leaves {
		site = j.siteOf(e.host)
	}
	if site < 0 || j.phase != training {
		return
	}
	host, s := j.Sites[site], j.stayAt(site)
	if e.undo {
		if s.draining && !s.leaves {
			s.draining, s.told = false, false
			j.note("gorun drain --undo (%s): host %s may be used again", e.by, host)
		}
		return
	}
	_, err := j.mayDrain(host)
	switch {
	case s.draining && (s.leaves || !e.leaves):
		return
	case err != nil && !e.leaves:
		return // it was refused, or is about to be
	case err != nil && (j.gen.ID == 0 || j.elsewhere(site)):
		j.do(actEnd{host}) // as if it were lost: others that there are do what they can
		return
	case err != nil:
		j.note("host %s is about to go (%s), and there is no room elsewhere: ranks end after the same step", host, e.by)
		j.fare(Cause{Rank: -1, Host: host, Step: j.steps, Kind: control.KindStopped, Detail: "was stopped: host " + host + " is about to go, and there is no room elsewhere"}, now)
		return
	}
	s.draining, s.leaves, s.told = true, e.leaves, false
	n := 0
	for _, c := range j.candidates() {
		if j.leaving(c) && j.slots[c.slot].site == site {
			n++
		}
	}
	j.note("host %s is to be left (%s): its %s move to other hosts, or the job becomes smaller", host, e.by, plural(n, "rank"))
	for i := range j.slots { // who has no rank goes at once
		if c := j.slots[i].current; c != nil && j.leaving(c) && !j.ranked(c) {
			j.dismiss(c)
		}
	}
}

// elsewhere says whether ranks can be on another host.
func (j *job) elsewhere(than int) bool {
	for site := range j.Sites {
		if site != than && j.usable(site) {
			return true
		}
	}
	return false
}

// drainedNote is what is said of a host that ranks have left.
const drainedNote = " is drained: none of the job's ranks is left there"

// hasLeft is why a host is gone whose ranks have left it.
const hasLeft = "it has left"

// emptied says that hosts have no ranks any more, and lets agents end whose hosts go.
func (j *job) emptied(now time.Time) {
	for site := range j.Sites {
		s := j.stays[site]
		if _, gone := j.lost[site]; s == nil || !s.draining || s.told || gone {
			continue
		}
		if slices.ContainsFunc(j.candidates(), func(c *candidate) bool { return j.slots[c.slot].site == site && !(c.exited && c.drained) }) {
			continue
		}
		s.told = true
		j.note("host %s%s", j.Sites[site], drainedNote)
		if s.leaves {
			j.lost[site] = hasLeft
			s.draining, s.leaves, s.lost, s.losses = false, false, now, 0
			j.do(actEnd{j.Sites[site]})
		}
	}
}

// moved says whether all that take the places of ranks that leave are there.
func (j *job) moved() bool {
	ready := 0
	for _, m := range j.gen.Members {
		if c := j.members[m.ID]; !c.exited && c.failure == nil && !j.leaving(c) {
			ready++
		}
	}
	for _, i := range j.beside() {
		if c := j.slots[i].current; c.registered && !c.exited && !c.released && c.failure == nil && !j.leaving(c) {
			ready++
		}
	}
	return ready >= j.NP
}

// dismiss ends a candidate that has no rank.
func (j *job) dismiss(c *candidate) {
	c.released = true
	j.slots[c.slot].retired, j.slots[c.slot].startAt = true, time.Time{}
	if c.alive() {
		j.do(actSignal{c.member, syscall.SIGTERM})
	}
}

// recall has ranks stay on hosts that they were to leave: who was to take their places
// can't.
func (j *job) recall() {
	var hosts []string
	for site, host := range j.Sites {
		if s := j.stays[site]; s != nil && s.draining && !s.leaves && !s.told {
			s.draining = false
			hosts = append(hosts, host)
		}
	}
	if len(hosts) > 0 {
		j.note("ranks stay on %s, which is not drained", strings.Join(hosts, ", "))
	}
	j.spareSlow()
}
