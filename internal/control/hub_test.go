package control

import (
	"context"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/gorun-ml/gorun/internal/rendezvous"
)

// testBroker is a real NATS server with a job's credentials. It can be stopped and started
// again on the same port.
type testBroker struct {
	t      testing.TB
	secret [SecretBytes]byte
	addr   string
	port   int
	server *server.Server
}

func startTestBroker(t testing.TB) *testBroker {
	b := &testBroker{t: t, secret: [SecretBytes]byte{1, 2, 3}, port: -1}
	b.start()
	t.Cleanup(b.stop)
	return b
}

func (b *testBroker) start() {
	b.t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: b.port, NoLog: true, NoSigs: true, MaxPayload: MaxMessage,
		Nkeys: []*server.NkeyUser{{Nkey: BrokerUser(b.secret)}}, TLSConfig: BrokerTLS(b.secret), TLSHandshakeFirst: true,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		b.t.Fatal("broker is not ready after 10 s")
	}
	b.server, b.addr = s, s.Addr().String()
	b.port = s.Addr().(*net.TCPAddr).Port
}

func (b *testBroker) stop() {
	b.server.Shutdown()
	b.server.WaitForShutdown()
}

func (b *testBroker) connect() *nats.Conn {
	b.t.Helper()
	nc, err := nats.Connect("nats://"+b.addr, Login(BrokerSeed(b.secret)),
		nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(nc.Close)
	return nc
}

func (b *testBroker) dial(member string) *Client {
	b.t.Helper()
	c, err := Dial(context.Background(), Env{Job: "j1", Broker: b.addr, Member: member}, b.secret)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = c.Close() })
	return c
}

// log records what a Hub's handler was told, as channels.
type log struct {
	members  chan rendezvous.Member
	reports  chan Report
	failures chan Failure
	finishes chan Finish
	saved    chan Saved
	lines    chan string
}

func newLog() *log {
	return &log{
		make(chan rendezvous.Member, 1000), make(chan Report, 1000), make(chan Failure, 1000),
		make(chan Finish, 1000), make(chan Saved, 1000), make(chan string, 1000),
	}
}

func (l *log) Registered(m rendezvous.Member) error { l.members <- m; return nil }
func (l *log) Reported(r Report)                    { l.reports <- r }
func (l *log) Failed(f Failure) error               { l.failures <- f; return nil }
func (l *log) Finished(f Finish) error              { l.finishes <- f; return nil }
func (l *log) Saved(s Saved) error                  { l.saved <- s; return nil }
func (l *log) Stranded(Stranded) error              { return nil }
func (l *log) Pulsed(Pulse)                         {}
func (l *log) Said(member, line string) error       { l.lines <- member + ": " + line; return nil }

// job is a hub on a broker of its own.
type job struct {
	*testBroker
	log   *log
	store *rendezvous.Memory
	hub   *Hub
}

func startJob(t testing.TB) *job {
	t.Helper()
	j := &job{testBroker: startTestBroker(t), log: newLog(), store: rendezvous.NewMemory()}
	hub, err := NewHub(j.connect(), "j1", j.store, j.log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hub.Close() })
	j.hub = hub
	return j
}

func TestWorkerTellsTheHub(t *testing.T) {
	j := startJob(t)
	c := j.dial("m0")
	ctx := t.Context()

	want := rendezvous.Member{ID: "m0", Host: "h1", Addr: "127.0.0.1:1", Slot: 3, PID: 4711}
	if err := c.Register(ctx, want); err != nil {
		t.Fatal(err)
	}
	if got := <-j.log.members; got != want {
		t.Errorf("registered %+v, want %+v", got, want)
	}
	loss := 0.5
	for step := range 10 {
		if err := c.Report(Report{Member: "m0", Step: step, Loss: &loss}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Finish(ctx, Finish{Member: "m0", Step: 9, Summary: []string{"test accuracy 97.9 %"}}); err != nil {
		t.Fatal(err)
	}
	if n := len(j.log.reports); n != 10 {
		t.Errorf("%d reports arrived before the finish, want 10", n)
	}
	if f := <-j.log.finishes; f.Step != 9 || len(f.Summary) != 1 {
		t.Errorf("finish arrived as %+v", f)
	}
	if err := c.Fail(ctx, Failure{Member: "m0", Kind: KindError, Detail: "bad", Status: 1}); err != nil {
		t.Fatal(err)
	}
	if f := <-j.log.failures; f.Detail != "bad" || f.Kind != KindError {
		t.Errorf("failure arrived as %+v", f)
	}
	if err := c.Saved(ctx, Saved{Step: 5, Path: "p"}); err != nil {
		t.Fatal(err)
	}
	if s := <-j.log.saved; s.Path != "p" {
		t.Errorf("saved arrived as %+v", s)
	}
	if err := c.Say(ctx, "hello"); err != nil {
		t.Fatal(err)
	}
	if s := <-j.log.lines; s != "m0: hello" {
		t.Errorf("line arrived as %q", s)
	}
}

// Ranks that report faster than the launcher takes it in hold up nobody: a newcomer is heard
// at once, and a rank's own words come after its reports.
func TestReportsHoldUpNobody(t *testing.T) {
	b := startTestBroker(t)
	h := &slow{log: newLog(), gate: make(chan struct{})}
	hub, err := NewHub(b.connect(), "j1", rendezvous.NewMemory(), h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hub.Close() })
	open := sync.OnceFunc(func() { close(h.gate) })
	t.Cleanup(open) // else the hub doesn't end
	const ranks = 3
	var all []*Client
	for r := range ranks {
		c := b.dial("m" + strconv.Itoa(r))
		for step := range maxReports {
			_ = c.Report(Report{Member: "m" + strconv.Itoa(r), Rank: r, Size: ranks, Step: step + 1})
		}
		all = append(all, c)
	}
	newcomer := b.dial("n")
	told := make(chan error, 1)
	go func() { told <- newcomer.Register(t.Context(), rendezvous.Member{ID: "n", Host: "h", Addr: "1"}) }()
	taken := 0
	for registered := false; !registered; {
		select {
		case h.gate <- struct{}{}: // one report is taken in
			taken++
		case <-h.members:
			registered = true
		case <-time.After(30 * time.Second):
			t.Fatal("neither a report nor a newcomer within 30 s")
		}
	}
	if most := ranks * (maxBatch + 1) * 2; taken > most {
		t.Errorf("%d reports went before a newcomer, want at most %d", taken, most)
	}
	open()
	if err := <-told; err != nil {
		t.Error(err)
	}
	if err := all[0].Fail(t.Context(), Failure{Member: "m0"}); err != nil {
		t.Error(err)
	}
	if n := h.last.Load(); n != maxReports {
		t.Errorf("a rank's word came after its report of step %d, want %d", n, maxReports)
	}
}

// slow takes a report in when the gate lets it.
type slow struct {
	*log
	gate chan struct{}
	last atomic.Int64 // step that rank 0 reported
}

func (s *slow) Reported(r Report) {
	<-s.gate
	if r.Rank == 0 {
		s.last.Store(int64(r.Step))
	}
}
