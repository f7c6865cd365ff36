package launcher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/internal/rendezvous"
	"github.com/gorun-ml/gorun/launcher/joblist"
)

// served is a desk behind a broker, as commands of other processes reach it.
type served struct {
	*desk
	out    *output
	hub    *control.Hub
	told   chan event
	job    Found
	shown  bytes.Buffer
	ending Verdict
}

func serve(t *testing.T) *served {
	t.Helper()
	secret := [control.SecretBytes]byte{1, 2, 3}
	b, err := startBroker(t.Context(), "127.0.0.1", secret)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.close)
	nc, err := b.connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	hub, err := control.NewHub(nc, "j1", rendezvous.NewMemory(), silent{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hub.Close() })
	s := &served{hub: hub, told: make(chan event, 16), ending: Verdict{Job: "j1", Status: 3, Cause: &Cause{Rank: 1, Host: "h1", Kind: control.KindExit, Detail: "exited with status 3"}}}
	if s.out, err = newOutput(&sink{w: &s.shown}, &sink{w: &s.shown}, "", false, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.out.close() })
	l := &launch{job: "j1", out: s.out, Options: Options{Grace: 3 * time.Second}}
	if s.desk, err = l.openDesk(t.TempDir(), hub, func(e event) error { s.told <- e; return nil }, s.may, func(string) (bool, error) { return false, nil }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.backlog.close)
	if err := hub.ServePS(func() any { return []RankState{} }); err != nil {
		t.Fatal(err)
	}
	nobody := "127.0.0.1:9" // brokers may be several, of which some are gone
	s.job = Found{Entry: joblist.Entry{Job: "j1", PID: os.Getpid(), Broker: nobody + "," + b.addr(), Seed: control.BrokerSeed(secret)}, Host: "h1", Here: true}
	return s
}

func (s *served) visit(t *testing.T) *control.Visitor {
	t.Helper()
	v, err := s.job.visit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// following waits until so many followers have asked.
func (s *served) following(t *testing.T, n int) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); ; <-tick.C {
		s.mu.Lock()
		there := len(s.followers)
		s.mu.Unlock()
		if there == n {
			return
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("%d follow, want %d", there, n)
		}
	}
}

// lineWriter takes lines, and tells of each.
type lineWriter struct {
	mu   sync.Mutex
	text bytes.Buffer
	came chan struct{}
}

func newLineWriter() *lineWriter { return &lineWriter{came: make(chan struct{}, 1)} }

func (w *lineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case w.came <- struct{}{}:
	default:
	}
	return w.text.Write(p)
}

func (w *lineWriter) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

func (w *lineWriter) await(t *testing.T, text string) {
	t.Helper()
	late := time.NewTimer(time.Minute)
	defer late.Stop()
	for !strings.Contains(w.String(), text) {
		select {
		case <-w.came:
		case <-late.C:
			t.Fatalf("no %q in %q", text, w.String())
		}
	}
}

func (s *served) write(rank int, stderr bool, lines ...string) {
	for _, line := range lines {
		s.out.lines(stderr, rank, []byte(line+"\n"), fmt.Appendf(nil, "[%d] %s\n", rank, line))
	}
}

func TestLogsOfAJob(t *testing.T) {
	s := serve(t)
	s.write(0, false, "a", "b")
	s.write(1, true, "c")
	s.out.note("something is up")
	s.write(1, false, "d")
	number := func(n int) *int { return &n }
	for _, c := range []struct {
		name           string
		o              LogOptions
		stdout, stderr string
	}{
		{"all", LogOptions{}, "[0] a\n[0] b\n[1] d\n", "[1] c\n"},
		{"of one rank", LogOptions{Rank: number(1)}, "[1] d\n", "[1] c\n"},
		{"the last", LogOptions{Last: number(2)}, "[1] d\n", "[1] c\n"},
		{"the last of one rank", LogOptions{Last: number(1), Rank: number(0)}, "[0] b\n", ""},
		{"none", LogOptions{Last: number(0)}, "", ""},
	} {
		var stdout, stderr bytes.Buffer
		if err := Logs(t.Context(), s.job, c.o, &stdout, &stderr); err != nil || stdout.String() != c.stdout || stderr.String() != c.stderr {
			t.Errorf("%s: %q and %q (%v), want %q and %q", c.name, &stdout, &stderr, err, c.stdout, c.stderr)
		}
	}
	s.desk.close(s.ending) // nobody follows: it doesn't wait
	var stdout, stderr bytes.Buffer
	if err := Logs(t.Context(), s.job, LogOptions{Follow: true}, &stdout, &stderr); err != nil || stdout.String() != "[0] a\n[0] b\n[1] d\n" {
		t.Errorf("after the end: %q (%v)", &stdout, err)
	}
}

// Who follows a job sees all of it to its end; the launcher waits for that, and for nobody
// who has lost interest.
func TestFollowersSeeTheEnd(t *testing.T) {
	s := serve(t)
	s.write(0, false, "first")
	logs, events := newLineWriter(), newLineWriter()
	var following sync.WaitGroup
	following.Go(func() {
		if err := Logs(t.Context(), s.job, LogOptions{Follow: true}, logs, logs); err != nil {
			t.Error(err)
		}
	})
	following.Go(func() {
		if err := Events(t.Context(), s.job, true, false, events, events); err != nil {
			t.Error(err)
		}
	})
	s.following(t, 2)
	s.story.begin(2, 1, "gorun -np 2 x", time.Now())
	logs.await(t, "first")
	events.await(t, "gorun -np 2 x")
	for n := range 1000 {
		s.write(n%2, false, fmt.Sprintf("line %d", n))
	}
	s.desk.close(s.ending)
	following.Wait()
	for n := range 1000 {
		if want := fmt.Sprintf("[%d] line %d\n", n%2, n); !strings.Contains(logs.String(), want) {
			t.Fatalf("no %q among %d bytes", want, len(logs.String()))
		}
	}
	events.await(t, "ended with status 3: job j1 failed: rank 1 (host h1) exited with status 3\n")
	s.following(t, 0)
}

// may has a job of three ranks, that can have five at most.
func (s *served) may(np int) (was int, err error) {
	if np > 5 {
		return 3, refuse("its hosts have slots for 5")
	}
	return 3, nil
}

func TestResizeIsPassedOnOrRefused(t *testing.T) {
	s := serve(t)
	v, err := s.job.visit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	if r, err := v.Resize(t.Context(), control.ResizeRequest{Ranks: 6, By: "ann"}); err != nil || r.Refused != "its hosts have slots for 5" || r.Ranks != 3 {
		t.Errorf("6 ranks: %+v, %v", r, err)
	}
	if r, err := v.Resize(t.Context(), control.ResizeRequest{Ranks: 5, By: "ann"}); err != nil || r.Refused != "" || r.Ranks != 3 {
		t.Errorf("5 ranks: %+v, %v", r, err)
	}
	if e := <-s.told; e != (evResize{5, "ann"}) {
		t.Errorf("the supervisor was told %+v", e)
	}
}

// A follower that has not asked for long is not waited for, nor one that asks no more.
func TestTheEndWaitsForNobodyWhoSleeps(t *testing.T) {
	s := serve(t)
	v := s.visit(t)
	if _, err := v.Log(t.Context(), control.LogRequest{Follower: v.Name()}); err != nil {
		t.Fatal(err)
	}
	seen := func(when time.Time) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.followers[v.Name()] = &follower{seen: when}
	}
	seen(time.Now().Add(-2 * stayFor))
	if some, _ := s.desk.following(); some {
		t.Error("a follower that has not asked for long is waited for")
	}
	seen(time.Now().Add(time.Hour)) // it has just asked, and asks no more
	began := time.Now()
	s.desk.close(s.ending)
	if took := time.Since(began); took < stayFor {
		t.Errorf("the end took %v, want %v", took, stayFor)
	}
}

// A reader that is behind is told how many lines it has missed.
func TestASlowReaderIsToldWhatItMissed(t *testing.T) {
	s := serve(t)
	small, err := newBacklog(filepath.Join(t.TempDir(), "output"), 2*blockBytes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(small.close)
	s.backlog, s.out.kept = small, small
	for n := range 20_000 {
		if err := small.add(control.FromStdout, 0, fmt.Appendf(nil, "[0] line %d\n", n)); err != nil {
			t.Fatal(err)
		}
	}
	var stdout, stderr bytes.Buffer
	if err := Logs(t.Context(), s.job, LogOptions{}, &stdout, &stderr); err != nil {
		t.Fatal(err)
	}
	there := strings.Count(stdout.String(), "\n")
	if want := fmt.Sprintf("gorun: %d lines missing here: ", 20_000-there); there == 0 || !strings.HasPrefix(stderr.String(), want) {
		t.Errorf("%d lines, and %q, want %q", there, &stderr, want)
	}
	if !strings.HasSuffix(stdout.String(), "[0] line 19999\n") {
		t.Errorf("the last is missing")
	}
}

func TestStopAJob(t *testing.T) {
	s := serve(t)
	folder := t.TempDir()
	file := func(name string) *os.File {
		f, err := os.Create(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		e, ok := (<-s.told).(evSignal)
		if !ok || e.signal != syscall.SIGTERM || e.by != "ann@h2" || !e.now || e.relayed {
			t.Errorf("told %+v", e)
		}
		s.story.add(control.Event{T: 1, Job: "j1", Event: control.EventSaved, Step: 9, Detail: "ck/step-9"})
		s.desk.close(s.ending)
	}()
	stdout, stderr := file("out"), file("err")
	if err := Stop(t.Context(), s.job, true, "ann@h2", stdout, stderr); err != nil {
		t.Fatal(err)
	}
	<-ended
	for name, want := range map[string]string{"out": "job j1 failed: rank 1 (host h1) exited with status 3\n", "err": "gorun: checkpoint of step 9 saved: ck/step-9\n"} {
		if got, err := os.ReadFile(filepath.Join(folder, name)); string(got) != want {
			t.Errorf("std%s: %q (%v), want %q", name, got, err, want)
		}
	}
}

// Status and line of those that can't be asked.
func TestJobsThatCannotBeAsked(t *testing.T) {
	s := serve(t)
	status := func(f Found, want int, text string) {
		t.Helper()
		err := Logs(t.Context(), f, LogOptions{}, &bytes.Buffer{}, &bytes.Buffer{})
		var r *Refusal
		if !errors.As(err, &r) || r.Status != want || !strings.Contains(r.Text, text) || strings.Contains(r.Text, "\n") {
			t.Errorf("%v, want status %d and %q", err, want, text)
		}
	}
	elsewhere := s.job
	elsewhere.Here, elsewhere.Broker = false, "127.0.0.1:4711"
	status(elsewhere, control.StatusNoHost, "job j1 listens on 127.0.0.1:4711 of host h1 only: ask there, or start it with --bind")
	gone := s.job
	gone.Broker = "127.0.0.1:9"
	status(gone, control.StatusNoHost, "can't be reached at 127.0.0.1:9")
	stranger := s.job
	_, stranger.Broker, _ = strings.Cut(s.job.Broker, ",")
	stranger.Seed = control.BrokerSeed([control.SecretBytes]byte{9})
	status(stranger, control.StatusAuth, "refused")
	other := s.job
	other.Job, other.Broker = "j2", stranger.Broker
	status(other, control.StatusTemporary, "doesn't answer")

	if _, err := Pick(nil, "j1"); err == nil || err.Error() != "job j1: no jobs are running" {
		t.Error(err)
	}
	other.Seed = "another"
	all := Add([]Found{s.job}, []Found{s.job, other})
	if len(all) != 2 {
		t.Fatalf("%d jobs, want 2: %v", len(all), all)
	}
	if f, err := Pick(all, "j2"); err != nil || f.Seed != "another" {
		t.Errorf("%v (%v)", f, err)
	}
	if _, err := Pick(all, "j"); err == nil || err.Error() != "job j: 2 have a name like that: choose one of j1 on h1, j2 on h1" {
		t.Error(err)
	}
	if _, err := Pick(all, "k"); err == nil || err.Error() != "job k: there is none of that name: there is j1 on h1, j2 on h1" {
		t.Error(err)
	}
}

// Ctrl-C ends the showing at once, whatever the job does.
func TestAttachLetsGo(t *testing.T) {
	s := serve(t)
	s.write(0, false, "hello")
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }() // read by its name
	signals := make(chan os.Signal, 1)
	status := 0
	over := make(chan struct{})
	go func() {
		defer close(over)
		status, err = Attach(context.Background(), s.job, signals, out, out)
	}()
	s.following(t, 1)
	signals <- os.Interrupt
	<-over
	if err != nil || status != StatusDetached {
		t.Errorf("status %d (%v), want %d", status, err, StatusDetached)
	}
	got, err := os.ReadFile(out.Name())
	if want := "gorun: job j1 goes on: gorun attach j1 shows it again, gorun stop j1 ends it\n"; err != nil || !strings.HasSuffix(string(got), want) {
		t.Errorf("%q (%v), want %q", got, err, want)
	}
}
