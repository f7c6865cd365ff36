package launcher

import (
	"errors"
	"testing"

	"github.com/gorun-ml/gorun/internal/control"
)

// spared is a job of three ranks and a spare, whose first generation trains.
func spared(t *testing.T, change func(*rules)) *play {
	p := newPlay(t, func(r *rules) {
		r.Spares = 1
		if change != nil {
			change(r)
		}
	})
	p.register("3.1", "0.1", "1.1").want("start 0.1", "start 1.1", "start 2.1", "start 3.1")
	p.register("2.1").want("commit 1: 0.1 1.1 2.1") // a spare that is faster begins nothing
	return p
}

func TestASpareTakesADeadRanksPlace(t *testing.T) {
	p := spared(t, nil)
	p.tell(evReported{control.Report{Member: "1.1", Step: 120}})
	p.tell(evExited{"1.1", killed}).want("start 1.2",
		"commit 2: 0.1 2.1 3.1", "note generation 2: rank 1 (pid 4712 on h) died; replaced by pid 4714 as rank 2", "label 2.1 1", "label 3.1 2")
	p.tell(evDrained{"1.1", tail{}}).want("note rank 1 (host h, pid 4712) was ended by SIGKILL at step 120: a spare takes its place, another is started (restart 1 of 3)")
	p.register("1.2").want() // the next spare
	p.exit("0.1", killed)
	if p.did[1] != "commit 3: 2.1 3.1 1.2" {
		t.Fatalf("decided %q", p.did)
	}
	p.did = nil
	// The newest spare is still on its way when all have finished.
	p.finish(3, "2.1", "3.1", "1.2").want("commit 4: 2.1 3.1 1.2 done", "SIGTERM 0.2")
	p.exit("0.2", ending{status: 143}).exit("2.1", well).exit("3.1", well).exit("1.2", well)
	if v := p.verdict(); !v.OK || v.Restarts != 2 || v.Generations != 3 {
		t.Errorf("verdict %+v", v)
	}
}

func TestASpareThatDiesEndsNoJob(t *testing.T) {
	p := spared(t, func(r *rules) { r.Restarts = 1 })
	p.exit("3.1", killed).want("start 3.2", "note rank 3 (host h, pid 4714) was ended by SIGKILL: starting it anew (restart 1 of 1)")
	p.register("3.2").exit("3.2", killed).want("note pid 4715 on h, to be a spare, was ended by SIGKILL: the job goes on without it")
	p.finish(1, "0.1", "1.1", "2.1").want("commit 2: 0.1 1.1 2.1 done")
	p.exit("0.1", well).exit("1.1", well).exit("2.1", well)
	if v := p.verdict(); !v.OK {
		t.Errorf("verdict %+v", v)
	}
}

func TestSparesAreWhereThereIsRoom(t *testing.T) {
	p := newPlay(t, func(r *rules) {
		r.Sites, r.Placed, r.Capacity, r.Spares = []string{"a", "b"}, []int{0, 0, 1}, []int{2, 4}, 2
	})
	for i, want := range []string{"a", "a", "b", "b", "b"} {
		place := p.job.placeOf(i)
		if place.host != want {
			t.Errorf("slot %d is on %s, want %s", i, place.host, want)
		}
		if size := map[string]int{"a": 2, "b": 1}[want]; place.localSize != size {
			t.Errorf("slot %d is told of %d ranks on its host, want %d", i, place.localSize, size)
		}
	}
}

func TestAHostWithNothingButASpareIsLost(t *testing.T) {
	p := spared(t, func(r *rules) {
		r.Restarts = 0
		r.Sites, r.Placed, r.Capacity = []string{"a", "b"}, []int{0, 0, 0}, []int{3, 1}
	})
	p.tell(evHostLost{"b", "gone"})
	if p.job.phase != training || p.job.restarts != 0 {
		t.Fatalf("phase %d after %d restarts; decided %q", p.job.phase, p.job.restarts, p.did)
	}
	// It was only away: what its agent tells of those that were given up means nothing.
	p.did = nil
	p.tell(evStarted{"3.1", 9}, evExited{"3.1", killed}, evDrained{"3.1", tail{}}, evNotStarted{"7.7", errors.New("x")}, evExited{"7.7", killed}, evDrained{"7.7", tail{}})
	if p.job.phase != training {
		t.Fatalf("decided %q", p.did)
	}
}
