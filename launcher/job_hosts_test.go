package launcher

import (
	"strings"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
)

// twoHosts is three ranks on h, the launcher's, and h2, which has the first two.
func twoHosts(r *rules) {
	r.Sites, r.Placed, r.Capacity = []string{"h2", "h"}, []int{0, 0, 1}, []int{2, 2}
}

func TestALostHostsRanksMoveToAnother(t *testing.T) {
	p := started(t, twoHosts)
	p.tell(evReported{control.Report{Member: "1.1", Step: 120}})
	p.tell(evHostLost{"h2", "it doesn't answer any more"})
	p.want(
		"note host h2 was lost: it doesn't answer any more: starting its 2 ranks on other hosts (restart 1 of 3)",
		"start 0.2", "start 1.2",
	)
	for _, m := range []string{"0.2", "1.2"} {
		if host := p.job.members[m].host; host != "h" {
			t.Errorf("member %s is on %s, want h", m, host)
		}
	}
	p.register("0.2", "1.2")
	if p.did[0] != "commit 2: 2.1 0.2 1.2" {
		t.Fatalf("decided %q", p.did)
	}
	p.did = nil
	p.tell(evHostLost{"h2", "its agent has ended"}).want() // known
	p.exit("0.1", killed).want()                           // and so is that
	p.finish(2, "2.1", "0.2", "1.2").want("commit 3: 2.1 0.2 1.2 done")
	p.exit("2.1", well).exit("0.2", well).exit("1.2", well)
	if v := p.verdict(); !v.OK || v.Restarts != 1 {
		t.Errorf("verdict %+v", v)
	}
}

func TestALostHostEndsTheJob(t *testing.T) {
	for name, x := range map[string]struct {
		rules  func(*rules)
		lost   []string
		status int
		text   string
	}{
		"when no restart is left":  {func(r *rules) { twoHosts(r); r.Restarts = 0 }, []string{"h2"}, control.StatusNoHost, "was lost with its host: gone at step 7"},
		"when it was the last one": {twoHosts, []string{"h2", "h"}, control.StatusNoHost, "no host is left: h was lost: gone at step 7"},
	} {
		t.Run(name, func(t *testing.T) {
			p := started(t, x.rules)
			p.tell(evReported{control.Report{Member: "1.1", Step: 7}})
			for _, host := range x.lost {
				p.tell(evHostLost{host, "gone"})
			}
			for _, m := range []string{"0.1", "1.1", "2.1", "0.2", "1.2"} {
				if p.job.members[m] != nil {
					p.exit(m, killed)
				}
			}
			p.wantCause(x.status, control.KindHost, x.text)
		})
	}
}

func TestALostHostAfterTheEndIsNoFailure(t *testing.T) {
	p := started(t, twoHosts)
	p.finish(1, "0.1", "1.1", "2.1").want("commit 2: 0.1 1.1 2.1 done")
	p.tell(evHostLost{"h2", "gone"})
	p.exit("2.1", well)
	if v := p.verdict(); !v.OK {
		t.Errorf("verdict %+v: all ranks had finished", v)
	}
}

func TestAGangThatLostAHostStartsAnewOnTheOthers(t *testing.T) {
	p := newPlay(t, func(r *rules) { twoHosts(r); r.Source, r.Gang, r.GangRestarts = false, true, true })
	p.want("start 0.1", "start 1.1", "start 2.1")
	p.tell(evHostLost{"h2", "gone"})
	p.exit("2.1", killed)
	if said := strings.Join(p.did, "\n"); !strings.HasSuffix(said, "start 0.2\nstart 1.2\nstart 2.2") {
		t.Fatalf("decided\n%s", said)
	}
	for _, c := range p.job.candidates() {
		if c.host != "h" {
			t.Errorf("member %s is on %s, want h", c.member, c.host)
		}
	}
}

func TestPlaces(t *testing.T) {
	j := newJob(rules{NP: 5, Host: "a", Sites: []string{"a", "b"}, Placed: []int{0, 0, 0, 1, 1}, Capacity: []int{3, 2}}, time.Unix(1000, 0))
	for slot, want := range []place{
		{"a", 0, 3, 0, 2, "a", 5}, {"a", 1, 3, 0, 2, "a", 5}, {"a", 2, 3, 0, 2, "a", 5}, {"b", 0, 2, 1, 2, "a", 5}, {"b", 1, 2, 1, 2, "a", 5},
	} {
		if got := j.placeOf(slot); got != want {
			t.Errorf("slot %d: %+v, want %+v", slot, got, want)
		}
	}
}

// A host that is cut off may train on for a while: nobody begins in its place before it must
// have noticed.
func TestNobodyBeginsWhileAGenerationMayStillTrain(t *testing.T) {
	p := started(t, func(r *rules) { r.Sites, r.Placed, r.Capacity = []string{"h2", "h"}, []int{0, 0, 0}, []int{3, 3} })
	p.tell(evHostLost{"h2", "gone"}).want(
		"note host h2 was lost: gone: starting its 3 ranks on other hosts (restart 1 of 3)",
		"note no rank is in sight: waiting 16s for those that may live to have ended, then starting from the newest checkpoint",
	)
	p.wait(control.LeaseWithin - time.Millisecond).want()
	p.wait(time.Millisecond).want("start 0.2", "start 1.2", "start 2.2")
	p.register("0.2", "1.2", "2.2")
	if p.job.gen.ID != 2 || p.job.gen.Planned {
		t.Errorf("generation %+v; decided %q", p.job.gen, p.did)
	}
}
