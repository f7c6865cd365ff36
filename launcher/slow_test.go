package launcher

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
)

// race has ranks do steps, which take each of them so many milliseconds of its own, and looks
// every second. It returns what was found.
func race(p *play, s *paces, steps int, every time.Duration, own ...float64) (found []evSlow) {
	looked := p.now
	for range steps {
		p.now = p.now.Add(every)
		for i, m := range p.job.gen.Members {
			s.hear(control.Report{Member: m.ID, Generation: p.job.gen.ID, Size: len(own), ComputeMS: own[i] - own[i]/4, InputMS: own[i] / 4})
		}
		if p.now.Sub(looked) < paceEvery {
			continue
		}
		looked = p.now
		for _, e := range s.find(p.job, p.now) {
			found = append(found, e.(evSlow))
			p.tell(e)
		}
	}
	return found
}

func TestWhoIsSlow(t *testing.T) {
	for name, c := range map[string]struct {
		own   []float64
		steps int
		every time.Duration
		want  []string
	}{
		"one is":                    {[]float64{10, 11, 41}, 200, 50 * time.Millisecond, []string{"2.1"}},
		"not long enough":           {[]float64{10, 11, 41}, 80, 50 * time.Millisecond, nil},
		"nor in enough steps":       {[]float64{10000, 11000, 41000}, 50, 41 * time.Second, nil},
		"a few steps, each of long": {[]float64{10000, 11000, 41000}, 70, 41 * time.Second, []string{"2.1"}},
		"noise":                     {[]float64{10, 13, 19}, 1000, 20 * time.Millisecond, nil},
		"too little to matter":      {[]float64{0.1, 0.1, 0.9}, 20000, time.Millisecond, nil},
		"two of three are not":      {[]float64{41, 40, 10}, 1000, 50 * time.Millisecond, nil},
		"others work next to none":  {[]float64{0, 41, 0}, 200, 50 * time.Millisecond, []string{"1.1"}},
	} {
		p := started(t, nil)
		var got []string
		for _, e := range race(p, newPaces(0), c.steps, c.every, c.own...) {
			got = append(got, e.Member)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v are slow, want %v", name, got, c.want)
		}
		for _, line := range p.did {
			if strings.Contains(line, "Inf") || strings.Contains(line, "NaN") {
				t.Errorf("%s: says %q", name, line)
			}
		}
	}
}

// Ranks that differ from step to step, and by the pauses of a busy machine, are not slow.
func TestPausesAreNotSlow(t *testing.T) {
	p, s := started(t, nil), newPaces(1.5)
	for step := range 5000 {
		own := []float64{10, 10, 10}
		own[step%3] *= 20
		own[1] += 4 * math.Sin(float64(step))
		if found := race(p, s, 1, 20*time.Millisecond, own...); found != nil {
			t.Fatalf("step %d: %+v", step, found)
		}
		p.now = p.now.Add(time.Second)
		if found := s.find(p.job, p.now); found != nil {
			t.Fatalf("step %d: %+v", step, found)
		}
	}
}

func TestASlowRankIsToldOfOnce(t *testing.T) {
	p := started(t, nil)
	race(p, newPaces(0), 2000, 50*time.Millisecond, 10, 10, 41)
	p.want("note rank 2 (host h, pid 4713) is 4.1 x slower than the median of 3 ranks for 100 steps: 41 ms of its own work a step instead of 10 ms")
	if lines := told(t, p.story); len(lines) != 2 || !strings.HasPrefix(lines[1], "slow g1 n3 s0 (rank 2 on h): rank 2 (host h, pid 4713) is 4.1 x slower") {
		t.Errorf("told %q", lines)
	}
	p.tell(evSlow{slowness{Member: "9.9"}}, evSlow{slowness{Member: "1.1", Evict: true}}) // a stranger; nothing is to be replaced
	if p.job.evictions != 0 || p.job.drains() {
		t.Error("a rank was replaced without --evict-slow")
	}
}

// evicting is a job on three hosts, the last of them with a slot that is free, of which the
// slowest rank on the second was found.
func evicting(t *testing.T, change func(*rules)) (*play, *paces) {
	t.Helper()
	p := started(t, func(r *rules) {
		r.EvictSlow = 3
		r.Sites, r.Placed, r.Capacity = []string{"h", "h2", "h3"}, []int{0, 1, 0}, []int{2, 1, 1}
		if change != nil {
			change(r)
		}
	})
	s := newPaces(3)
	if found := race(p, s, 200, 50*time.Millisecond, 10, 41, 10); len(found) != 1 || !found[0].Evict {
		t.Fatalf("found %+v; decided %q", found, p.did)
	}
	return p, s
}

func TestASlowRankIsReplacedElsewhere(t *testing.T) {
	p, s := evicting(t, nil)
	p.wantNote("another takes its place (1 of 3)")
	if p.did[1] != "start 3.1" || p.job.members["3.1"].host != "h3" {
		t.Fatalf("decided %q, on %s", p.did, p.job.members["3.1"].host)
	}
	p.did = nil
	p.register("3.1").want("commit 2: 0.1 2.1 3.1", "note generation 2: rank 1 (pid 4712 on h) left; replaced by pid 4714 as rank 2", "label 2.1 1", "label 3.1 2")
	if !p.job.gen.Planned || p.job.drains() {
		t.Error("it isn't a planned change, or not the only one")
	}
	p.exit("1.1", well).want()
	// The new one is as slow, and has a minute until it is replaced.
	race(p, s, 500, 50*time.Millisecond, 10, 10, 41)
	p.wantNote("41 ms of its own work a step instead of 10 ms")
	if p.job.evictions != 1 {
		t.Fatalf("decided %q", p.did)
	}
	race(p, s, 1000, 50*time.Millisecond, 10, 10, 41)
	p.wantNote("another takes its place (2 of 3)")
	if c := p.job.slots[1].current; c.member != "1.2" || c.host != "h2" {
		t.Errorf("%s was started on %s, want the other host; decided %q", c.member, c.host, p.did)
	}
	if p.job.restarts != 0 {
		t.Errorf("%d restarts", p.job.restarts)
	}
}

// Where no other host has room the new one is on the same, and not on one that is full.
func TestASlowRankIsReplacedWhereItWas(t *testing.T) {
	p, _ := evicting(t, func(r *rules) { r.Capacity = []int{2, 1, 0}; r.Sites = r.Sites[:2]; r.Capacity = r.Capacity[:2] })
	if host := p.job.members["3.1"].host; host != "h2" {
		t.Errorf("on %s, want h2; decided %q", host, p.did)
	}
}

func TestASpareTakesASlowRanksPlace(t *testing.T) {
	p := newPlay(t, func(r *rules) { r.EvictSlow, r.Spares = 2, 1 })
	p.register("0.1", "1.1", "2.1", "3.1")
	race(p, newPaces(2), 200, 50*time.Millisecond, 10, 41, 10)
	p.wantMembers("0.1 2.1 3.1")
	if !p.job.gen.Planned || p.job.restarts != 0 || p.job.slots[4].current.member != "4.1" {
		t.Errorf("decided %q", p.did)
	}
}

// A job replaces no more than so many ranks for it, whatever it is.
func TestEvictionsEnd(t *testing.T) {
	p := started(t, func(r *rules) { r.EvictSlow = 3 })
	s := newPaces(3)
	for range 40 {
		own := make([]float64, 3)
		for i := range own {
			own[i] = 10
		}
		own[2] = 50 // whoever has this rank
		race(p, s, 500, 50*time.Millisecond, own...)
		for _, c := range p.job.candidates() {
			if !c.registered && !c.exited {
				p.register(c.member)
			}
		}
	}
	if p.job.evictions != mostEvicted || p.job.phase != training || p.job.gen.ID != 1+mostEvicted {
		t.Errorf("%d were replaced, in generation %d", p.job.evictions, p.job.gen.ID)
	}
	p.wantNote("it stays, 3 ranks were replaced before")
}

// Who was to take the place does not come: the slow one stays, and the job goes on.
func TestASlowRankStaysForWantOfAnother(t *testing.T) {
	p, _ := evicting(t, nil)
	p.wait(time.Minute).wantNote("to be in the place of one that is to leave, had not called worker.Run")
	p.wantNote("rank 1 (host h2, pid 4712) stays, slow as it is")
	p.exit("3.1", ending{status: 143})
	if p.job.drains() || p.job.gen.ID != 1 || p.job.phase != training {
		t.Errorf("generation %d; decided %q", p.job.gen.ID, p.did)
	}
}

// It dies before another has taken its place: then it is a death like any.
func TestASlowRankThatDies(t *testing.T) {
	p, _ := evicting(t, nil)
	p.did = nil
	p.exit("1.1", killed).register("3.1").wantMembers("0.1 2.1 3.1")
	p.wait(time.Minute)
	alive := 0
	for _, c := range p.job.candidates() {
		if c.alive() && !c.released {
			alive++
		}
	}
	if alive != 3 || p.job.phase != training {
		t.Errorf("%d processes; decided %q", alive, p.did)
	}
}
