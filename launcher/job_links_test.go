package launcher

import (
	"strings"
	"testing"

	"github.com/gorun-ml/gorun/internal/control"
)

// cut tells that a member has lost another in a generation.
func (p *play) cut(generation uint64, member, peer string) *play {
	return p.tell(evStranded{control.Stranded{Member: member, Generation: generation, Peer: peer, Detail: "connection lost"}})
}

// threeHosts is a rank on each of three hosts that are not the launcher's.
func threeHosts(t *testing.T, change func(*rules)) *play {
	p := newPlay(t, func(r *rules) {
		r.Sites, r.Placed, r.Capacity = []string{"h1", "h2", "h3"}, []int{0, 1, 2}, []int{2, 2, 2}
		if change != nil {
			change(r)
		}
	})
	p.register("0.1", "1.1", "2.1")
	p.did = nil
	return p
}

func TestAHostIsLeftForABrokenLink(t *testing.T) {
	p := threeHosts(t, nil)
	p.cut(1, "1.1", "2.1")
	if p.job.gen.ID != 2 || len(p.job.lost) > 0 {
		t.Fatalf("after the first time: generation %d; decided %q", p.job.gen.ID, p.did)
	}
	p.cut(1, "2.1", "1.1") // the same, said by the other
	p.did = nil
	p.cut(2, "2.1", "1.1")
	p.wantNote("host h3 was lost: h2 and h3 don't reach each other, though both answer: starting its 1 rank on other hosts (restart 1 of 3)")
	if c := p.job.slots[2].current; c.member != "2.2" || c.host != "h1" {
		t.Fatalf("%s on %s; decided %q", c.member, c.host, p.did)
	}
	p.register("2.2").wantMembers("0.1 1.1 2.2")
	lines := told(t, p.story)
	if last := lines[len(lines)-2]; !strings.HasPrefix(last, "host-lost") || !strings.Contains(last, "h2 and h3 don't reach each other") {
		t.Errorf("told %q", lines)
	}
	p.tell(evHostLost{"h3", "its agent has ended"}) // as it was asked to
	if again := told(t, p.story); len(again) != len(lines) {
		t.Errorf("told %q", again[len(lines):])
	}
}

// The host that more others don't reach is left.
func TestTheWorseHostIsLeft(t *testing.T) {
	p := threeHosts(t, nil)
	p.cut(1, "1.1", "2.1").cut(1, "1.1", "0.1").cut(2, "0.1", "1.1").wantNote("host h2 was lost: h1 and h2 don't reach each other")
}

func TestTheLaunchersHostIsNotLeft(t *testing.T) {
	p := threeHosts(t, func(r *rules) { r.Host = "h3" })
	p.cut(1, "1.1", "2.1").cut(2, "1.1", "2.1").wantNote("host h2 was lost: h2 and h3 don't reach each other")
}

// A link that works again for a step is not broken, nor is one inside a host.
func TestLinksThatWorkAreKept(t *testing.T) {
	p := threeHosts(t, func(r *rules) { r.Placed = []int{0, 1, 1} })
	for step := range 20 {
		p.tell(evReported{control.Report{Member: "0.1", Step: step + 1}})
		p.cut(p.job.gen.ID, "1.1", "0.1")
	}
	p.tell(evReported{control.Report{Member: "0.1", Step: 100}})
	p.cut(p.job.gen.ID, "1.1", "2.1").cut(p.job.gen.ID, "2.1", "1.1").cut(p.job.gen.ID, "2.1", "9.9")
	if len(p.job.lost) > 0 || p.job.phase != training {
		t.Errorf("lost %v, phase %d; decided %q", p.job.lost, p.job.phase, p.did)
	}
}

func TestABrokenLinkEndsAJobWithoutRestarts(t *testing.T) {
	p := threeHosts(t, func(r *rules) { r.Restarts = 0 })
	p.cut(1, "1.1", "2.1").cut(2, "1.1", "2.1")
	p.exit("0.1", killed).exit("1.1", killed)
	p.wantCause(control.StatusNoHost, control.KindHost, "was lost with its host: h2 and h3 don't reach each other")
}

// An elastic job goes on with fewer ranks, and doesn't want the host back at once.
func TestAnElasticJobLeavesABrokenLink(t *testing.T) {
	p := elastic(t, nil)
	p.cut(1, "3.1", "5.1").cut(2, "2.1", "4.1").wantMembers("0.1 1.1 2.1 3.1 6.1 7.1")
	if cool := p.job.stays[2].cool().Sub(p.now); cool < 60*coolFirst {
		t.Errorf("h3 is left alone for %v", cool)
	}
}
