package launcher

import (
	"syscall"
	"testing"

	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/internal/rendezvous"
)

func step(member string, generation uint64, n int) event {
	return evReported{control.Report{Member: member, Generation: generation, Step: n}}
}

// fallen ends a candidate and has the next one of its slot take its place.
func (p *play) fallen(generation uint64, member, next string, e ending) {
	p.exit(member, e)
	p.wait(longestPause)
	if p.job.phase == training {
		p.register(next)
		if p.job.gen.ID != generation+1 {
			p.t.Fatalf("generation %d after that of %s, want %d", p.job.gen.ID, next, generation+1)
		}
	}
}

func TestWhatFailsAtOneStepIsNotStartedForEver(t *testing.T) {
	three := ending{status: 3}
	many := func(r *rules) { r.Restarts = 100 }
	t.Run("three times in a row", func(t *testing.T) {
		p := started(t, many)
		p.tell(step("0.1", 1, 119))
		p.exit("1.1", three)
		p.tell(step("0.1", 1, 120)) // it was on its way
		p.register("1.2")
		p.fallen(2, "2.1", "2.2", three) // whoever has the sample
		p.exit("1.2", three)
		if want := "rank 1 (host h, pid 4714) failed 3 times at step 120: exited with status 3"; p.job.cause == nil || p.job.status != 3 || p.job.cause.String() != want {
			t.Errorf("status %d: %v, want %q", p.job.status, p.job.cause, want)
		}
	})
	t.Run("a step between", func(t *testing.T) {
		p := started(t, many)
		for g, members := range [][2]string{{"1.1", "1.2"}, {"1.2", "1.3"}, {"1.3", "1.4"}, {"1.4", "1.5"}} {
			p.tell(step("0.1", uint64(g+1), 10+g))
			p.fallen(uint64(g+1), members[0], members[1], three)
		}
		if p.job.cause != nil {
			t.Errorf("it ended: %v", p.job.cause)
		}
	})
	t.Run("all at once count once", func(t *testing.T) {
		p := started(t, many)
		p.exit("0.1", three).exit("1.1", three).exit("2.1", three)
		p.register("0.2", "1.2", "2.2")
		p.exit("0.2", three).exit("1.2", three)
		if p.job.cause != nil {
			t.Fatalf("it ended: %v", p.job.cause)
		}
		p.wait(longestPause)
		p.register("0.3", "1.3")
		p.exit("2.2", ending{status: 134, signal: syscall.SIGABRT})
		if want := "rank 0 (host h, pid 4716) failed 3 times before its first step: was ended by SIGABRT"; p.job.cause == nil || p.job.status != 134 || p.job.cause.String() != want {
			t.Errorf("status %d: %v, want %q", p.job.status, p.job.cause, want)
		}
	})
	t.Run("somebody kills them", func(t *testing.T) {
		p := started(t, many)
		for g, members := range [][2]string{{"1.1", "1.2"}, {"1.2", "1.3"}, {"1.3", "1.4"}, {"1.4", "1.5"}} {
			p.fallen(uint64(g+1), members[0], members[1], killed)
		}
		if p.job.cause != nil {
			t.Errorf("it ended: %v", p.job.cause)
		}
	})
	t.Run("the kernel does, for memory", func(t *testing.T) {
		p := started(t, many)
		full := ending{status: 137, signal: syscall.SIGKILL, starved: true, limit: 200 << 20}
		p.fallen(1, "1.1", "1.2", full)
		p.fallen(2, "1.2", "1.3", full)
		p.exit("1.3", full)
		if c := p.job.cause; c == nil || p.job.status != 137 || c.Kind != control.KindMemory || c.Times != 3 {
			t.Errorf("status %d: %v, want 137 after 3 times", p.job.status, c)
		}
	})
	t.Run("before it has joined", func(t *testing.T) {
		p := newPlay(t, many)
		p.tell(evRegistered{rendezvous.Member{ID: "0.1", Host: "h", Addr: "a"}})
		p.exit("1.1", three).exit("2.1", three)
		p.wait(longestPause)
		p.exit("1.2", three)
		if p.job.cause != nil {
			t.Fatalf("it ended: %v", p.job.cause)
		}
		p.wait(longestPause)
		p.exit("1.3", three)
		if p.job.cause == nil || p.job.cause.Times != 3 {
			t.Errorf("cause %v, want 3 times", p.job.cause)
		}
	})
}
