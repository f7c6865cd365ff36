package launcher

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/internal/rendezvous"
)

// gangish says whether the program may do without joining.
func (j *job) gangish() bool { return j.Gang || !j.Source }

func (j *job) hasJoined() bool { return !j.joined.IsZero() }

// candidates yields the current candidate of each slot.
func (j *job) candidates() []*candidate {
	var all []*candidate
	for i := range j.slots {
		if c := j.slots[i].current; c != nil {
			all = append(all, c)
		}
	}
	return all
}

// ranked says whether a candidate is part of the generation, or of the first that is to be.
func (j *job) ranked(c *candidate) bool {
	if j.gen.ID == 0 {
		return c.slot < j.NP
	}
	return c.generation == j.gen.ID || j.gen.Done && c.generation == j.gen.ID-1
}

// spare is a candidate that waits to take a rank's place.
func (j *job) spare() *candidate {
	for _, c := range j.candidates() {
		if c.registered && !c.exited && c.failure == nil && !j.ranked(c) {
			return c
		}
	}
	return nil
}

// start starts the next candidate of a slot.
func (j *job) start(i int, now time.Time) {
	s := &j.slots[i]
	s.started++
	s.startAt = time.Time{}
	if !j.usable(s.site) {
		s.site = j.refuge()
	}
	c := &candidate{member: memberID(i, s.started), slot: i, rank: i, host: j.Sites[s.site], started: now, since: now}
	if j.hasJoined() {
		c.settles = now.Add(settleIn)
	}
	if old := s.current; old != nil {
		c.rank = old.rank
		if !slices.ContainsFunc(j.gen.Members, func(m rendezvous.Member) bool { return m.ID == old.member }) && old.drained {
			delete(j.members, old.member)
		}
	}
	s.current = c
	j.members[c.member] = c
	j.do(actStart{member: c.member, slot: i, attempt: j.attempt, place: j.placeOf(i)})
	if c.rank != i {
		j.do(actLabel{c.member, c.rank})
	}
}

func (j *job) startAll(now time.Time) {
	for i := range j.slots {
		j.start(i, now)
	}
}

func (j *job) register(m rendezvous.Member, now time.Time) {
	c := j.members[m.ID]
	if c == nil || c.exited || c.registered || j.phase >= restarting {
		return
	}
	if j.Gang {
		j.fail(Cause{Rank: c.rank, Host: c.host, PID: c.pid, Kind: control.KindLaunch, member: c.member, Detail: "called worker.Run although --gang says that no rank does: leave out --gang"}, control.StatusUsage, now)
		return
	}
	m.Slot = c.slot // the launcher's word counts
	if m.PID == 0 {
		m.PID = c.pid
	}
	c.registered, c.record, c.since = true, m, now
	if j.hasJoined() {
		return
	}
	j.joined = now
	for _, other := range j.candidates() { // those that ended before it was clear that ranks join
		if other.exited && other.end.status == 0 {
			j.blame(other, now)
			return
		}
	}
}

func (j *job) report(r control.Report) {
	if c := j.members[r.Member]; c != nil {
		c.step = max(c.step, r.Step)
	}
	j.steps = max(j.steps, r.Step)
	j.epochs = max(j.epochs, r.Epoch)
	j.fixed = j.fixed || r.Fixed
	j.again.heard(r.Generation, r.Step)
}

func (j *job) failed(f control.Failure, now time.Time) {
	c := j.members[f.Member]
	if c == nil || c.exited || c.released {
		return
	}
	if f.Kind == control.KindHelp {
		if j.phase == training {
			j.stop(now, control.Command{Stop: true, Why: f.Detail})
		}
		return
	}
	own := true
	if f.Blame != nil && f.Generation == j.gen.ID && *f.Blame >= 0 && *f.Blame < len(j.gen.Members) {
		c = j.members[j.gen.Members[*f.Blame].ID]
		own = c.member == f.Member
	}
	if own || c.failure == nil {
		c.failure, c.since = &f, now
	}
	if own && j.cause != nil && j.cause.member == c.member && j.cause.Kind == f.Kind {
		j.cause.Detail = verb(f.Kind) + f.Detail // it knows best
	}
	if f.Saved != "" {
		j.saved = f.Saved
	}
	if deterministic(f) && !j.dispensable(c) { // else its end says so
		j.blame(c, now)
	}
}

// stranded has the ranks connect anew, unless that has not helped before.
func (j *job) stranded(s control.Stranded, now time.Time) {
	c := j.members[s.Member]
	if c == nil || c.exited || j.phase != training {
		return
	}
	j.unlink(s, now) // what is late says it too
	if c.exited || s.Generation != j.gen.ID || j.phase != training {
		return
	}
	c.stranded = s.Generation
	if j.anew = oneLine(s.Why); j.anew != "" {
		return // the ranks count themselves
	}
	if j.steps > j.stuckAt || j.stuckFrom == 0 {
		j.stuckAt, j.stuckFrom = j.steps, s.Generation
	}
	if tried := s.Generation - j.stuckFrom; tried >= mostStranded {
		j.fail(Cause{
			Rank: c.rank, Host: c.host, PID: c.pid, Step: j.steps, Kind: control.KindLost, member: c.member,
			Detail: fmt.Sprintf("lost its connections again after connecting anew %d times without a step between: %s", tried, s.Detail),
		}, control.StatusTemporary, now)
	}
}

func (j *job) finish(f control.Finish, now time.Time) {
	c := j.members[f.Member]
	if c == nil {
		return
	}
	if f.Generation < c.finished {
		return // it was sent before the one that is known, and has come late
	}
	c.finished, c.summary, c.since = f.Generation, f.Summary, now
	j.steps = max(j.steps, f.Step)
	c.step = max(c.step, f.Step)
	if j.phase != training || j.gen.ID == 0 {
		return
	}
	for _, m := range j.gen.Members {
		if j.members[m.ID].finished != j.gen.ID {
			return
		}
	}
	next := rendezvous.Generation{ID: j.gen.ID + 1, Members: j.gen.Members, Why: "every rank has finished", Done: true}
	j.do(actCommit{j.gen.ID, next})
	j.gen = next
	j.phase = finishing
	j.dropStarts()
	j.killAt = now.Add(j.Grace)
	for _, c := range j.candidates() {
		if c.alive() && !c.registered { // a spare that is still on its way
			j.do(actSignal{c.member, syscall.SIGTERM})
		}
	}
}

func (j *job) exited(c *candidate, end ending, now time.Time) {
	if c.exited {
		return
	}
	c.exited, c.end, c.since = true, end, now
	switch {
	case j.phase == stopping || j.phase == restarting || c.released:
	case j.phase == finishing:
		if end.status != 0 && end.lost == "" && !j.killed(now) && j.ranked(c) {
			j.blame(c, now)
		}
	case j.hasJoined():
		if end.status != 0 || c.failure != nil || c.finished != j.gen.ID || j.gen.ID == 0 {
			j.replace(c, now)
		}
	case end.status == 0 && c.failure == nil && j.gangish():
	case j.gangish() && j.GangRestarts && j.restarts < j.Restarts:
		j.restarts++
		c.remedy = fmt.Sprintf("starting all ranks anew (restart %d of %d)", j.restarts, j.Restarts)
		j.phase = restarting
		j.killAt = now.Add(j.Grace)
		j.signalAll(syscall.SIGTERM)
	default:
		j.blame(c, now)
	}
}

// replace starts a joined rank anew, or ends the job where that is not allowed or no use.
func (j *job) replace(c *candidate, now time.Time) {
	f := c.failure
	useless := f == nil && c.end.status == 0 || f != nil && deterministic(*f)
	switch {
	case j.dispensable(c) && (useless || j.restarts >= j.Restarts && c.end.lost == ""):
		cause, _ := causeOf(c, 0)
		j.giveUp(c, cause.Detail)
		return
	case useless:
		j.blame(c, now)
		return
	}
	if !j.dispensable(c) && c.ownFault() {
		if n := j.again.fails(c.generation, j.slots[c.slot].started, j.steps); n >= mostAgain {
			cause, status := causeOf(c, j.steps)
			cause.Times = n
			j.fail(cause, status, now)
			return
		}
	}
	if j.restarts >= j.Restarts && c.end.lost == "" {
		if f != nil && f.Kind == control.KindLost {
			if j.suspect == nil {
				cause, status := causeOf(c, j.steps)
				j.suspect, j.suspectS = &cause, status
				j.blameAt = now.Add(settleLost)
			}
			return
		}
		j.blame(c, now)
		return
	}
	if now.Sub(c.started) > longestPause { // it lived: what has ended it is another thing
		j.slots[c.slot].failures = 0
	}
	if c.end.lost == "" { // a host that is lost counts once, whatever it held
		j.restarts++
	}
	s := &j.slots[c.slot]
	if c.end.lost == "" { // nor is it the slot's failure
		s.failures++
	}
	s.startAt = now.Add(backOff(s.failures))
	if j.ranked(c) {
		j.outage.begin(j.gen.ID, now)
	}
	c.remedy = fmt.Sprintf("starting it anew (restart %d of %d)", j.restarts, j.Restarts)
	if j.ranked(c) && j.spare() != nil {
		c.remedy = fmt.Sprintf("a spare takes its place, another is started (restart %d of %d)", j.restarts, j.Restarts)
	}
	for i := range j.slots { // who finished and left before it was known that all had is needed again
		if o := j.slots[i].current; o.exited && j.slots[i].startAt.IsZero() && !j.slots[i].retired {
			j.slots[i].startAt = now
		}
	}
}

func (j *job) drained(c *candidate, t tail) {
	if c.drained {
		return
	}
	c.drained, c.tail = true, t
	cause, status := causeOf(c, j.steps)
	if c.remedy != "" {
		j.note("%s: %s", oneLine(cause.String()), c.remedy)
	}
	// Its last words may say more than its status did.
	if j.cause != nil && j.cause.member == c.member && c.end.signal == 0 && j.cause.Kind == control.KindExit {
		cause.Times = j.cause.Times
		j.cause, j.status = &cause, status
	} else if j.cause != nil && j.cause.member == c.member {
		j.cause.Stderr = t.lines
	}
}

// mustRegister is when a candidate has to have registered; zero for never.
func (j *job) mustRegister(c *candidate) time.Time {
	if c.registered || c.exited || c.released || j.phase != training {
		return time.Time{}
	}
	from := c.started
	if j.gangish() {
		if !j.hasJoined() {
			return time.Time{}
		}
		if j.joined.After(from) {
			from = j.joined
		}
	}
	return from.Add(j.StartTimeout)
}

// regroup commits the next generation if there is to be one.
func (j *job) regroup(now time.Time) {
	if j.phase != training || !j.hasJoined() {
		return
	}
	leave := j.drains() && j.moved()
	var seen []rendezvous.Sighting
	for _, c := range j.members {
		if j.gen.ID == 0 && c.slot >= j.NP {
			continue // so that it starts as it was placed
		}
		if c.registered && !c.released && (j.slots[c.slot].current == c || c.generation == j.gen.ID) {
			state := c.state()
			if leave && state == rendezvous.Registered && j.leaving(c) {
				state = rendezvous.Leaving
			}
			seen = append(seen, rendezvous.Sighting{
				Member: c.record, By: j.Host, State: state, Since: c.since, Failures: j.slots[c.slot].failures, Stranded: c.stranded,
			})
		}
	}
	slices.SortFunc(seen, func(a, b rendezvous.Sighting) int { return strings.Compare(a.Member.ID, b.Member.ID) })
	next, why, ok := rendezvous.Next(j.gen, seen, now, j.policy())
	if !ok {
		return
	}
	switch {
	case j.anew == "":
	case slices.Equal(next.Members, j.gen.Members):
		why = j.anew
	default:
		why += "; " + j.anew
	}
	j.anew = ""
	next.Why = why
	j.do(actCommit{j.gen.ID, next})
	if j.gen.ID > 0 {
		j.note("generation %d: %s", next.ID, why)
	}
	before := j.gen
	j.gen, j.since = next, now
	j.release(before)
	for r, m := range next.Members {
		c := j.members[m.ID]
		c.generation = next.ID
		if c.rank != r {
			c.rank = r
			j.do(actLabel{c.member, r})
		}
	}
}
