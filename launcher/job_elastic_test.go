package launcher

import (
	"strings"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
)

// fourHosts is eight ranks on four hosts with two slots each, which may become three.
func fourHosts(r *rules) {
	r.NP, r.MinNP, r.MaxNP, r.ElasticTimeout = 8, 4, 8, time.Minute
	r.Sites, r.Placed, r.Capacity = []string{"h", "h2", "h3", "h4"}, []int{0, 0, 1, 1, 2, 2, 3, 3}, []int{2, 2, 2, 2}
}

// elastic is such a job in its first generation.
func elastic(t *testing.T, change func(*rules)) *play {
	t.Helper()
	p := newPlay(t, func(r *rules) {
		fourHosts(r)
		if change != nil {
			change(r)
		}
	})
	for i := range p.job.NP {
		p.register(memberID(i, 1))
	}
	if p.job.gen.ID != 1 {
		t.Fatalf("no generation: decided %q", p.did)
	}
	p.did = nil
	return p
}

// members is who is in the newest generation.
func (p *play) members() string {
	var ids []string
	for _, m := range p.job.gen.Members {
		ids = append(ids, m.ID)
	}
	return strings.Join(ids, " ")
}

func (p *play) wantMembers(want string) *play {
	p.t.Helper()
	if got := p.members(); got != want {
		p.t.Fatalf("generation %d has %s, want %s; decided %q", p.job.gen.ID, got, want, p.did)
	}
	return p
}

func (p *play) wantNote(part string) *play {
	p.t.Helper()
	for _, line := range p.did {
		if strings.HasPrefix(line, "note ") && strings.Contains(line, part) {
			return p
		}
	}
	p.t.Fatalf("no note with %q; decided %q", part, p.did)
	return p
}

func TestAnElasticJobGoesOnWithoutAHost(t *testing.T) {
	p := elastic(t, nil)
	p.tell(evHostLost{"h3", "it doesn't answer any more"}).want(
		"note host h3 was lost: it doesn't answer any more: it had 2 ranks",
		"commit 2: 0.1 1.1 2.1 3.1 6.1 7.1",
		"note generation 2: ranks 4 (pid 4715 on h) and 5 (pid 4716 on h) died; going on with 6 ranks",
		"label 6.1 4", "label 7.1 5",
	)
	if v := p.job; v.restarts != 0 || v.NP != 6 {
		t.Errorf("%d restarts, %d ranks", v.restarts, v.NP)
	}
}

func TestAHostThatIsBackIsUsed(t *testing.T) {
	p := elastic(t, nil)
	p.tell(evHostLost{"h3", "gone"})
	if r := p.job.recruits(p.now); r.slots != 2 || !r.except["h3"] || !r.except["h"] {
		t.Errorf("looks for %+v at once", r)
	}
	p.now = p.now.Add(coolFirst)
	if r := p.job.recruits(p.now); r.slots != 2 || r.except["h3"] || !r.except["h4"] {
		t.Errorf("looks for %+v after a while", r)
	}
	p.did = nil
	p.tell(evHostUp{host: "h3", agent: "h3+1", slots: 2}).wantNote("host h3 is back with 2 slots")
	for _, m := range []string{"4.2", "5.2"} {
		if host := p.job.members[m]; host == nil || host.host != "h3" {
			t.Fatalf("no member %s on h3; decided %q", m, p.did)
		}
		p.register(m)
	}
	p.wait(2 * time.Second).wantMembers("0.1 1.1 2.1 3.1 6.1 7.1 4.2 5.2")
	if !p.job.gen.Planned {
		t.Error("it isn't a planned change")
	}
	p.tell(evHostLost{"h3", "its old agent is gone"}) // whose place another has taken
	if n := len(p.job.gen.Members); n != 8 {
		t.Errorf("%d ranks after the end of an agent that isn't used", n)
	}
	p.tell(evHostLost{"h3+1", "gone again"}).wantMembers("0.1 1.1 2.1 3.1 6.1 7.1")
	if cool := p.job.stays[2].cool().Sub(p.now); cool != 2*coolFirst {
		t.Errorf("it is left alone for %v after its second loss, want %v", cool, 2*coolFirst)
	}
}

func TestAJobGrowsOntoNewHosts(t *testing.T) {
	p := elastic(t, func(r *rules) { r.MaxNP = 11 })
	if r := p.job.recruits(p.now); r.slots != 3 {
		t.Errorf("looks for %+v", r)
	}
	p.tell(evHostUp{host: "h5", agent: "h5+1", slots: 3}).wantNote("host h5 has joined with 3 slots")
	p.register("8.1", "9.1", "10.1").wait(time.Second).wantMembers("0.1 1.1 2.1 3.1 4.1 5.1 6.1 7.1 8.1 9.1 10.1")
	if r := p.job.recruits(p.now); r.slots != 0 {
		t.Errorf("looks for %+v although it is as big as it may be", r)
	}
}

func TestAJobWithTooFewSlotsWaits(t *testing.T) {
	p := elastic(t, func(r *rules) { r.MinNP = 6 })
	p.tell(evHostLost{"h3", "gone"})
	p.did = nil
	p.tell(evHostLost{"h4", "gone"}).wantNote("the hosts that are left have 4 slots and --min-np is 6: waiting up to 1m0s for hosts")
	if p.job.gen.ID != 2 || p.job.phase != training {
		t.Fatalf("generation %d, phase %d; decided %q", p.job.gen.ID, p.job.phase, p.did)
	}
	p.wait(50 * time.Second)
	p.did = nil
	p.tell(evHostUp{host: "h9", agent: "h9+1", slots: 2}).wantNote("there are slots for 6 ranks: going on")
	for _, c := range p.job.candidates() {
		if c.alive() && !c.registered {
			p.register(c.member)
		}
	}
	if n := len(p.job.gen.Members); n != 6 {
		t.Fatalf("%d ranks, want 6; decided %q", n, p.did)
	}
	p.wait(time.Hour)
	if p.job.phase != training {
		t.Errorf("phase %d", p.job.phase)
	}
}

func TestAJobThatFindsNoHostsSavesAndEnds(t *testing.T) {
	p := elastic(t, func(r *rules) { r.MinNP, r.Checkpoint = 7, true })
	p.tell(evHostLost{"h3", "gone"})
	p.wait(time.Minute).wantNote("no hosts came within 1m0s: 6 ranks that are left save a checkpoint and end").wantMembers("0.1 1.1 2.1 3.1 6.1 7.1")
	p.did = nil
	p.tell(evReported{control.Report{Member: "0.1", Generation: 2, Step: 9}}).want("command stop=true checkpoint=true")
	p.tell(evSaved{control.Saved{Generation: 2, Step: 9, Path: "/x"}})
	for _, m := range p.job.gen.Members {
		p.exit(m.ID, ending{status: 1})
	}
	v := p.verdict()
	if v.Status != control.StatusTemporary || v.Saved != "/x" || !strings.Contains(v.Line(), "found slots for 6 of the 7 ranks that --min-np wants") {
		t.Errorf("verdict %+v: %s", v, v.Line())
	}
}

func TestAJobThatFindsNoHostsAndKeepsNothingEnds(t *testing.T) {
	p := elastic(t, func(r *rules) { r.MinNP = 7 })
	p.tell(evHostLost{"h3", "gone"}).wait(time.Minute)
	if p.job.phase != stopping || p.job.status != control.StatusTemporary {
		t.Errorf("phase %d, status %d; decided %q", p.job.phase, p.job.status, p.did)
	}
}

// A host that comes and goes is used less and less, and never given up.
func TestAFlappingHostCoolsDown(t *testing.T) {
	p := elastic(t, nil)
	agent, last := "h3", time.Duration(0)
	for i := range 12 {
		p.tell(evHostLost{agent, "gone"})
		cool := p.job.stays[2].cool().Sub(p.now)
		if cool < last || cool > coolMost || cool == 0 {
			t.Fatalf("loss %d: %v after %v", i+1, cool, last)
		}
		last = cool
		p.now = p.now.Add(cool)
		if r := p.job.recruits(p.now); r.except["h3"] {
			t.Fatalf("loss %d: it isn't used after %v", i+1, cool)
		}
		agent = "h3+" + string(rune('a'+i))
		p.tell(evHostUp{host: "h3", agent: agent, slots: 2})
	}
	if last != coolMost {
		t.Errorf("it is left alone for %v, want %v", last, coolMost)
	}
	p.now = p.now.Add(steadyFor)
	p.tell(evHostLost{agent, "gone"})
	if cool := p.job.stays[2].cool().Sub(p.now); cool != coolFirst {
		t.Errorf("%v after it had been there for long, want %v", cool, coolFirst)
	}
}

func TestRanksLeaveAHost(t *testing.T) {
	p := elastic(t, func(r *rules) { r.Capacity = []int{4, 2, 2, 2} })
	if _, err := p.job.mayDrain("h3"); err != nil {
		t.Fatal(err)
	}
	p.tell(evDrain{host: "h3", by: "ann"}).want("note host h3 is to be left (ann): its 2 ranks move to other hosts, or the job becomes smaller", "start 8.1", "start 9.1")
	p.register("8.1")
	p.wantMembers("0.1 1.1 2.1 3.1 4.1 5.1 6.1 7.1") // until all are there
	p.did = nil
	p.register("9.1").wantMembers("0.1 1.1 2.1 3.1 6.1 7.1 8.1 9.1")
	if !p.job.gen.Planned {
		t.Error("it isn't a planned change")
	}
	p.exit("4.1", well)
	p.did = nil
	p.exit("5.1", well).wantNote("host h3 is drained")
	if done, err := p.job.mayDrain("h3"); !done || err != nil {
		t.Errorf("drained: %v, %v", done, err)
	}
	p.tell(evHostLost{"h2", "gone"})
	p.wantMembers("0.1 1.1 6.1 7.1 8.1 9.1") // h3 has room, and isn't used
	p.tell(evDrain{host: "h3", by: "ann", undo: true})
	for _, c := range p.job.candidates() {
		if c.alive() && !c.registered {
			if c.host != "h3" {
				t.Errorf("%s is on %s", c.member, c.host)
			}
			p.register(c.member)
		}
	}
	p.wait(5 * time.Second)
	if n := len(p.job.gen.Members); n != 8 {
		t.Errorf("%d ranks after all; decided %q", n, p.did)
	}
}

func TestAJobBecomesSmallerToLeaveAHost(t *testing.T) {
	p := elastic(t, nil)
	p.tell(evDrain{host: "h3", by: "ann"}).wantMembers("0.1 1.1 2.1 3.1 6.1 7.1")
	if !p.job.gen.Planned {
		t.Error("it isn't a planned change")
	}
	if _, err := p.job.mayDrain("h4"); err != nil {
		t.Error(err)
	}
	p.job.MinNP = 6
	if _, err := p.job.mayDrain("h4"); err == nil || !strings.Contains(err.Error(), "6 ranks without host h4: there is h:2 h2:2") {
		t.Errorf("leaving h4 too: %v", err)
	}
	if _, err := p.job.mayDrain("h7"); !isAbsent(err) {
		t.Errorf("leaving a host that isn't there: %v", err)
	}
}

func TestAHostThatIsAboutToGoIsLeft(t *testing.T) {
	p := elastic(t, nil)
	p.tell(evDrain{host: "h3", by: "its agent was asked to end", leaves: true}).wantMembers("0.1 1.1 2.1 3.1 6.1 7.1")
	p.exit("4.1", well).exit("5.1", well)
	p.did = nil
	p.tell(evHostLost{"h3", "its agent has left"}).want()
	if r := p.job.recruits(p.now.Add(time.Minute)); r.slots != 2 || r.except["h3"] {
		t.Errorf("looks for %+v: a host that is started anew may be used", r)
	}
}

func TestTheLastHostIsAboutToGo(t *testing.T) {
	p := started(t, func(r *rules) { r.Checkpoint = true })
	p.tell(evDrain{host: "h", by: "its agent was asked to end", leaves: true}).wantNote("there is no room elsewhere: ranks end after the same step")
	if last := p.did[len(p.did)-1]; last != "command stop=true checkpoint=true" {
		t.Errorf("decided %q", p.did)
	}
	for _, m := range []string{"0.1", "1.1", "2.1"} {
		p.exit(m, ending{status: 1})
	}
	if v := p.verdict(); v.Status != control.StatusTemporary {
		t.Errorf("verdict %+v", v)
	}
}

// A job of a fixed size moves, where there is room.
func TestRanksOfAJobThatIsNotElasticMove(t *testing.T) {
	p := started(t, func(r *rules) {
		r.Sites, r.Placed, r.Capacity = []string{"h", "h2"}, []int{0, 0, 1}, []int{3, 2}
	})
	if _, err := p.job.mayDrain("h"); err == nil || !strings.Contains(err.Error(), "3 ranks without host h") {
		t.Errorf("leaving h: %v", err)
	}
	p.tell(evDrain{host: "h2", by: "ann"})
	p.register("3.1").wantMembers("0.1 1.1 3.1")
	p.exit("2.1", well).wantNote("host h2 is drained")
	if v := p.job; v.restarts != 0 {
		t.Errorf("%d restarts", v.restarts)
	}
}

// Who is to take the places of ranks that leave can't: they stay.
func TestRanksStayWhereOthersCannotComeInTheirPlace(t *testing.T) {
	p := started(t, func(r *rules) {
		r.Sites, r.Placed, r.Capacity = []string{"h", "h2"}, []int{0, 0, 1}, []int{3, 2}
		r.Restarts = 0
	})
	p.tell(evDrain{host: "h2", by: "ann"})
	p.did = nil
	p.exit("3.1", ending{status: 64}).wantNote("ranks stay on h2, which is not drained").wantMembers("0.1 1.1 2.1")
	if p.job.phase != training || p.job.Spares != 0 || p.job.NP != 3 {
		t.Errorf("phase %d, %d spares, %d ranks", p.job.phase, p.job.Spares, p.job.NP)
	}
}
