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

// rules is what a job may do.
type rules struct {
	Job           string
	Host          string   // the launcher's
	Sites         []string // hosts by number, the launcher's alone where empty
	Placed        []int    // host of each slot at the start
	Capacity      []int    // slots of each host; 0: as many as it takes
	NP            int
	Spares        int  // ranks more that are started, and wait to take the place of a dead one
	Oversubscribe bool // more ranks than slots are fine
	Restarts      int  // processes; of a gang: the gang
	GangRestarts  bool // Restarts applies to gangs
	Gang          bool // the ranks never join
	Source        bool // built from Go source: expected to join unless Gang
	StartTimeout  time.Duration
	Grace         time.Duration
	Checkpoint    bool // there is a folder for checkpoints
	// An elastic job has from MinNP to MaxNP ranks; both are 0 for one that is not.
	MinNP, MaxNP   int
	ElasticTimeout time.Duration // below MinNP, until it ends
	EvictSlow      float64       // a rank that works so many times as long as others is replaced; 0: never
}

// phase is where a job is between its start and its end.
type phase uint8

const (
	training   phase = iota
	finishing        // every rank has finished; processes may still end on their own
	restarting       // a gang's remains are being stopped before it starts anew
	stopping         // the verdict is known; processes are being stopped
	over
)

const (
	// settleLost is how long a rank that lost its peers waits to be blamed: the one that
	// really failed is likely to be heard of within it.
	settleLost = 500 * time.Millisecond
	// drainBound ends the wait for processes that even SIGKILL doesn't end, and for output
	// that processes outside the group hold open.
	drainBound = 2 * time.Second
	// mostStranded is how many generations may fail for their connections alone before a
	// step is done.
	mostStranded = 3
)

// job is one job from first rank to verdict. It only decides: it is told of events and the
// time, and says what to do. It reads no clock and touches no process, file or socket.
type job struct {
	rules
	started time.Time
	handled time.Time // of the last event
	phase   phase
	slots   []slot
	members map[string]*candidate // by member ID, dead ones too
	gen     rendezvous.Generation // the newest committed
	since   time.Time             // of that
	joined  time.Time             // when the first rank registered; zero if none has
	attempt int                   // of a gang, from 1

	lost      map[int]string // hosts that are gone, and why
	stays     map[int]*stay
	top       int       // ranks that an elastic job grows to
	short     time.Time // since when it has too few slots; zero if it hasn't
	closing   uint64    // the generation whose ranks save and end; 0 for none
	closeBy   time.Time
	last      Cause // of their end
	restarts  int
	evictions int
	steps     int
	epochs    int
	fixed     bool // what a step is depends on the number of ranks
	saved     string
	stuckAt   int               // steps done when a rank was first stranded there
	anew      string            // why the ranks want to start over
	stuckFrom uint64            // the generation then
	broken    map[link][]uint64 // the generations in which a link has failed, since brokenAt
	brokenAt  int               // steps done
	again     again
	outage    outage
	cause     *Cause
	status    int
	suspect   *Cause // lost its peers, and nobody else is to blame yet
	suspectS  int
	blameAt   time.Time
	stopped   syscall.Signal
	asked     bool      // by a signal to gorun itself
	killAt    time.Time // when what remains is killed; zero for no plan to
	giveUpAt  time.Time // when waiting for the killed ends

	acts []act
}

func newJob(r rules, now time.Time) *job {
	if len(r.Sites) == 0 {
		r.Sites, r.Placed, r.Capacity = []string{r.Host}, make([]int, r.NP), []int{0}
	}
	r.Sites, r.Capacity = slices.Clone(r.Sites), slices.Clone(r.Capacity) // hosts may join
	j := &job{rules: r, started: now, members: map[string]*candidate{}, lost: map[int]string{}, stays: map[int]*stay{}, broken: map[link][]uint64{}, top: r.MaxNP, attempt: 1}
	for _, site := range r.Placed {
		j.slots = append(j.slots, slot{site: site})
	}
	for range r.Spares {
		j.slots = append(j.slots, slot{site: j.refuge()})
	}
	return j
}

// begin starts all candidates.
func (j *job) begin(now time.Time) []act {
	j.startAll(now)
	return j.take()
}

// handle is told of an event and says what to do about it.
func (j *job) handle(e event, now time.Time) []act {
	if r, ok := e.(evReported); ok && j.closing == 0 && r.report.Fixed == j.fixed && !j.outage.ends(r.report) {
		j.report(r.report) // there are many of them, and nothing else follows from one
		return j.take()
	}
	j.handled = now
	switch e := e.(type) {
	case evStarted:
		if c := j.members[e.member]; c != nil {
			c.pid = e.pid
		}
	case evNotStarted:
		c := j.members[e.member]
		if c == nil || c.exited {
			break
		}
		c.exited, c.drained = true, true
		if j.dispensable(c) {
			j.giveUp(c, "could not be started: "+e.err.Error())
			break
		}
		j.fail(Cause{Rank: c.rank, Host: c.host, Kind: control.KindLaunch, Detail: "could not be started: " + e.err.Error()}, control.StatusUsage, now)
	case evRegistered:
		j.register(e.member, now)
	case evReported:
		j.report(e.report)
		j.trains(e.report, now)
		if j.closing > 0 && e.report.Generation >= j.closing {
			j.closes(now)
		}
	case evFailed:
		j.failed(e.failure, now)
	case evFinished:
		j.finish(e.finish, now)
	case evStranded:
		j.stranded(e.stranded, now)
	case evSaved:
		j.saved = e.saved.Path
	case evSaid:
		if c := j.members[e.member]; c != nil {
			j.do(actNote{oneLine(e.line)})
		}
	case evExited:
		if c := j.members[e.member]; c != nil { // else its host was lost, and is back
			j.exited(c, e.end, now)
		}
	case evDrained:
		if c := j.members[e.member]; c != nil {
			j.drained(c, e.tail)
		}
	case evStalled:
		j.stall(e, now)
	case evSlow:
		j.slow(e, now)
	case evHostLost:
		j.hostLost(e.host, e.why, now)
	case evSignal:
		j.signalled(e, now)
	case evHostUp:
		j.hostUp(e, now)
	case evDrain:
		j.drain(e, now)
	case evResize:
		j.resize(e, now)
	case evBroken:
		j.fail(Cause{Rank: -1, Host: j.Host, Kind: control.KindLaunch, Detail: e.err.Error()}, control.StatusTemporary, now)
	case evTick:
	}
	j.adapt(now)
	j.clock(now)
	j.regroup(now)
	j.emptied(now)
	j.settle(now)
	return j.take()
}

// deadline is when handle must be called again, even without an event. Zero is never.
func (j *job) deadline() time.Time {
	first := time.Time{}
	earlier := func(t time.Time) {
		if t.After(j.handled) && (first.IsZero() || t.Before(first)) { // what was due then has been done, if it could be
			first = t
		}
	}
	earlier(j.killAt)
	earlier(j.giveUpAt)
	earlier(j.blameAt)
	if j.phase == training {
		earlier(j.starveAt())
		earlier(j.closeBy)
	}
	for i := range j.slots {
		earlier(j.slots[i].startAt)
		if c := j.slots[i].current; c != nil {
			earlier(j.mustRegister(c))
			earlier(j.ripens(c))
			earlier(c.killAt)
		}
	}
	return first
}

func (j *job) do(a act) { j.acts = append(j.acts, a) }

func (j *job) take() []act {
	acts := j.acts
	j.acts = nil
	return acts
}

func (j *job) note(format string, args ...any) { j.do(actNote{fmt.Sprintf(format, args...)}) }

// clock does what is due.
func (j *job) clock(now time.Time) {
	due := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	if due(j.blameAt) {
		j.fail(*j.suspect, j.suspectS, now)
	}
	if j.phase == training && due(j.starveAt()) {
		j.starves(now)
	}
	if due(j.closeBy) {
		j.closes(now)
	}
	for i := range j.slots {
		if due(j.slots[i].startAt) && j.phase == training {
			j.start(i, now)
		}
	}
	j.killStalled(due)
	var late []*candidate
	for _, c := range j.candidates() {
		switch {
		case !due(j.mustRegister(c)):
		case j.dispensable(c):
			j.giveUp(c, fmt.Sprintf("had not called worker.Run %v after it was started", j.StartTimeout))
		default:
			late = append(late, c)
		}
	}
	if len(late) > 0 {
		j.fail(lateCause(late, j.NP, j.StartTimeout), control.StatusTemporary, now)
	}
	if due(j.killAt) {
		if j.phase == finishing {
			for _, c := range j.candidates() {
				if c.alive() {
					j.note("rank %d (pid %d) had not ended %v after every rank had finished: killed; --grace allows more time", c.rank, c.pid, j.Grace)
				}
			}
		}
		j.killAt = time.Time{}
		j.giveUpAt = now.Add(drainBound)
		j.signalAll(syscall.SIGKILL)
	}
}

// settle ends a phase that waits for processes.
func (j *job) settle(now time.Time) {
	gone := true
	for _, c := range j.candidates() {
		gone = gone && c.exited && c.drained
	}
	gaveUp := !j.giveUpAt.IsZero() && !now.Before(j.giveUpAt)
	if !gone && !gaveUp {
		return
	}
	switch j.phase {
	case restarting:
		j.phase = training
		j.killAt, j.giveUpAt = time.Time{}, time.Time{}
		j.attempt++
		j.startAll(now)
	case stopping, finishing:
		j.phase = over
	case training:
		if !j.hasJoined() && j.gangish() { // all have ended with status 0
			j.phase = over
		}
	}
	if j.phase == over {
		j.killAt, j.giveUpAt = time.Time{}, time.Time{}
	}
}

// generations is how many there were: for a gang, how often it was started.
func (j *job) generations() uint64 {
	switch {
	case !j.hasJoined():
		return uint64(j.attempt)
	case j.gen.Done:
		return j.gen.ID - 1 // the last only says that the job is done
	default:
		return j.gen.ID
	}
}

// verdict is how the job has ended.
func (j *job) verdict(now time.Time) Verdict {
	v := Verdict{
		Job: j.Job, OK: j.cause == nil, Status: j.status, Cause: j.cause,
		Generations: j.generations(), Steps: j.steps, Restarts: j.restarts, Saved: j.saved,
		Seconds: now.Sub(j.started).Seconds(), Started: float64(j.started.UnixMicro()) / 1e6,
	}
	if j.stopped != 0 && j.stopped != syscall.SIGINT && j.Checkpoint && j.saved != "" {
		v.Status = control.StatusTemporary
	}
	if j.stopped != 0 {
		v.Cause.Step = j.steps
	}
	if v.OK && j.hasJoined() {
		v.Summary = j.summary(now)
	}
	return v
}

// summary is what a job that trained says last.
func (j *job) summary(now time.Time) string {
	var phrases []string
	if len(j.gen.Members) > 0 {
		phrases = append(phrases, j.members[j.gen.Members[0].ID].summary...)
	}
	if j.epochs > 0 {
		phrases = append(phrases, plural(j.epochs, "epoch"))
	} else if j.steps > 0 {
		phrases = append(phrases, plural(j.steps, "step"))
	}
	return oneLine(strings.Join(append(phrases, lasted(now.Sub(j.started))), " · "))
}
