package cluster

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/launcher/membership"
)

func TestHostsFindEachOther(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "run")
	o := options("h1", "127.0.0.1")
	o.Runtime = folder
	a := start(t, o)
	b := start(t, options("h2", "127.0.0.2", a.Addr()))
	c := start(t, options("h3", "127.0.0.3", b.Addr()))
	for _, r := range []*running{a, b, c} {
		eventually(t, 5*time.Second, "all three are known", func() bool { return r.knows() == 3 })
	}
	eventually(t, 5*time.Second, "h1 has measured the ways", func() bool {
		return !slices.ContainsFunc(a.status().Hosts, func(h HostInfo) bool { return h.Name != "h1" && h.RTT == 0 })
	})
	eventually(t, time.Second, "h1 has logged", func() bool { return a.said("host h3 has joined at " + c.Addr() + ": 4 slots") })

	byJoin := find(t, "127.0.0.9", b.Addr()) // nobody is at the first
	byTrace, err := Find(t.Context(), nil, testKey, Caller{Runtime: folder})
	if err != nil {
		t.Fatal(err)
	}
	for _, hosts := range [][]HostInfo{byJoin.Hosts(), byTrace.Hosts()} {
		if len(hosts) != 3 {
			t.Fatalf("%d hosts, want 3: %+v", len(hosts), hosts)
		}
		for i, r := range []*running{a, b, c} {
			h := hosts[i]
			if h.Name != fmt.Sprintf("h%d", i+1) || h.Addr != r.Addr() || h.Slots != 4 || h.Free != 4 || h.Cores != 2 || h.MemoryBytes != 8<<30 ||
				!slices.Equal(h.GPUs, r.o.GPUs) || h.Labels["rack"] != "3" || h.Version != "gorun v1 (test)" || h.Jobs != 0 {
				t.Errorf("host %d is %+v", i+1, h)
			}
		}
	}

	// One that is asked to end leaves.
	c.stop()
	<-c.over
	if c.err != nil {
		t.Error(c.err)
	}
	eventually(t, 2*time.Second, "h1 has seen h3 leave", func() bool { return a.said("host h3 has left") && a.knows() == 2 })
	a.stop()
	<-a.over
	_, err = Find(t.Context(), nil, testKey, Caller{Runtime: folder})
	wants(t, err, ErrNobody, "gorun agent", "--join")
}

func TestSecondOfOneNameIsRefused(t *testing.T) {
	a := start(t, options("h1", "127.0.0.1"))
	twin := start(t, options("h1", "127.0.0.2", a.Addr()))
	<-twin.over
	wants(t, twin.err, membership.ErrNameTaken, a.Addr(), twin.Addr(), `"h1"`, "--name")
	if Status(twin.err) != 64 {
		t.Errorf("status %d, want 64", Status(twin.err))
	}
	if n := a.knows(); n != 1 {
		t.Errorf("the first knows %d hosts, want itself alone", n)
	}
	select {
	case <-a.over:
		t.Errorf("the first has ended: %v", a.err)
	default:
	}
}

func TestAnotherKeyIsRefused(t *testing.T) {
	a := start(t, options("h1", "127.0.0.1"))
	o := options("h2", "127.0.0.2", a.Addr())
	o.Key = Key{9}
	stranger := start(t, o)
	<-stranger.over
	wants(t, stranger.err, ErrKey, "copy the key")
	_, err := Find(t.Context(), []string{a.Addr()}, Key{9}, Caller{})
	wants(t, err, ErrKey)
	if Status(err) != 77 {
		t.Errorf("status %d, want 77", Status(err))
	}
	// Gossip itself lets nobody in either.
	m, err := membership.Start(membership.Config{Group: groupName, Host: "h3", Bind: "127.0.0.3", Key: Key{9}.derive("gorun cluster gossip key")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	wants(t, oneLine(m.Join(t.Context(), a.Addr())), membership.ErrStranger)
	if n := a.knows(); n != 1 {
		t.Errorf("h1 knows %d hosts, want itself alone", n)
	}
}

// oneLine is an error of gossip's library without the lines it adds.
func oneLine(err error) error {
	return told{cause: err, text: strings.ReplaceAll(fmt.Sprint(err), "\n", " ")}
}

// Hosts that start before the one they are to join do so when it is there, and one that is
// lost is joined again when it comes back.
func TestHostsThatWereNotThereAreJoinedLater(t *testing.T) {
	first := start(t, options("h1", "127.0.0.1"))
	addr := first.Addr()
	first.stop()
	<-first.over
	b := start(t, options("h2", "127.0.0.2", addr))
	eventually(t, 5*time.Second, "h2 says that nobody is there", func() bool { return b.said("no gorun agent answers at 127.0.0.1") && b.said("trying again") })
	o := options("h1", "127.0.0.1")
	_, o.Port, _ = splitAddr(addr)
	again := start(t, o)
	took := eventually(t, 2*rejoinEvery, "both are known", func() bool { return again.knows() == 2 && b.knows() == 2 })
	t.Logf("joined after %v", took)
}

func TestPortsThatAreTakenAreNamed(t *testing.T) {
	a := start(t, options("h1", "127.0.0.1"))
	o := options("h2", "127.0.0.1")
	_, o.Port, _ = splitAddr(a.Addr())
	_, err := Listen(o)
	wants(t, err, ErrListen, fmt.Sprint(o.Port+1), "--port")
	o.Port-- // its orders would go to the other's gossip
	_, err = Listen(o)
	wants(t, err, ErrListen, "--port")
	_, err = Listen(options("h3", "192.0.2.1"))
	wants(t, err, ErrListen, "192.0.2.1", "--bind")
}

func TestOptionsThatMakeNoSense(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"name":  func(o *Options) { o.Name = "a/b" },
		"slots": func(o *Options) { o.Slots = 0 },
		"bind":  func(o *Options) { o.Bind = "nowhere" },
		"port":  func(o *Options) { o.Port = 65535 },
		"join":  func(o *Options) { o.Join = []string{"h1:x"} },
		"label": func(o *Options) { o.Labels = map[string]string{"a b": "c"} },
		"labels": func(o *Options) {
			o.Labels = map[string]string{"a": strings.Repeat("x", 60), "b": strings.Repeat("x", 60), "c": strings.Repeat("x", 60), "d": strings.Repeat("x", 60), "e": strings.Repeat("x", 60), "f": strings.Repeat("x", 60)}
		},
	} {
		o := options("h1", "127.0.0.1")
		change(&o)
		if d, err := Listen(o); err == nil {
			t.Errorf("%s: accepted", name)
			_ = d.control.Close()
			_ = d.hosts.Close()
		} else {
			wants(t, err, ErrUsage)
		}
	}
}

// startProcess starts a daemon as a process of its own.
func startProcess(t *testing.T, o Options) (*exec.Cmd, string) {
	t.Helper()
	o.Log = nil
	data, err := json.Marshal(processOptions(o))
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "process", "daemon")
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	var addr string
	if _, err := fmt.Fscanln(out, &addr); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return cmd, addr
}

// processOptions are those that JSON can carry.
func processOptions(o Options) map[string]any {
	return map[string]any{"Key": o.Key, "Name": o.Name, "Bind": o.Bind, "Join": o.Join, "Slots": o.Slots, "Version": o.Version, "Child": o.Child}
}

func TestADeadHostIsKnownAndASlowOneIsNotDead(t *testing.T) {
	a := start(t, options("h1", "127.0.0.1"))
	b := start(t, options("h2", "127.0.0.2", a.Addr()))
	c := start(t, options("h3", "127.0.0.3", a.Addr()))
	victim, addr := startProcess(t, options("h4", "127.0.0.4", a.Addr()))
	all := []*running{a, b, c}
	for _, r := range all {
		eventually(t, 5*time.Second, "all four are known", func() bool { return r.knows() == 4 })
	}

	for range 3 {
		if err := victim.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Second) // the length of the stop is what is tested
		if err := victim.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		<-time.After(1500 * time.Millisecond) // a suspicion that wasn't taken back would have come true
		for _, r := range all {
			if r.said("host h4 at " + addr + " is lost") {
				t.Fatalf("%s has taken a host for dead that was stopped for 1 s", r.o.Name)
			}
		}
	}

	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	for _, r := range all {
		eventually(t, 10*time.Second, "the death is known", func() bool { return r.said("host h4 at "+addr+" is lost") && r.knows() == 3 })
		took := time.Since(killed)
		t.Logf("%s knew after %v", r.o.Name, took)
		if took > 3*time.Second {
			t.Errorf("%s knew of a death after %v, want under 3 s", r.o.Name, took)
		}
	}
}

// crowded is how many hosts TestManyHostsReachOneView starts: more than a few dozen keep a
// small machine, on which other tests run too, busy with watching itself.
var crowded = flag.Int("hosts", 16, "hosts in one process")

// With a process's worth of processors for all hosts, and other tests beside it, one of
// several attempts has to keep the bounds.
func TestManyHostsReachOneView(t *testing.T) {
	n := *crowded
	if raced {
		n = min(n, 12)
	}
	for attempt := range 4 {
		view, death, lost := crowd(t, n)
		t.Logf("%d hosts: one view after %v, a death known to all after %v, %d times a living host was lost", n, view, death, lost)
		if view < 5*time.Second && death < 5*time.Second && lost == 0 {
			return
		}
		if attempt == 3 {
			t.Error("want both under 5 s and no living host lost")
		}
	}
}

// crowd starts n hosts that join one of them, and kills one. It returns how long it took
// until all knew all, and until all knew of the death.
func crowd(t *testing.T, n int) (view, death time.Duration, lost int) {
	t.Helper()
	seed := start(t, options("h0", "127.0.0.1"))
	all := []*running{seed}
	began := time.Now()
	victim, addr := startProcess(t, options("victim", "127.0.1.1", seed.Addr()))
	for i := 1; i < n-1; i++ {
		all = append(all, start(t, options(fmt.Sprintf("h%d", i), fmt.Sprintf("127.0.0.%d", i+1), seed.Addr())))
	}
	for _, r := range all {
		eventually(t, 30*time.Second, "all are known to "+r.o.Name, func() bool { return r.knows() == n })
	}
	view = time.Since(began)

	// They stay, for longer than it takes to lose one.
	<-time.After(2 * time.Second)
	for _, r := range all {
		if r.said("is lost") {
			lost++
		}
	}
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	for _, r := range all {
		eventually(t, 30*time.Second, "the death is known to "+r.o.Name, func() bool { return r.said("host victim at " + addr + " is lost") })
	}
	death = time.Since(killed)
	for _, r := range all {
		r.stop() // all at once
	}
	for _, r := range all {
		<-r.over
	}
	return view, death, lost
}
