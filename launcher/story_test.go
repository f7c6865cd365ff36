package launcher

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
)

// told is a story, a line an event.
func told(t *testing.T, s *story) (lines []string) {
	t.Helper()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for from := uint64(0); ; {
		r := s.read(ended, from)
		for _, e := range r.Events {
			if e.Job != s.job || e.T < 1000 {
				t.Errorf("event %+v: want one of job %s after 1000 s", e, s.job)
			}
			about := ""
			if e.Rank >= 0 || e.Host != "" {
				about = fmt.Sprintf(" (rank %d on %s)", e.Rank, e.Host)
			}
			lines = append(lines, fmt.Sprintf("%s g%d n%d s%d%s: %s", e.Event, e.Generation, e.Size, e.Step, about, eventLine(e)))
		}
		if r.Next == from {
			return lines
		}
		from = r.Next
	}
}

func TestStory(t *testing.T) {
	want := func(t *testing.T, s *story, lines ...string) {
		t.Helper()
		if got := told(t, s); !slices.Equal(got, lines) {
			t.Errorf("told\n  %q\nwant\n  %q", got, lines)
		}
	}
	first := "generation g1 n3 s0: generation 1 of 3 ranks: 3 ranks have registered"
	t.Run("a rank dies, all finish", func(t *testing.T) {
		p := started(t, nil)
		p.tell(evReported{control.Report{Member: "1.1", Step: 120}})
		p.exit("1.1", killed)
		p.now = p.now.Add(310 * time.Millisecond)
		p.register("1.2").tell(evReported{control.Report{Member: "0.1", Generation: 1, Step: 120}}) // it was on its way
		p.tell(evReported{control.Report{Member: "0.1", Generation: 2, Step: 121}}, evReported{control.Report{Member: "2.1", Generation: 2, Step: 121}})
		p.finish(2, "0.1", "2.1", "1.2").exit("0.1", well).exit("2.1", well).exit("1.2", well)
		p.story.over(p.verdict(), p.now)
		p.story.events[0].Detail = "3 ranks have registered" // in Next's words
		p.story.events[2].Detail = "one is replaced"
		want(t, p.story, first,
			"rank-lost g1 n3 s120 (rank 1 on h): rank 1 (host h, pid 4712) was ended by SIGKILL at step 120: starting it anew (restart 1 of 3)",
			"generation g2 n3 s120: generation 2 of 3 ranks: one is replaced",
			"training g2 n3 s121: training again after 0.310 s, step 121",
			"finished g3 n3 s121: every rank has finished",
			"end g2 n0 s121: ended with status 0: accuracy 97 % · 121 steps · 0.3 s")
	})
	t.Run("a rank hangs", func(t *testing.T) {
		p := started(t, nil)
		hangs := evStalled{"1.1", "gave no sign of life for 4s", true}
		p.tell(hangs, hangs)
		p.now = p.now.Add(time.Second)
		p.exit("1.1", killed).register("1.2")
		p.tell(evReported{control.Report{Member: "1.2", Generation: 2, Step: 1}})
		p.story.events[0].Detail = "3 ranks have registered"
		p.story.events[3].Detail = "one is replaced"
		want(t, p.story, first,
			"stalled g1 n3 s0 (rank 1 on h): rank 1 (host h, pid 4712) gave no sign of life for 4s: it is ended",
			"rank-lost g1 n3 s0 (rank 1 on h): rank 1 (host h, pid 4712) gave no sign of life for 4s: starting it anew (restart 1 of 3)",
			"generation g2 n3 s0: generation 2 of 3 ranks: one is replaced",
			"training g2 n3 s1: training again after 1.000 s, step 1")
	})
	t.Run("a value that is not finite", func(t *testing.T) {
		p := started(t, nil)
		odd := 1
		p.tell(evFailed{control.Failure{Member: "0.1", Generation: 1, Kind: control.KindNonFinite, Detail: "step 8", Step: 7, Status: 1, Blame: &odd}})
		for _, m := range []string{"0.1", "1.1", "2.1"} {
			p.exit(m, ending{status: 1})
		}
		p.story.events[0].Detail = "3 ranks have registered"
		want(t, p.story, first, "failed g1 n3 s0 (rank 1 on h): rank 1 (host h, pid 4712) met a value that is not finite: step 8: the job ends")
		if a := account(p.story.whole(p.verdict(), p.now), 0); a.RanksLost != 0 {
			t.Errorf("%d ranks were lost, want none", a.RanksLost)
		}
	})
	t.Run("a checkpoint, a stop", func(t *testing.T) {
		p := started(t, func(r *rules) { r.Checkpoint = true })
		p.tell(evSignal{signal: syscall.SIGTERM, by: "ann@h2"}, evSaved{control.Saved{Step: 9, Path: "ck/step-9"}})
		p.exit("0.1", well).exit("1.1", well).exit("2.1", well)
		p.story.over(p.verdict(), p.now)
		p.story.events[0].Detail = "3 ranks have registered"
		want(t, p.story, first,
			"stop g1 n3 s0: asked to stop: gorun stop (ann@h2)",
			"saved g1 n3 s9: checkpoint of step 9 saved: ck/step-9",
			"end g1 n0 s0 (rank -1 on h): ended with status 75: job 7f3a was stopped by gorun stop (ann@h2); newest checkpoint ck/step-9")
	})
	t.Run("a host is lost, then a rank for good", func(t *testing.T) {
		p := started(t, func(r *rules) {
			r.Sites, r.Placed, r.Capacity, r.Restarts = []string{"h", "h2"}, []int{0, 0, 1}, []int{2, 2}, 1
		})
		p.tell(evHostLost{"h2", "its agent has ended"}, evHostLost{"h2", "it doesn't answer any more"}, evHostLost{"h9", "unheard of"})
		p.exit("0.1", ending{status: 3})
		p.wait(time.Minute)
		p.story.events[0].Detail = "3 ranks have registered"
		want(t, p.story, first,
			"host-lost g1 n3 s0 (rank -1 on h2): host h2 was lost: its agent has ended: starting its 1 rank on other hosts (restart 1 of 1)",
			"rank-lost g1 n3 s0 (rank 0 on h): rank 0 (host h, pid 4711) exited with status 3: the job ends")
	})
}

// Only the newest events are kept, and who reads is told how many are gone.
func TestStoryIsBounded(t *testing.T) {
	s := newStory("7f3a")
	for n := range storyEvents + 100 {
		s.add(control.Event{T: 1000, Job: "7f3a", Event: control.EventSaved, Step: n})
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	r := s.read(ended, 40)
	if r.Missed != 60 || len(r.Events) != storyAnswer || r.Events[0].Step != 100 || r.Next != 100+storyAnswer {
		t.Errorf("from 40: %d events from step %d, %d missed, next %d", len(r.Events), r.Events[0].Step, r.Missed, r.Next)
	}
	if lines := told(t, s); len(lines) != storyEvents {
		t.Errorf("%d events are kept, want %d", len(lines), storyEvents)
	}
	if r := s.read(ended, 1<<62); len(r.Events) > 0 || r.Missed > 0 || r.Next != storyEvents+100 {
		t.Errorf("from beyond the end: %+v", r)
	}
}

// Who waits hears of each event, and of the end.
func TestStoryIsFollowed(t *testing.T) {
	const events = 500
	s := newStory("7f3a")
	var following sync.WaitGroup
	for range 3 {
		following.Go(func() {
			seen := 0
			for from := uint64(0); ; {
				r := s.read(context.Background(), from)
				for _, e := range r.Events {
					if e.Step != seen {
						t.Errorf("step %d, want %d", e.Step, seen)
					}
					seen++
				}
				from = r.Next
				if r.End != nil {
					if r.End.Status != 3 || seen != events+1 {
						t.Errorf("end %+v after %d events, want status 3 after %d", r.End, seen, events+1)
					}
					return
				}
			}
		})
	}
	for n := range events {
		s.add(control.Event{Step: n})
	}
	s.over(Verdict{Job: "7f3a", Status: 3, Steps: events, Cause: &Cause{Rank: 1, Kind: control.KindExit, Detail: "exited with status 3"}}, time.Now())
	following.Wait()
}
