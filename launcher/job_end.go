package launcher

import (
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
)

// killed says whether the time has come at which what remains is killed.
func (j *job) killed(now time.Time) bool {
	return !j.giveUpAt.IsZero() || !j.killAt.IsZero() && !now.Before(j.killAt)
}

// blame makes a candidate's end, or its own word, the cause of the job's end.
func (j *job) blame(c *candidate, now time.Time) {
	cause, status := causeOf(c, j.steps)
	j.fail(cause, status, now)
}

// fail ends the job. The first cause counts: what fails later is a consequence of it.
func (j *job) fail(cause Cause, status int, now time.Time) {
	if j.cause != nil || j.phase == over {
		return
	}
	j.cause, j.status = &cause, status
	j.stop(now, control.Command{Stop: true, Why: oneLine(cause.String())})
	j.signalAll(syscall.SIGTERM)
}

// stop begins the end of all processes: they are asked, and killed when their time is over.
func (j *job) stop(now time.Time, c control.Command) {
	j.phase = stopping
	j.suspect, j.blameAt = nil, time.Time{}
	j.dropStarts()
	if j.hasJoined() {
		j.do(actCommand{c})
	}
	// A tenth of the grace is left for the killing, so that all are gone within it.
	j.killAt = now.Add(j.Grace - min(j.Grace/10, 500*time.Millisecond))
}

// dropStarts forgets candidates that were to be started.
func (j *job) dropStarts() {
	for i := range j.slots {
		j.slots[i].startAt = time.Time{}
	}
}

func (j *job) signalAll(s syscall.Signal) {
	for _, c := range j.candidates() {
		if c.alive() {
			j.do(actSignal{c.member, s})
		}
	}
}

// signalled stops the job on request: ranks that have joined end after the same step, the
// others get SIGTERM. The second request ends everything at once.
func (j *job) signalled(e evSignal, now time.Time) {
	s := e.signal
	again := e.now || e.by == "" && !e.relayed && (j.stopped == 0 || j.asked)
	j.asked = j.asked || !e.relayed
	if j.phase == stopping {
		if again {
			j.killAt = now
		}
		return
	}
	if j.phase == over {
		return
	}
	trained := j.phase == training
	j.stopped = s
	what := signalName(s)
	if e.by != "" {
		what = e.asked()
	}
	j.cause = &Cause{Rank: -1, Host: j.Host, Kind: control.KindStopped, Detail: "was stopped by " + what}
	j.status = 128 + int(s)
	how := "ranks get SIGTERM"
	if j.hasJoined() && trained {
		how = "ranks end after the same step"
		if j.Checkpoint {
			how = "ranks save a checkpoint after the same step and end"
		}
	}
	switch {
	case e.now:
		j.note("%s: ranks are killed at once", what)
	case e.by != "":
		j.note("%s: %s; --now kills them at once", what, how)
	default:
		j.note("%s: %s; a second one kills them at once", what, how)
	}
	j.stop(now, control.Command{Stop: true, Checkpoint: j.Checkpoint, Why: what})
	if e.now {
		j.killAt = now
	}
	for _, c := range j.candidates() {
		if c.alive() && (!c.registered || !trained) {
			j.do(actSignal{c.member, syscall.SIGTERM})
		}
	}
}

// lateCause names the ranks that have not registered in time.
func lateCause(late []*candidate, np int, bound time.Duration) Cause {
	names := make([]string, len(late))
	for i, c := range late {
		names[i] = fmt.Sprint(c.rank)
	}
	cause := Cause{Rank: late[0].rank, Host: late[0].host, PID: late[0].pid, Kind: control.KindTimeout, member: late[0].member}
	cause.Detail = fmt.Sprintf("had not called worker.Run %v after it was started; --start-timeout allows more time", bound)
	if len(late) > 1 {
		cause.Detail += fmt.Sprintf(" (so had %d of %d ranks: %s)", len(late), np, strings.Join(names, ", "))
	}
	return cause
}
