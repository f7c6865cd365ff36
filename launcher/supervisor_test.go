package launcher

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/internal/rendezvous"
)

// stage stands in for processes: a test plays them, and says what becomes of each.
type stage struct {
	starts  chan string // members, as they are started
	fail    error
	signals func(member string, s syscall.Signal)
}

func (s *stage) start(o order) (int, error) {
	if s.fail != nil {
		return 0, s.fail
	}
	s.starts <- o.member
	return 42, nil
}

func (s *stage) signal(member string, sig syscall.Signal) { s.signals(member, sig) }
func (s *stage) label(string, int)                        {}
func (s *stage) use(string, string)                       {}
func (s *stage) endAll()                                  {}
func (s *stage) dismiss(string)                           {}
func (s *stage) end(string)                               {}

// perform runs a supervisor over a stage in a bubble of its own, and returns what it said.
// Processes that are deaf end by SIGKILL only.
func perform(t *testing.T, deaf bool, play func(s *supervisor, g *stage, store *rendezvous.Memory)) (v Verdict, said string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var screen bytes.Buffer
		out, err := newOutput(&sink{w: &screen}, &sink{w: &screen}, "", false, true)
		if err != nil {
			t.Fatal(err)
		}
		store := rendezvous.NewMemory()
		s := newSupervisor()
		s.begin(newJob(rules{
			Job: "7f3a", Host: "h", NP: 2, Restarts: 1, Source: true, StartTimeout: time.Minute, Grace: 5 * time.Second,
		}, time.Now()))
		g := &stage{starts: make(chan string, 8)}
		g.signals = func(member string, sig syscall.Signal) {
			if deaf && sig != syscall.SIGKILL {
				return
			}
			go s.tell(evExited{member, ending{status: 128 + int(sig), signal: sig}})
			go s.tell(evDrained{member, tail{}})
		}
		s.store, s.agent, s.out, s.plain = store, g, out, true
		s.command = func(control.Command) error { return nil }
		s.order = func(a actStart) (order, error) { return order{member: a.member}, nil }
		go play(s, g, store)
		v = s.supervise(t.Context())
		synctest.Wait()
		if err := out.close(v.Line()); err != nil {
			t.Error(err)
		}
		said = screen.String()
	})
	return v, said
}

func member(id string) rendezvous.Member { return rendezvous.Member{ID: id, Host: "h"} }

func TestSupervisorCarriesAJobOverALoss(t *testing.T) {
	v, said := perform(t, false, func(s *supervisor, g *stage, store *rendezvous.Memory) {
		_ = s.voice().Registered(member(<-g.starts))
		_ = s.voice().Registered(member(<-g.starts))
		first, err := store.Watch(context.Background(), 0)
		if err != nil || len(first.Members) != 2 {
			t.Errorf("generation %+v, %v", first, err)
		}
		for step := 1; step <= 3; step++ {
			s.voice().Reported(reported(1, 2, 0, step))
			s.voice().Reported(reported(1, 2, 1, step))
		}
		s.tell(evExited{"1.1", killed})
		s.tell(evDrained{"1.1", tail{}})
		_ = s.voice().Registered(member(<-g.starts))
		second, err := store.Watch(context.Background(), first.ID)
		if err != nil || second.Members[1].ID != "1.2" {
			t.Errorf("generation %+v, %v", second, err)
		}
		if ranks, ok := s.ps().([]RankState); !ok || len(ranks) != 2 || ranks[1].Generation != 2 || ranks[0].Step != 3 || ranks[1].PID != 42 {
			t.Errorf("ps: %+v", ranks)
		}
		for _, m := range second.Members {
			_ = s.voice().Finished(control.Finish{Member: m.ID, Generation: second.ID, Step: 10, Summary: []string{"accuracy 97 %"}})
		}
		if last, err := store.Watch(context.Background(), second.ID); err != nil || !last.Done {
			t.Errorf("generation %+v, %v", last, err)
		}
		for _, m := range second.Members {
			s.tell(evExited{m.ID, well})
			s.tell(evDrained{m.ID, tail{}})
		}
	})
	if !v.OK || v.Steps != 10 || v.Generations != 2 {
		t.Errorf("verdict %+v", v)
	}
	for _, want := range []string{
		"gorun: rank 1 (host h, pid 42) was ended by SIGKILL at step 3: starting it anew (restart 1 of 1)\n",
		"gorun: generation 2: ", "accuracy 97 % · 1 epoch · 0.0 s\n",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("said %q, want %q in it", said, want)
		}
	}
}

func TestSupervisorKeepsItsBounds(t *testing.T) {
	v, _ := perform(t, true, func(s *supervisor, g *stage, _ *rendezvous.Memory) {
		<-g.starts
		<-g.starts
	})
	if v.Cause == nil || v.Cause.Kind != control.KindTimeout {
		t.Fatalf("verdict %+v", v)
	}
	if want := (time.Minute + 4500*time.Millisecond).Seconds(); v.Seconds != want {
		t.Errorf("took %v s, want %v", v.Seconds, want)
	}
}

func TestSupervisorEndsWhereTheLauncherCanNotGoOn(t *testing.T) {
	v, _ := perform(t, false, func(s *supervisor, g *stage, _ *rendezvous.Memory) {
		<-g.starts
		<-g.starts
		s.tell(evBroken{errors.New("control plane is gone")})
	})
	if v.Status != control.StatusTemporary || v.Cause.String() != "control plane is gone" {
		t.Errorf("verdict %+v, cause %v", v, v.Cause)
	}
}
