package launcher

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/internal/rendezvous"
)

// play is a job told of events by a test, at times the test chooses. What it decides is
// written down, a line an act.
type play struct {
	t     *testing.T
	job   *job
	story *story
	now   time.Time
	did   []string // since it was last asked
	pids  int
}

func newPlay(t *testing.T, change func(*rules)) *play {
	r := rules{
		Job: "7f3a", Host: "h", NP: 3, Restarts: 3, Source: true,
		StartTimeout: time.Minute, Grace: 5 * time.Second,
	}
	if change != nil {
		change(&r)
	}
	p := &play{t: t, story: newStory(r.Job), now: time.Unix(1000, 0), pids: 4710}
	p.job = newJob(r, p.now)
	p.act(p.job.begin(p.now))
	return p
}

func (p *play) act(acts []act) {
	for len(acts) > 0 {
		a := acts[0]
		acts = acts[1:]
		switch a := a.(type) {
		case actStart:
			p.pids++
			p.did = append(p.did, "start "+a.member)
			acts = append(acts, p.job.handle(evStarted{a.member, p.pids}, p.now)...)
		case actSignal:
			p.did = append(p.did, fmt.Sprintf("%s %s", signalName(a.signal), a.member))
		case actCommit:
			ids := make([]string, len(a.next.Members))
			for i, m := range a.next.Members {
				ids[i] = m.ID
			}
			line := fmt.Sprintf("commit %d: %s", a.next.ID, strings.Join(ids, " "))
			if a.next.Done {
				line += " done"
			}
			p.did = append(p.did, line)
		case actCommand:
			p.did = append(p.did, fmt.Sprintf("command stop=%v checkpoint=%v", a.command.Stop, a.command.Checkpoint))
		case actLabel:
			p.did = append(p.did, fmt.Sprintf("label %s %d", a.member, a.rank))
		case actNote:
			p.did = append(p.did, "note "+a.line)
		}
	}
}

func (p *play) tell(events ...event) *play {
	for _, e := range events {
		acts := p.job.handle(e, p.now)
		p.story.see(e, acts, p.job, p.now)
		p.act(acts)
	}
	return p
}

// wait lets the time pass until the job wants to be called again, but no longer than d.
func (p *play) wait(d time.Duration) *play {
	end := p.now.Add(d)
	for {
		next := p.job.deadline()
		if next.IsZero() || next.After(end) {
			p.now = end
			return p
		}
		if next.After(p.now) {
			p.now = next
		}
		before := len(p.did)
		p.tell(evTick{})
		if again := p.job.deadline(); again.Equal(next) && len(p.did) == before {
			p.t.Fatalf("deadline %v doesn't move: the loop would spin", next)
		}
	}
}

// want checks what was decided since the last call.
func (p *play) want(lines ...string) *play {
	p.t.Helper()
	if !slices.Equal(p.did, lines) {
		p.t.Fatalf("decided\n  %s\nwant\n  %s", strings.Join(p.did, "\n  "), strings.Join(lines, "\n  "))
	}
	p.did = nil
	return p
}

func (p *play) register(members ...string) *play {
	for _, id := range members {
		p.tell(evRegistered{rendezvous.Member{ID: id, Host: "h", Addr: "a:" + id}})
	}
	return p
}

// exit ends a candidate.
func (p *play) exit(member string, e ending, last ...string) *play {
	t := tail{lines: last}
	for _, line := range last {
		if why, ok := strings.CutPrefix(line, "panic: "); ok {
			t.panic = why
		}
	}
	return p.tell(evExited{member, e}, evDrained{member, t})
}

func (p *play) finish(generation uint64, members ...string) *play {
	for _, id := range members {
		p.tell(evFinished{control.Finish{Member: id, Generation: generation, Step: 90, Summary: []string{"accuracy 97 %"}}})
	}
	return p
}

// started is a job whose first generation trains.
func started(t *testing.T, change func(*rules)) *play {
	p := newPlay(t, change)
	p.register("0.1", "1.1", "2.1")
	p.want("start 0.1", "start 1.1", "start 2.1", "commit 1: 0.1 1.1 2.1")
	return p
}

func (p *play) verdict() Verdict {
	p.t.Helper()
	if p.job.phase != over {
		p.t.Fatalf("the job is in phase %d, not over", p.job.phase)
	}
	return p.job.verdict(p.now)
}

func (p *play) wantCause(status int, kind control.Kind, text string) {
	p.t.Helper()
	v := p.verdict()
	if v.OK || v.Status != status || v.Cause.Kind != kind || !strings.Contains(v.Cause.String(), text) {
		p.t.Fatalf("verdict %+v, cause %q: want status %d, kind %s, %q", v, v.Cause, status, kind, text)
	}
}

var (
	killed = ending{status: 137, signal: syscall.SIGKILL}
	well   = ending{}
)

func TestAllFinish(t *testing.T) {
	p := started(t, nil)
	p.finish(1, "0.1", "1.1").want()
	p.finish(1, "2.1").want("commit 2: 0.1 1.1 2.1 done")
	p.exit("0.1", well).exit("1.1", well).exit("2.1", well)
	v := p.verdict()
	if !v.OK || v.Generations != 1 || v.Steps != 90 || v.Summary != "accuracy 97 % · 90 steps · 0.0 s" {
		t.Errorf("verdict %+v", v)
	}
}

func TestSurvivorsGoOnWhenADeadRankIsBack(t *testing.T) {
	p := started(t, nil)
	p.tell(evReported{control.Report{Member: "1.1", Step: 120}})
	p.exit("1.1", killed)
	p.want("start 1.2", "note rank 1 (host h, pid 4712) was ended by SIGKILL at step 120: starting it anew (restart 1 of 3)")
	p.register("1.2")
	if len(p.did) != 4 || p.did[0] != "commit 2: 0.1 2.1 1.2" || p.did[2] != "label 2.1 1" || p.did[3] != "label 1.2 2" {
		t.Fatalf("decided %q", p.did)
	}
	p.did = nil
	// A word about the former generation doesn't end this one.
	p.finish(1, "0.1", "2.1", "1.2").want()
	p.finish(2, "0.1", "2.1", "1.2").want("commit 3: 0.1 2.1 1.2 done")
	p.exit("0.1", well).exit("2.1", well).exit("1.2", well)
	if v := p.verdict(); !v.OK || v.Generations != 2 || v.Restarts != 1 {
		t.Errorf("verdict %+v", v)
	}
}

func TestLateFinishOfAnOlderGenerationTakesNothingBack(t *testing.T) {
	p := started(t, nil)
	p.finish(1, "0.1", "2.1").want()
	p.exit("1.1", killed)
	p.register("1.2")
	p.did = nil
	p.finish(2, "0.1").want()
	p.finish(1, "0.1").want() // sent again before it was answered, and held up
	p.finish(2, "2.1").want()
	p.finish(2, "1.2").want("commit 3: 0.1 2.1 1.2 done")
}

func TestStrandedRanksConnectAnew(t *testing.T) {
	p := started(t, nil)
	p.tell(evReported{control.Report{Member: "1.1", Step: 7}})
	strand := func(generation uint64, members ...string) {
		for _, m := range members {
			p.tell(evStranded{control.Stranded{Member: m, Generation: generation, Detail: "corrupt frame"}})
		}
	}
	connect := func(generation int) []string {
		return []string{
			fmt.Sprintf("commit %d: 0.1 1.1 2.1", generation),
			fmt.Sprintf("note generation %d: rank 0 (pid 4711 on h) lost connections to ranks that live; connecting anew", generation),
		}
	}
	strand(1, "0.1", "2.1") // the second has nothing to add
	p.want(connect(2)...)
	strand(2, "0.1")
	p.want(connect(3)...)
	p.tell(evReported{control.Report{Member: "1.1", Step: 8}})
	for generation := range 3 { // steps were done: counted from here
		strand(uint64(3+generation), "0.1")
		p.want(connect(4 + generation)...)
	}
	strand(6, "0.1")
	p.exit("0.1", killed).exit("1.1", killed).exit("2.1", killed)
	p.wantCause(75, control.KindLost, "lost its connections again after connecting anew 3 times without a step between: corrupt frame")
}

// TestRanksStartOver has ranks ask for a new generation more often than connections may fail:
// they count themselves.
func TestRanksStartOver(t *testing.T) {
	p := started(t, nil)
	for generation := range 5 {
		for _, m := range []string{"1.1", "0.1"} { // the second has nothing to add
			p.tell(evStranded{control.Stranded{Member: m, Generation: uint64(1 + generation), Detail: "x", Why: "back to step 7"}})
		}
		p.want(fmt.Sprintf("commit %d: 0.1 1.1 2.1", 2+generation), fmt.Sprintf("note generation %d: back to step 7", 2+generation))
	}
}

func TestARankThatWasAskedToStopEndsTheJob(t *testing.T) {
	p := started(t, nil)
	p.tell(evFailed{control.Failure{Member: "1.1", Rank: 1, Kind: control.KindStopped, Detail: "was asked to stop", Step: 9, Status: 75}})
	p.exit("0.1", ending{status: 75}).exit("1.1", ending{status: 75}).exit("2.1", ending{status: 75})
	p.wantCause(75, control.KindStopped, "was asked to stop at step 9")
}

func TestHelpIsNoFailure(t *testing.T) {
	p := newPlay(t, nil)
	p.tell(evFailed{control.Failure{Member: "1.1", Rank: -1, Kind: control.KindHelp}})
	p.exit("0.1", well).exit("1.1", well).exit("2.1", well)
	if v := p.verdict(); !v.OK || v.Status != 0 || v.Line() != "" {
		t.Errorf("verdict %+v, want a silent success", v)
	}
}

func TestARankThatFinishedAndLeftIsNeededAgain(t *testing.T) {
	p := started(t, nil)
	p.finish(1, "0.1").exit("0.1", well).want()
	p.tell(evReported{control.Report{Member: "2.1", Step: 90}})
	p.exit("2.1", killed)
	p.want("start 0.2", "start 2.2", "note rank 2 (host h, pid 4713) was ended by SIGKILL at step 90: starting it anew (restart 1 of 3)")
}

func TestRestartsBackOffAndEnd(t *testing.T) {
	p := started(t, nil)
	for i, pause := range []time.Duration{0, 100 * time.Millisecond, 200 * time.Millisecond} {
		p.tell(step("0.1", uint64(i+1), i+1)) // so that it isn't the same that happens again
		p.exit(memberID(1, i+1), ending{status: 3})
		if pause > 0 {
			p.did = nil
			p.wait(pause - 1).want()
			p.wait(1)
		}
		if p.did[0] != "start "+memberID(1, i+2) {
			t.Fatalf("decided %q after %v, want a start", p.did, pause)
		}
		p.register(memberID(1, i+2))
	}
	p.did = nil
	p.exit("1.4", ending{status: 3})
	p.want("command stop=true checkpoint=false", "SIGTERM 0.1", "SIGTERM 2.1")
	p.exit("0.1", ending{status: 143, signal: syscall.SIGTERM}).exit("2.1", well)
	p.wantCause(3, control.KindExit, "rank 2 (host h, pid 4716) exited with status 3 at step 3")
}

func TestWhoHasLivedIsStartedAnewAtOnce(t *testing.T) {
	p := started(t, nil)
	for i := range 3 {
		p.wait(longestPause + 1)
		p.tell(step("0.1", uint64(i+1), i+1))
		p.did = nil
		p.exit(memberID(1, i+1), ending{status: 3})
		if p.did[0] != "start "+memberID(1, i+2) {
			t.Fatalf("decided %q, want a start", p.did)
		}
		p.register(memberID(1, i+2))
	}
}

func TestNothingIsTriedAgainThatWouldEndTheSame(t *testing.T) {
	for _, f := range []control.Failure{
		{Kind: control.KindMismatch, Status: 76},
		{Kind: control.KindData, Status: 64},
		{Kind: control.KindNonFinite, Status: 1},
		{Kind: control.KindCheckpoint, Status: 74},
		{Kind: control.KindError, Status: 64},
	} {
		p := started(t, nil)
		f.Member, f.Detail, f.Step = "2.1", "this is why", 7
		p.tell(evFailed{f})
		p.want("command stop=true checkpoint=false", "SIGTERM 0.1", "SIGTERM 1.1", "SIGTERM 2.1")
		// The others' words are consequences.
		p.tell(evFailed{control.Failure{Member: "0.1", Kind: control.KindCheckpoint, Status: 74}})
		p.exit("0.1", ending{status: 74}).exit("1.1", well).exit("2.1", ending{status: f.Status})
		p.wantCause(f.Status, f.Kind, "this is why at step 7")
	}
}

func TestWhoIsToBlame(t *testing.T) {
	none := func(r *rules) { r.Restarts = 0 }
	t.Run("not who lost its peers", func(t *testing.T) {
		p := started(t, none)
		p.tell(evFailed{control.Failure{Member: "0.1", Kind: control.KindLost, Detail: "connection reset", Status: 75}})
		p.exit("0.1", ending{status: 75}).wait(settleLost - 1).want()
		p.exit("2.1", ending{status: 2}, "panic: out of range")
		p.exit("1.1", ending{status: 75})
		p.wantCause(2, control.KindPanic, "rank 2 (host h, pid 4713) panicked: out of range")
	})
	t.Run("but if there is nobody else", func(t *testing.T) {
		p := started(t, none)
		p.tell(evFailed{control.Failure{Member: "0.1", Kind: control.KindLost, Detail: "connection reset", Status: 75}})
		p.exit("0.1", ending{status: 75}).wait(settleLost)
		p.exit("2.1", well).exit("1.1", well)
		p.wantCause(75, control.KindLost, "rank 0 (host h, pid 4711) lost its peers: connection reset")
	})
	t.Run("its word counts before its status", func(t *testing.T) {
		p := started(t, none)
		p.tell(evFailed{control.Failure{Member: "1.1", Kind: control.KindError, Detail: "no such layer", Status: 1, Saved: "ck/step-8"}})
		p.exit("1.1", ending{status: 1}, "Error: no such layer").exit("0.1", well).exit("2.1", well)
		p.wantCause(1, control.KindError, "failed: no such layer")
		if v := p.verdict(); v.Saved != "ck/step-8" || !slices.Equal(v.Cause.Stderr, []string{"Error: no such layer"}) {
			t.Errorf("verdict %+v, cause %+v", v, v.Cause)
		}
	})
	t.Run("status 0 is no finish", func(t *testing.T) {
		p := started(t, nil)
		p.exit("1.1", well).exit("0.1", well).exit("2.1", well)
		p.wantCause(76, control.KindNoFinish, "before its training function had returned")
	})
	t.Run("after the finish", func(t *testing.T) {
		p := started(t, nil)
		p.finish(1, "0.1", "1.1", "2.1").exit("0.1", ending{status: 74}).exit("1.1", well).exit("2.1", well)
		p.wantCause(74, control.KindExit, "rank 0")
	})
}

func TestNobodyHasJoined(t *testing.T) {
	t.Run("a death ends the job", func(t *testing.T) {
		p := newPlay(t, func(r *rules) { r.GangRestarts = true })
		p.exit("1.1", ending{status: 2}, "panic: no data")
		p.want("start 0.1", "start 1.1", "start 2.1", "SIGTERM 0.1", "SIGTERM 2.1")
		p.exit("0.1", killed).exit("2.1", killed)
		p.wantCause(2, control.KindPanic, "rank 1 (host h, pid 4712) panicked: no data")
	})
	t.Run("Go source must", func(t *testing.T) {
		p := newPlay(t, nil)
		p.exit("2.1", well).exit("0.1", well).exit("1.1", well)
		p.wantCause(76, control.KindNoFinish, "without having called worker.Run")
	})
	t.Run("Go source must in time", func(t *testing.T) {
		p := newPlay(t, nil)
		p.wait(time.Minute-1).want("start 0.1", "start 1.1", "start 2.1")
		p.wait(1).want("SIGTERM 0.1", "SIGTERM 1.1", "SIGTERM 2.1")
		p.exit("0.1", killed).exit("1.1", killed).exit("2.1", killed)
		p.wantCause(75, control.KindTimeout, "(so had 3 of 3 ranks: 0, 1, 2)")
	})
	t.Run("others need not", func(t *testing.T) {
		p := newPlay(t, func(r *rules) { r.Source = false })
		p.wait(time.Hour)
		p.exit("2.1", well).exit("0.1", well).exit("1.1", well)
		if v := p.verdict(); !v.OK || v.Summary != "" {
			t.Errorf("verdict %+v", v)
		}
	})
	t.Run("but if one does, all must", func(t *testing.T) {
		p := newPlay(t, func(r *rules) { r.Source = false })
		p.exit("0.1", well).register("1.1").exit("1.1", well).exit("2.1", well)
		p.wantCause(76, control.KindNoFinish, "rank 0")
	})
	t.Run("a gang is started anew", func(t *testing.T) {
		p := newPlay(t, func(r *rules) { r.Source, r.GangRestarts, r.Restarts = false, true, 1 })
		p.did = nil
		p.exit("1.1", ending{status: 9})
		p.want("SIGTERM 0.1", "SIGTERM 2.1", "note rank 1 (host h, pid 4712) exited with status 9: starting all ranks anew (restart 1 of 1)")
		p.exit("0.1", killed).want()
		p.wait(5 * time.Second).want("SIGKILL 2.1")
		p.exit("2.1", killed).want("start 0.2", "start 1.2", "start 2.2")
		p.exit("1.2", ending{status: 9}).exit("0.2", killed).exit("2.2", killed)
		p.wantCause(9, control.KindExit, "rank 1")
		if v := p.verdict(); v.Generations != 2 {
			t.Errorf("%d generations, want 2", v.Generations)
		}
	})
}

func TestAReplacementMustRegisterInTime(t *testing.T) {
	p := started(t, nil)
	p.exit("1.1", killed).wait(0)
	p.did = nil
	p.wait(time.Minute).want("command stop=true checkpoint=false", "SIGTERM 0.1", "SIGTERM 1.2", "SIGTERM 2.1")
	p.exit("0.1", killed).exit("1.2", killed).exit("2.1", killed)
	p.wantCause(75, control.KindTimeout, "rank 1 (host h, pid 4714) had not called worker.Run 1m0s after it was started")
}

func TestSignals(t *testing.T) {
	t.Run("asked", func(t *testing.T) {
		p := started(t, func(r *rules) { r.Checkpoint = true })
		p.tell(evSignal{signal: syscall.SIGTERM})
		p.want("note SIGTERM: ranks save a checkpoint after the same step and end; a second one kills them at once", "command stop=true checkpoint=true")
		p.tell(evSaved{control.Saved{Step: 9, Path: "ck/step-9"}})
		p.exit("0.1", ending{status: 1}).exit("1.1", ending{status: 1}).exit("2.1", ending{status: 1}).want()
		p.wantCause(75, control.KindStopped, "was stopped by SIGTERM")
	})
	t.Run("not obeyed", func(t *testing.T) {
		p := started(t, nil)
		p.tell(evSignal{signal: syscall.SIGINT})
		p.did = nil
		p.exit("0.1", well)
		p.wait(4499 * time.Millisecond).want()
		p.wait(time.Millisecond).want("SIGKILL 1.1", "SIGKILL 2.1")
		p.exit("1.1", killed).exit("2.1", killed)
		p.wantCause(130, control.KindStopped, "was stopped by SIGINT")
	})
	t.Run("twice", func(t *testing.T) {
		p := started(t, nil)
		p.tell(evSignal{signal: syscall.SIGHUP})
		p.did = nil
		p.tell(evSignal{signal: syscall.SIGHUP})
		p.want("SIGKILL 0.1", "SIGKILL 1.1", "SIGKILL 2.1")
		// Even what SIGKILL doesn't end doesn't hold up the verdict.
		p.wait(drainBound)
		p.wantCause(129, control.KindStopped, "was stopped by SIGHUP")
	})
	t.Run("asked for by gorun stop", func(t *testing.T) {
		ask := evSignal{signal: syscall.SIGTERM, by: "ann@h2"}
		p := started(t, nil)
		p.tell(ask).want("note gorun stop (ann@h2): ranks end after the same step; --now kills them at once", "command stop=true checkpoint=false")
		p.tell(ask, ask).want() // it was asked again for want of an answer
		ask.now = true
		p.tell(ask).want("SIGKILL 0.1", "SIGKILL 1.1", "SIGKILL 2.1")
		p.exit("0.1", killed).exit("1.1", killed).exit("2.1", killed)
		p.wantCause(143, control.KindStopped, "was stopped by gorun stop (ann@h2)")
	})
	t.Run("asked for by gorun stop and Ctrl-C", func(t *testing.T) {
		p := started(t, nil)
		p.tell(evSignal{signal: syscall.SIGTERM, by: "ann@h2"})
		p.did = nil
		p.tell(evSignal{signal: syscall.SIGINT}).want("SIGKILL 0.1", "SIGKILL 1.1", "SIGKILL 2.1")
	})
	t.Run("asked for by gorun stop --now", func(t *testing.T) {
		p := started(t, func(r *rules) { r.Checkpoint = true })
		p.tell(evSignal{signal: syscall.SIGTERM, by: "ann@h2", now: true})
		p.want("note gorun stop --now (ann@h2): ranks are killed at once", "command stop=true checkpoint=true", "SIGKILL 0.1", "SIGKILL 1.1", "SIGKILL 2.1")
	})
	t.Run("while a rank is missing", func(t *testing.T) {
		p := started(t, nil)
		for i := range 3 {
			p.exit(memberID(1, i+1), killed).wait(150 * time.Millisecond)
		}
		p.tell(evSignal{signal: syscall.SIGINT})
		p.did = nil
		p.wait(time.Second).want() // the replacement is not started any more
		p.exit("0.1", well).exit("2.1", well)
		p.wantCause(130, control.KindStopped, "SIGINT")
	})
	t.Run("after the finish", func(t *testing.T) {
		p := started(t, nil)
		p.finish(1, "0.1", "1.1", "2.1").exit("1.1", well)
		p.did = nil
		p.tell(evSignal{signal: syscall.SIGINT})
		p.want("note SIGINT: ranks get SIGTERM; a second one kills them at once", "command stop=true checkpoint=false", "SIGTERM 0.1", "SIGTERM 2.1")
	})
}

func TestWhatDoesNotEndAfterTheFinishIsKilled(t *testing.T) {
	p := started(t, nil)
	p.finish(1, "0.1", "1.1", "2.1").exit("1.1", well).exit("2.1", well)
	p.did = nil
	p.wait(5*time.Second).want("note rank 0 (pid 4711) had not ended 5s after every rank had finished: killed; --grace allows more time", "SIGKILL 0.1")
	p.exit("0.1", killed)
	if v := p.verdict(); !v.OK {
		t.Errorf("verdict %+v: what was trained and saved is good", v)
	}
}

func TestACandidateThatCanNotBeStarted(t *testing.T) {
	p := newPlay(t, nil)
	p.tell(evNotStarted{"1.1", errors.New("exec format error")})
	p.exit("0.1", killed).exit("2.1", killed)
	p.wantCause(64, control.KindLaunch, "rank 1 (host h) could not be started: exec format error")
}

func TestStrangersAreNotHeard(t *testing.T) {
	p := started(t, nil)
	p.tell(evFailed{control.Failure{Member: "9.9", Kind: control.KindData}}, evFinished{control.Finish{Member: "9.9"}}, evSaid{"9.9", "x"})
	p.register("9.9", "0.1").want()
}

// FuzzJob plays events in any order: the job must neither panic nor spin, and it must end
// once everything it has started has ended and it was told to stop.
func FuzzJob(f *testing.F) {
	f.Add([]byte{0, 1, 2, 9, 20, 30}, true)
	f.Add([]byte{40, 41, 42, 3, 70, 71, 72}, false)
	f.Fuzz(func(t *testing.T, script []byte, source bool) {
		p := newPlay(t, func(r *rules) { r.Source = source; r.GangRestarts = !source })
		for _, b := range script[:min(len(script), 200)] {
			slot := int(b % 3)
			id := p.job.slots[slot].current.member
			if !p.job.slots[slot].current.exited || b/3 == 7 {
				switch b / 3 % 9 {
				case 0:
					p.register(id)
				case 1:
					p.exit(id, ending{status: int(b / 27)})
				case 2:
					p.exit(id, killed)
				case 3:
					p.finish(p.job.gen.ID, id)
				case 4:
					p.tell(evFailed{control.Failure{Member: id, Kind: control.KindLost, Status: 75}})
				case 5:
					p.tell(evFailed{control.Failure{Member: id, Kind: control.KindMismatch, Status: 76}})
				case 6:
					p.tell(evReported{control.Report{Member: id, Step: int(b)}})
				case 7:
					p.wait(30 * time.Second)
				case 8:
					p.tell(evSignal{signal: syscall.SIGTERM})
				}
			}
			if p.job.phase == over {
				break
			}
		}
		if p.job.phase == over {
			p.verdict()
			return
		}
		p.tell(evSignal{signal: syscall.SIGINT}, evSignal{signal: syscall.SIGINT})
		p.wait(time.Minute)
		if v := p.verdict(); v.OK || v.Cause == nil {
			t.Errorf("verdict %+v", v)
		}
	})
}

// A scheduler signals gorun and all it has started, in any order.
func TestASignalOnAllHostsIsOne(t *testing.T) {
	relayed, own := evSignal{signal: syscall.SIGTERM, relayed: true}, evSignal{signal: syscall.SIGTERM}
	for name, signals := range map[string][]event{
		"gorun's first": {own, relayed, relayed}, "gorun's last": {relayed, relayed, own}, "gorun's never": {relayed, relayed},
	} {
		t.Run(name, func(t *testing.T) {
			p := started(t, func(r *rules) { r.Checkpoint = true })
			p.tell(signals...)
			if said := strings.Join(p.did, "\n"); strings.Count(said, "command stop=true checkpoint=true") != 1 || strings.Contains(said, "SIGKILL") {
				t.Fatalf("decided\n%s", said)
			}
			p.tell(evSaved{control.Saved{Path: "ck/step-000000007"}})
			if p.did = nil; name != "gorun's never" {
				p.tell(own).want("SIGKILL 0.1", "SIGKILL 1.1", "SIGKILL 2.1")
			}
			p.exit("0.1", killed).exit("1.1", killed).exit("2.1", killed)
			p.wantCause(75, control.KindStopped, "was stopped by SIGTERM")
		})
	}
}
