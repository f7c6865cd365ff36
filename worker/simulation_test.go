package worker

import (
	"context"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var (
	seeds    = flag.Int("seeds", 400, "schedules that TestSimulatedJobs plays")
	seedFrom = flag.Uint64("seed", 0, "the first of them")
)

// schedule is a simulated job and what happens to it. It follows from its seed alone; which
// of two goroutines goes first that are ready in the same instant does not.
type schedule struct {
	seed          uint64
	ranks, hosts  int
	elastic       bool
	window        bool   // ranks of a host reach each other's memory
	algorithm     string // choosing one takes longer than all else
	sampler       Sampler
	compute       time.Duration // of a part of the backward pass, at most; so are the others
	frame, letter time.Duration
	startup       time.Duration
	patience      time.Duration // until a seat that is cut off is taken for dead
	settle        time.Duration
	disturbances  []disturbance
	began         time.Time
}

// disturbance is one thing that goes wrong, or is asked for.
type disturbance struct {
	what   string
	after  time.Duration // the one before it or, if it follows, the next generation's commit
	follow bool
	n      int           // which seat, or how many ranks
	length time.Duration // that it lasts
}

// tookAtMost bounds a job of a schedule, in simulated time, once nothing disturbs it any
// more: ranks that lost their peers wait for 2 minutes, and may do so once each generation.
const tookAtMost = 10 * time.Minute

func newSchedule(seed uint64) schedule {
	r := rand.New(rand.NewPCG(seed, 42))
	upTo := func(d time.Duration) time.Duration { return time.Duration(1 + r.Int64N(int64(d))) }
	s := schedule{
		seed: seed, ranks: 1 + r.IntN(5), hosts: 1 + r.IntN(4), elastic: r.IntN(3) == 0, window: r.IntN(8) == 0, algorithm: []string{"ring", "ring", "tree", "halving-doubling"}[r.IntN(4)],
		// Weights of steps are powers of two, so that averages are exact.
		sampler: Sampler{Samples: 8*(1+r.IntN(4)) + []int{0, 1, 2, 4}[r.IntN(4)], Batch: 8, Epochs: 1 + r.IntN(4), Seed: seed},
		compute: upTo(5 * time.Millisecond), frame: upTo(3 * time.Millisecond), letter: upTo(30 * time.Millisecond),
		startup: upTo(100 * time.Millisecond), patience: upTo(200 * time.Millisecond), settle: upTo(30 * time.Millisecond),
	}
	for range r.IntN(6) {
		e := disturbance{n: r.IntN(8), after: upTo(80 * time.Millisecond), length: upTo(time.Second)}
		if e.follow = r.IntN(3) == 0; e.follow {
			e.after = upTo(2*s.letter + 20*s.frame)
		}
		switch p := r.IntN(20); {
		case p < 9:
			e.what = "kill"
		case p < 11:
			e.what = "break"
		case p < 13:
			e.what = "cut"
		case p < 15:
			e.what = "hang"
		case p < 19:
			e.what, e.n = "resize", 1+r.IntN(6)
		default:
			e.what = "stop"
		}
		s.disturbances = append(s.disturbances, e)
	}
	return s
}

// draw is a random part of most, the same whenever the n-th one is asked for.
func (s schedule) draw(most time.Duration, what string, who, n uint64) time.Duration {
	h := fnv.New64a()
	fmt.Fprint(h, s.seed, what, who, n)
	return time.Duration(rand.New(rand.NewPCG(h.Sum64(), 7)).Int64N(int64(most)))
}

func (s schedule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d ranks on %d hosts, elastic %v, window %v, %s, %+v; compute %v, frames %v, letters %v, start %v, patience %v, settle %v", s.ranks, s.hosts, s.elastic, s.window, s.algorithm, s.sampler, s.compute, s.frame, s.letter, s.startup, s.patience, s.settle)
	for _, e := range s.disturbances {
		from := "then"
		if e.follow {
			from = "next generation"
		}
		fmt.Fprintf(&b, "\n\t%s + %v: %s %d (%v)", from, e.after, e.what, e.n, e.length)
	}
	return b.String()
}

// play runs the job of a schedule to its end, in a synctest bubble.
func (s schedule) play(t *testing.T) tallies {
	s.began = time.Now()
	d := newDesk(t, s)
	defer func() {
		if t.Failed() {
			t.Logf("go test ./worker -run 'TestSimulatedJobs$' -seeds 1 -seed %d\n%v", s.seed, s)
		}
	}()
	d.mu.Lock()
	d.decide()
	d.mu.Unlock()
	for _, e := range s.disturbances {
		if e.follow {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			_, _ = d.store.Watch(ctx, d.store.Current().ID) // or none comes
			cancel()
		}
		lapse(e.after, d.over)
		d.meddle(e)
	}
	end := time.AfterFunc(tookAtMost, d.expire)
	tick := time.NewTicker(50 * time.Millisecond)
	for over := false; !over; {
		select {
		case <-tick.C:
			d.mu.Lock()
			d.decide() // newcomers may have settled
			d.mu.Unlock()
		case <-d.over:
			over = true
		}
	}
	tick.Stop()
	end.Stop()
	d.ranks.Wait()
	d.close()
	return d.seen
}

// TestSimulatedJobs plays random schedules of deaths, broken connections, silences, resizes and
// stops against the loop of Run, with the real rendezvous, collectives and an in-process
// fabric whose frames take their time. What must hold is in book_test.go; goroutines that
// are left, or that wait for each other, end the bubble with an error.
//
// It has found what is mended now: ranks that went on with a mixture of two states after the
// sender of the newest was killed (seed 23), and a rank that, alone in its generation, went
// on after it had heard of a later one (seed 677). What it finds, of faults put in by hand:
//
//	apply a step before the control word has come       seed 11
//	go on in a session that another generation follows  seed 0
//	wait for another rank where one was replaced        seed 5
//	take the oldest state in the place of the newest    seed 316 or 348
//	go on after a step that a planned change follows    seed 29
func TestSimulatedJobs(t *testing.T) {
	var all tallies
	for k := range *seeds {
		s := newSchedule(*seedFrom + uint64(k))
		synctest.Test(t, func(t *testing.T) { all.add(s.play(t)) })
	}
	t.Logf("%d schedules: %+v", *seeds, all)
	if *seeds >= 100 && all.dull(*seeds) {
		t.Errorf("the schedules are too dull to prove anything: %+v", all)
	}
}

func (a *tallies) add(b tallies) {
	a.generations += b.generations
	a.planned += b.planned
	a.lost += b.lost
	a.fenced += b.fenced
	a.released += b.released
	a.redone += b.redone
	a.stopped += b.stopped
	a.finished += b.finished
}

func (a tallies) dull(n int) bool {
	return a.generations < 2*n || a.planned < n/20 || a.lost < n/2 || a.released < n/20 || a.redone < n/20 || a.stopped < n/50 || a.finished < n
}
