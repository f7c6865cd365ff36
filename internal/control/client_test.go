package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/gorun-ml/gorun/internal/rendezvous"
)

// overhear signals each message on a subject of the job.
func (j *job) overhear(subject string, heard chan<- struct{}) {
	j.t.Helper()
	nc := j.connect()
	_, err := nc.Subscribe("gorun.j1."+subject, func(*nats.Msg) { heard <- struct{}{} })
	if err := errors.Join(err, nc.Flush()); err != nil {
		j.t.Fatal(err)
	}
}

func TestDialRefused(t *testing.T) {
	j := startJob(t)
	_, err := Dial(t.Context(), Env{Job: "j1", Broker: j.addr}, [SecretBytes]byte{9})
	if !errors.Is(err, ErrAuth) || !strings.Contains(err.Error(), "start the program with gorun") {
		t.Errorf("with another secret: %v", err)
	}
	for _, job := range []string{"", "a.b", "a b", "*", ">", strings.Repeat("x", 65)} {
		if _, err := Dial(t.Context(), Env{Job: job, Broker: j.addr}, j.secret); err == nil {
			t.Errorf("job %q was accepted", job)
		}
	}
	cause := errors.New("the user has waited enough")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, cause)
	defer cancel()
	_, err = Dial(ctx, Env{Job: "j1", Broker: fmt.Sprintf("127.0.0.1:%d", freePort(t))}, j.secret)
	if !errors.Is(err, cause) || !strings.Contains(err.Error(), "is the launcher still running?") {
		t.Errorf("without a broker: %v", err)
	}
	// A broker that serves another job knows nothing of this one.
	ctx, cancel = context.WithTimeoutCause(t.Context(), 50*time.Millisecond, cause)
	defer cancel()
	if _, err := Dial(ctx, Env{Job: "j2", Broker: j.addr}, j.secret); !errors.Is(err, cause) {
		t.Errorf("for a job that isn't served: %v", err)
	}
}

func TestWatchAndCommitFromOutside(t *testing.T) {
	j := startJob(t)
	a, b := j.dial("m0"), j.dial("m1")
	ctx := t.Context()
	var done sync.WaitGroup
	for _, c := range []*Client{a, b} {
		done.Go(func() {
			for id := uint64(1); id <= 20; id++ {
				g, err := c.Watch(ctx, id-1)
				if err != nil || g.ID < id {
					t.Errorf("watching for %d: %+v, %v", id, g, err)
				}
			}
		})
	}
	first := generation(1)
	if err := a.Commit(ctx, 0, first); err != nil {
		t.Fatal(err)
	}
	if err := b.Commit(ctx, 0, rendezvous.Generation{ID: 1}); !errors.Is(err, rendezvous.ErrConflict) {
		t.Errorf("a rival commit: %v, want %v", err, rendezvous.ErrConflict)
	}
	if err := a.Commit(ctx, 0, first); err != nil {
		t.Errorf("the same commit again: %v", err)
	}
	if err := a.Commit(ctx, 1, generation(5)); err == nil || errors.Is(err, rendezvous.ErrConflict) {
		t.Errorf("a jump: %v", err)
	}
	for id := uint64(2); id <= 20; id++ {
		if err := b.Commit(ctx, id-1, generation(id)); err != nil {
			t.Fatal(err)
		}
	}
	done.Wait()
	cause := errors.New("rank 2 was lost")
	ended, cancel := context.WithTimeoutCause(ctx, 20*time.Millisecond, cause)
	defer cancel()
	if _, err := a.Watch(ended, 20); !errors.Is(err, cause) {
		t.Errorf("a watch that ended says %v, want %v", err, cause)
	}
}

func generation(id uint64) rendezvous.Generation {
	return rendezvous.Generation{ID: id, Members: []rendezvous.Member{{ID: "m0", Host: "h1", Addr: "a:1"}}, Why: "for the test"}
}

// A watch outlives the hub's poll, by asking again.
func TestWatchIsALongPoll(t *testing.T) {
	j := startJob(t)
	polls := make(chan struct{}, 100)
	c := j.dial("m0")
	j.overhear("watch", polls)
	j.hub.poll = time.Millisecond // before the first watch
	result := make(chan error)
	go func() {
		_, err := c.Watch(t.Context(), 0)
		result <- err
	}()
	for range 3 {
		<-polls
	}
	if err := j.store.Commit(t.Context(), 0, generation(1)); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestClientSurvivesARestartOfTheBroker(t *testing.T) {
	j := startJob(t)
	c := j.dial("m0")
	type seen struct {
		g   rendezvous.Generation
		err error
	}
	result := make(chan seen)
	go func() {
		g, err := c.Watch(t.Context(), 0)
		result <- seen{g, err}
	}()
	j.stop()
	// While the broker is away: reports are dropped, letters wait, commands are kept.
	if err := c.Report(Report{Step: 1}); err != nil {
		t.Errorf("report while the broker is away: %v", err)
	}
	said := make(chan error)
	go func() { said <- c.Say(t.Context(), "still here") }()
	_ = j.hub.Command(Command{Stop: true, Why: "interrupted"})
	if err := j.store.Commit(t.Context(), 0, generation(1)); err != nil {
		t.Fatal(err)
	}
	restarted := time.Now()
	j.start()
	if err := <-said; err != nil {
		t.Error(err)
	}
	t.Logf("letter acknowledged %v after the broker's restart", time.Since(restarted))
	if line := <-j.log.lines; line != "m0: still here" {
		t.Errorf("the line arrived as %q", line)
	}
	if s := <-result; s.err != nil || s.g.ID != 1 {
		t.Errorf("watch over the restart: %+v", s)
	}
	if cmd := <-c.Commands(); !cmd.Stop || cmd.Why != "interrupted" {
		t.Errorf("command over the restart: %+v", cmd)
	}
}

// What was asked is in force for who comes later, where it makes sense.
func TestCommands(t *testing.T) {
	j := startJob(t)
	early := j.dial("m0")
	for _, c := range []Command{{Checkpoint: true, Why: "asked for"}, {Stop: true, Why: "interrupted"}, {Checkpoint: true}} {
		if err := j.hub.Command(c); err != nil {
			t.Fatal(err)
		}
	}
	var got Command
	for !got.Stop || !got.Checkpoint {
		c := <-early.Commands()
		got.Stop, got.Checkpoint = got.Stop || c.Stop, got.Checkpoint || c.Checkpoint
	}
	late := j.dial("m1")
	if c := <-late.Commands(); !c.Stop || c.Why != "interrupted" {
		t.Errorf("who comes late is told %+v, want a stop", c)
	}
}

func TestCheckpointIsNotAskedOfNewcomers(t *testing.T) {
	j := startJob(t)
	if err := j.hub.Command(Command{Checkpoint: true}); err != nil {
		t.Fatal(err)
	}
	late := j.dial("m1")
	select {
	case c := <-late.Commands():
		t.Errorf("who comes late is told %+v, want nothing", c)
	default:
	}
	if err := j.hub.Command(Command{Checkpoint: true, Why: "again"}); err != nil {
		t.Fatal(err)
	}
	if c := <-late.Commands(); !c.Checkpoint || c.Why != "again" {
		t.Errorf("the second checkpoint arrives as %+v", c)
	}
}

func TestPS(t *testing.T) {
	j := startJob(t)
	if err := j.hub.ServePS(func() any { return map[string]int{"rank": 3} }); err != nil {
		t.Fatal(err)
	}
	state, err := j.dial("").PS(t.Context())
	if err != nil || string(state) != `{"rank":3}` {
		t.Errorf("ps says %s (%v)", state, err)
	}
}

func TestClosedHubEndsWatches(t *testing.T) {
	j := startJob(t)
	c := j.dial("m0")
	held := make(chan struct{}, 1)
	j.overhear("watch", held)
	result := make(chan error)
	go func() {
		_, err := c.Watch(t.Context(), 0)
		result <- err
	}()
	<-held
	// The hub's copy comes on another connection: each answer gives it time to arrive.
	for len(j.hub.watchers) == 0 {
		if _, err := c.order(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.hub.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-result; !errors.Is(err, ErrLost) {
		t.Errorf("the watch says %v, want %v", err, ErrLost)
	}
	if err := j.hub.Command(Command{}); !errors.Is(err, ErrClosed) {
		t.Errorf("a command after the end: %v", err)
	}
	if err := j.hub.ServePS(func() any { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("serving after the end: %v", err)
	}
}

func TestClosedClient(t *testing.T) {
	j := startJob(t)
	c := j.dial("m0")
	for range 2 {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Report(Report{}); !errors.Is(err, ErrClosed) {
		t.Errorf("report: %v", err)
	}
	if err := c.Say(t.Context(), "x"); !errors.Is(err, ErrClosed) {
		t.Errorf("say: %v", err)
	}
	if _, err := c.Watch(t.Context(), 0); !errors.Is(err, ErrClosed) {
		t.Errorf("watch: %v", err)
	}
}

// Close sends the reports that were made before.
func TestCloseFlushes(t *testing.T) {
	j := startJob(t)
	c := j.dial("m0")
	for step := range 50 {
		_ = c.Report(Report{Step: step})
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for step := range 50 {
		if r := <-j.log.reports; r.Step != step {
			t.Fatalf("report of step %d arrived in place of %d", r.Step, step)
		}
	}
}

// A letter whose answer was lost is sent again, and handled once.
func TestLettersAreHandledOnce(t *testing.T) {
	j := startJob(t)
	nc := j.connect()
	body, _ := json.Marshal(sayRequest{Member: "m0", Line: "hello"})
	data, _ := json.Marshal(letter{From: "x", Seq: 1, Body: body})
	for range 3 {
		if _, err := nc.Request("gorun.j1.up.say", data, 5*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(j.log.lines); n != 1 {
		t.Errorf("the line was said %d times, want once", n)
	}
}

func TestManyTellAtOnce(t *testing.T) {
	j := startJob(t)
	c := j.dial("m0")
	var done sync.WaitGroup
	for i := range 40 {
		done.Go(func() {
			if err := c.Say(t.Context(), fmt.Sprint(i)); err != nil {
				t.Error(err)
			}
		})
	}
	done.Wait()
	if n := len(j.log.lines); n != 40 {
		t.Errorf("%d lines arrived, want 40", n)
	}
}

func TestMalformedMessagesAreAnswered(t *testing.T) {
	j := startJob(t)
	nc := j.connect()
	for _, x := range []struct{ subject, data, want string }{
		{"up.register", "", "malformed"},
		{"up.register", `{"from":"a","seq":1,"body":{"id":""}}`, "member ID"},
		{"up.register", `{"from":"a","seq":2,"body":{"id":"x","slot":-1}}`, "slot -1 is negative"},
		{"up.finish", `{"from":"a","seq":3,"body":[]}`, "malformed"},
		{"up.fail", `{"from":"a","seq":4,"body":7}`, "malformed"},
		{"up.saved", `{"from":"a","seq":5}`, "malformed"},
		{"up.say", `{"from":"a","seq":6,"body":"x"}`, "malformed"},
		{"up.dance", `{"from":"a","seq":7,"body":{}}`, "different versions"},
		{"watch", "{", "malformed"},
		{"commit", "null", "cannot follow"},
	} {
		m, err := nc.Request("gorun.j1."+x.subject, []byte(x.data), 5*time.Second)
		if err != nil {
			t.Errorf("%s %s: %v", x.subject, x.data, err)
			continue
		}
		r, err := decode[reply](m.Data)
		if err != nil || r.Code != codeBad || !strings.Contains(r.Error, x.want) {
			t.Errorf("%s %s: answered %s, want %q", x.subject, x.data, m.Data, x.want)
		}
	}
	if err := nc.Publish("gorun.j1.up.report", []byte("]")); err != nil {
		t.Fatal(err)
	}
	if err := j.dial("m0").Say(t.Context(), "all is well"); err != nil {
		t.Error(err)
	}
}

func TestLongTextsAreCut(t *testing.T) {
	j := startJob(t)
	c := j.dial("m0")
	if err := c.Fail(t.Context(), Failure{Detail: strings.Repeat("é", MaxMessage)}); err != nil {
		t.Fatal(err)
	}
	if f := <-j.log.failures; len(f.Detail) > maxText+8 || !strings.HasSuffix(f.Detail, "…") {
		t.Errorf("the detail has %d bytes", len(f.Detail))
	}
	huge := make([]string, 20)
	for i := range huge {
		huge[i] = strings.Repeat("x", MaxMessage/16)
	}
	if err := c.Finish(t.Context(), Finish{Summary: huge}); err == nil || !strings.Contains(err.Error(), "exceeds the limit") {
		t.Errorf("a message that is too big: %v", err)
	}
}

func TestReportAllocatesNothing(t *testing.T) {
	p := newReporter(nil, "") // nobody sends: the queue fills, then reports are dropped
	loss := 0.5
	r := Report{Member: "m0", Step: 3, Loss: &loss}
	if n := testing.AllocsPerRun(1000, func() { p.add(r) }); n > 0 {
		t.Errorf("a report allocates %.1f times", n)
	}
}

func TestKeysDiffer(t *testing.T) {
	a, b := [SecretBytes]byte{1}, [SecretBytes]byte{2}
	if BrokerUser(a) == BrokerUser(b) || string(GossipKey(a)) == string(GossipKey(b)) {
		t.Error("two secrets make the same key")
	}
	if len(GossipKey(a)) != 32 {
		t.Errorf("a gossip key of %d bytes, want 32", len(GossipKey(a)))
	}
}

// A broker that accepts and says nothing must not hold Dial for ever.
func TestDialToASilentPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := Dial(ctx, Env{Job: "j1", Broker: l.Addr().String()}, [SecretBytes]byte{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("dialling a silent port: %v", err)
	}
}
