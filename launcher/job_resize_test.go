package launcher

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
)

func TestAJobGrowsOnce(t *testing.T) {
	p := started(t, nil)
	p.tell(evResize{np: 5, by: "ann"}).want("note gorun resize (ann): the job is to have 5 ranks instead of 3", "start 3.1", "start 4.1")
	p.register("3.1").want() // the other one may be near
	p.wait(300 * time.Millisecond).register("4.1").want()
	p.wait(200*time.Millisecond).want("commit 2: 0.1 1.1 2.1 3.1 4.1", "note generation 2: joined by pid 4714 on h as rank 3 and pid 4715 on h as rank 4")
	if !p.job.gen.Planned {
		t.Error("it isn't a planned change")
	}
	p.finish(2, "0.1", "1.1", "2.1", "3.1", "4.1").want("commit 3: 0.1 1.1 2.1 3.1 4.1 done")
	for _, m := range []string{"0.1", "1.1", "2.1", "3.1", "4.1"} {
		p.exit(m, well)
	}
	if v := p.verdict(); !v.OK || v.Restarts != 0 {
		t.Errorf("verdict %+v", v)
	}
}

func TestAJobShrinksAndGrowsAgain(t *testing.T) {
	p := started(t, nil)
	p.tell(evResize{np: 1, by: "ann"}).want("note gorun resize (ann): the job is to have 1 rank instead of 3", "commit 2: 0.1",
		"note generation 2: ranks 1 (pid 4712 on h) and 2 (pid 4713 on h) released, the limit is 1; going on with 1 rank")
	p.exit("1.1", well).want()
	p.exit("2.1", ending{status: 1}).want() // however they end
	p.tell(evResize{np: 2, by: "ann"}).want("note gorun resize (ann): the job is to have 2 ranks instead of 1", "start 1.2")
	p.register("1.2").wait(time.Second)
	if p.did[0] != "commit 3: 0.1 1.2" {
		t.Fatalf("decided %q", p.did)
	}
	p.did = nil
	p.finish(3, "0.1", "1.2").want("commit 4: 0.1 1.2 done")
	p.exit("0.1", well).exit("1.2", well)
	if v := p.verdict(); !v.OK || v.Restarts != 0 {
		t.Errorf("verdict %+v", v)
	}
}

func TestAJobThatGrowsLosesARank(t *testing.T) {
	p := started(t, nil)
	p.tell(evResize{np: 4, by: "ann"})
	p.exit("1.1", killed)
	p.did = nil
	p.register("3.1").want("commit 2: 0.1 2.1 3.1",
		"note generation 2: rank 1 (pid 4712 on h) died; replaced by pid 4714 as rank 2", "label 2.1 1", "label 3.1 2")
	p.register("1.2").wait(2 * time.Second)
	if p.did[0] != "commit 3: 0.1 2.1 3.1 1.2" {
		t.Fatalf("decided %q", p.did)
	}
}

func TestAResizeIsTakenBack(t *testing.T) {
	p := spared(t, nil) // whose slot 3 is the spare's
	p.tell(evResize{np: 5, by: "ann"}).want("note gorun resize (ann): the job is to have 5 ranks instead of 3", "start 4.1", "start 5.1")
	p.register("4.1")
	p.tell(evResize{np: 3, by: "ann"}).want("note gorun resize (ann): the job is to have 3 ranks instead of 5", "SIGTERM 5.1", "SIGTERM 4.1")
	p.exit("4.1", ending{status: 143}).exit("5.1", ending{signal: 15, status: 143}).wait(time.Minute).want()
	p.exit("1.1", killed) // the spare is still there
	if p.did[1] != "commit 2: 0.1 2.1 3.1" {
		t.Fatalf("decided %q", p.did)
	}
}

// What goes wrong with a rank that was to make the job bigger is no harm to those that train.
func TestAJobThatCannotGrowGoesOn(t *testing.T) {
	p := started(t, func(r *rules) { r.Restarts = 0 })
	p.tell(evResize{np: 7, by: "ann"})
	p.did = nil
	p.tell(evNotStarted{"3.1", errors.New("no such file")}).want("note pid 4714 on h, to be one of 7 ranks, could not be started: no such file: the job goes on without it")
	p.exit("4.1", ending{status: 64}).want("note pid 4715 on h, to be one of 6 ranks, exited with status 64: the job goes on without it")
	p.register("5.1").wait(time.Minute)
	if p.did[0] != "note pid 4717 on h, to be one of 5 ranks, had not called worker.Run 1m0s after it was started: the job goes on without it" && p.did[0] != "commit 2: 0.1 1.1 2.1 5.1" {
		t.Fatalf("decided %q", p.did)
	}
	if n := len(p.job.gen.Members); n != 4 || p.job.NP != 4 || p.job.phase != training {
		t.Fatalf("%d ranks of %d, phase %d; decided %q", n, p.job.NP, p.job.phase, p.did)
	}
}

// A rank that makes the job bigger has long been there while others are missed: nothing is
// to be done until they come.
func TestNothingIsDueWhileRanksAreMissed(t *testing.T) {
	p := started(t, nil)
	p.tell(evResize{np: 4, by: "ann"})
	p.exit("1.1", killed).exit("2.1", killed).register("3.1")
	p.wait(time.Second) // fails if the loop would spin
	if d := p.job.deadline(); !d.IsZero() && d.Sub(p.now) < 10*time.Second {
		t.Errorf("the next deadline is in %v", d.Sub(p.now))
	}
}

func TestResizesThatCannotBe(t *testing.T) {
	p := newPlay(t, func(r *rules) { r.Sites, r.Placed, r.Capacity = []string{"a", "b"}, []int{0, 0, 1}, []int{2, 2} })
	refused := func(np int, want string) {
		t.Helper()
		err := p.job.mayResize(np)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d ranks: %v, want %q", np, err, want)
		}
	}
	refused(4, "have not begun to train")
	p.register("0.1", "1.1", "2.1")
	refused(0, "want at least 1")
	refused(5, "5 ranks: its hosts have slots for 4")
	if err := p.job.mayResize(4); err != nil {
		t.Error(err)
	}
	p.job.lost[1] = "gone"
	refused(4, "slots for 2")
	p.job.fixed = true
	refused(2, "ScaleBatch")
	p.job.fixed = false
	p.tell(evFinished{control.Finish{Member: "0.1", Generation: 1}})
	p.finish(1, "1.1", "2.1")
	refused(2, "about to end")
}
