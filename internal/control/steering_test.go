package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// steerable is a hub that serves commands with functions of a test.
func steerable(t *testing.T, s Steering) *job {
	t.Helper()
	j := startJob(t)
	if s.Log == nil {
		s.Log = func(context.Context, LogRequest) LogReply { return LogReply{} }
	}
	if s.Events == nil {
		s.Events = func(context.Context, EventsRequest) EventsReply { return EventsReply{} }
	}
	if s.Leave == nil {
		s.Leave = func(string) {}
	}
	if s.Resize == nil {
		s.Resize = func(ResizeRequest) (ResizeReply, error) { return ResizeReply{}, nil }
	}
	if s.Stop == nil {
		s.Stop = func(StopRequest) (StopReply, error) { return StopReply{}, nil }
	}
	if err := errors.Join(j.hub.ServeSteering(s), j.hub.ServePS(func() any { return []int{} })); err != nil {
		t.Fatal(err)
	}
	return j
}

func (j *job) visit(brokers string) *Visitor {
	j.t.Helper()
	v, err := Visit(context.Background(), "j1", brokers, BrokerSeed(j.secret))
	if err != nil {
		j.t.Fatal(err)
	}
	j.t.Cleanup(v.Close)
	return v
}

func TestVisitorAsks(t *testing.T) {
	asked := 0
	rank, left := 3, make(chan string, 1)
	j := steerable(t, Steering{
		Log: func(_ context.Context, q LogRequest) LogReply {
			if q.From != 7 || q.Rank == nil || *q.Rank != 3 || !q.Notes || q.Last != nil {
				t.Errorf("log request %+v", q)
			}
			return LogReply{Lines: []LogLines{{Origin: FromStderr, Rank: 3, Text: []byte("\xff\x00[3] a\n")}}, Next: 8, After: 9, Missed: 2, Live: "epoch 1"}
		},
		Events: func(_ context.Context, q EventsRequest) EventsReply {
			status := 3
			return EventsReply{Events: []Event{{T: 1.5, Job: "j1", Event: EventEnd, Rank: -1, Status: &status}}, Next: q.From + 1, End: &End{Status: 3, Line: "it failed"}}
		},
		Leave: func(name string) { left <- name },
		Stop: func(q StopRequest) (StopReply, error) {
			if !q.Now || q.By != "ann@h2" {
				t.Errorf("stop request %+v", q)
			}
			if asked++; asked == 1 {
				return StopReply{}, ErrElsewhere // which has it ask again
			}
			return StopReply{Grace: 5 * time.Second}, nil
		},
	})
	v := j.visit("127.0.0.1:9," + j.addr) // nobody is at the first
	ctx := t.Context()
	log, err := v.Log(ctx, LogRequest{From: 7, Rank: &rank, Notes: true})
	if err != nil || len(log.Lines) != 1 || string(log.Lines[0].Text) != "\xff\x00[3] a\n" || log.Lines[0].Origin != FromStderr || log.Next != 8 || log.After != 9 || log.Missed != 2 || log.Live != "epoch 1" || log.End != nil {
		t.Errorf("log: %+v, %v", log, err)
	}
	events, err := v.Events(ctx, EventsRequest{From: 4})
	if err != nil || len(events.Events) != 1 || events.Next != 5 || events.End == nil || *events.End != (End{Status: 3, Line: "it failed"}) || *events.Events[0].Status != 3 {
		t.Errorf("events: %+v, %v", events, err)
	}
	if stop, err := v.Stop(ctx, StopRequest{Now: true, By: "ann@h2"}); err != nil || stop.Grace != 5*time.Second {
		t.Errorf("stop: %+v, %v", stop, err)
	}
	if ps, err := v.PS(ctx); err != nil || string(ps) != "[]" {
		t.Errorf("ps: %s, %v", ps, err)
	}
	name := v.Name()
	v.Close()
	if got := <-left; got != name {
		t.Errorf("%q has left, want %q", got, name)
	}
}

// A request that is held is answered when there is something, and one that is held while the
// broker goes away is made again.
func TestVisitorOutlivesABroker(t *testing.T) {
	held, lines := make(chan struct{}, 2), make(chan struct{})
	j := steerable(t, Steering{Log: func(ctx context.Context, _ LogRequest) LogReply {
		held <- struct{}{}
		select {
		case <-lines:
		case <-ctx.Done():
		}
		return LogReply{Next: 1}
	}})
	v := j.visit(j.addr)
	answered := make(chan error, 1)
	go func() {
		r, err := v.Log(context.Background(), LogRequest{Hold: time.Minute})
		if err == nil && r.Next != 1 {
			err = fmt.Errorf("answer %+v", r)
		}
		answered <- err
	}()
	<-held
	j.stop()
	j.start()
	<-held
	close(lines)
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
}

func TestVisitorGivesUp(t *testing.T) {
	j := startJob(t)
	ctx := t.Context()
	if _, err := Visit(ctx, "j1", fmt.Sprintf("127.0.0.1:%d", freePort(t)), BrokerSeed(j.secret)); !errors.Is(err, ErrUnreachable) {
		t.Errorf("without a broker: %v", err)
	}
	if _, err := Visit(ctx, "j1", j.addr, BrokerSeed([SecretBytes]byte{9})); !errors.Is(err, ErrAuth) {
		t.Errorf("with another secret: %v", err)
	}
	if _, err := Visit(ctx, "a.b", j.addr, BrokerSeed(j.secret)); err == nil {
		t.Error("job a.b was accepted")
	}
	// Nobody serves steering: also where the request asks to be held.
	v := j.visit(j.addr)
	began := time.Now()
	if _, err := v.Log(ctx, LogRequest{Hold: time.Hour}); !errors.Is(err, ErrSilent) {
		t.Errorf("of a launcher that doesn't serve: %v", err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("giving up took %v", took)
	}
	cause := errors.New("the user has waited enough")
	given, cancel := context.WithCancelCause(ctx)
	cancel(cause)
	if _, err := v.PS(given); !errors.Is(err, cause) {
		t.Errorf("after the context's end: %v", err)
	}
	v.Close()
	if _, err := v.PS(ctx); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// Those who are held hear of the end, and many of them hold up nobody.
func TestTheEndFreesVisitors(t *testing.T) {
	const visitors = 20
	held := make(chan struct{}, visitors)
	j := steerable(t, Steering{Events: func(ctx context.Context, _ EventsRequest) EventsReply {
		held <- struct{}{}
		<-ctx.Done()
		return EventsReply{Next: 5}
	}})
	var all sync.WaitGroup
	for range visitors {
		v := j.visit(j.addr)
		all.Go(func() {
			if r, err := v.Events(context.Background(), EventsRequest{Hold: time.Minute}); err != nil || r.Next != 5 {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
	for range visitors {
		<-held
	}
	if err := j.hub.Close(); err != nil {
		t.Fatal(err)
	}
	all.Wait()
}

// What isn't a request is told so, and ends nothing.
func TestSteeringRefusesNonsense(t *testing.T) {
	j := steerable(t, Steering{})
	nc := j.connect()
	for _, subject := range []string{subjectLog, subjectEvents, subjectStop} {
		for _, body := range []string{"", "[", `{"from":-1,"grace":"x","by":7}`} {
			m, err := nc.Request("gorun.j1."+subject, []byte(body), time.Minute)
			if err != nil || !strings.Contains(string(m.Data), "malformed message") {
				t.Errorf("%s %q: %v, %v", subject, body, m, err)
			}
		}
	}
	if _, err := j.visit(j.addr).Events(t.Context(), EventsRequest{}); err != nil {
		t.Error(err)
	}
}
