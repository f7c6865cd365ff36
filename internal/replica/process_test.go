package replica

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"sort"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a member that a test has started as a process of its own. Its listener is the
// descriptor 3; its configuration is the first line of standard input. Every other line is
// an entry to propose. It prints, for each entry, "done ENTRY" or
// "failed ENTRY", and everything it has applied when standard input ends.
func process() int {
	in := bufio.NewScanner(os.Stdin)
	var c Config
	if !in.Scan() {
		return 1
	}
	if err := json.Unmarshal(in.Bytes(), &c); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	l, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	seq := newSequence()
	c.Listener, c.Machine = l, seq
	g, err := Start(c)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var out sync.Mutex
	say := func(words ...any) {
		out.Lock()
		defer out.Unlock()
		fmt.Println(words...)
	}
	var running sync.WaitGroup
	for in.Scan() {
		entry := in.Text()
		running.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), limit)
			defer cancel()
			if _, err := g.Propose(ctx, []byte(entry)); err != nil {
				say("failed", entry)
				return
			}
			say("done", entry)
		})
	}
	err = g.Close()
	running.Wait()
	if err != nil {
		return 1
	}
	say("applied", strings.Join(seq.all(), " "))
	return 0
}

// child is a process, as its test sees it.
type child struct {
	name  string
	cmd   *exec.Cmd
	in    io.WriteCloser
	said  chan said
	ended chan struct{}
}

// said is a line of a child.
type said struct {
	by   *child
	line string
}

// startChildren starts a group of processes, which tell all on one channel.
func startChildren(t testing.TB, names ...string) (map[string]*child, chan said) {
	t.Helper()
	addrs, files := map[string]string{}, map[string]*os.File{}
	for _, name := range names {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addrs[name] = l.Addr().String()
		if files[name], err = l.(*net.TCPListener).File(); err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
	}
	heard := make(chan said, 4096)
	children := map[string]*child{}
	for _, name := range names {
		c := &child{name: name, cmd: exec.Command(os.Args[0], "member"), said: heard, ended: make(chan struct{})}
		c.cmd.ExtraFiles = []*os.File{files[name]}
		c.cmd.Stderr = os.Stderr
		var err error
		if c.in, err = c.cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		out, err := c.cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		_ = files[name].Close()
		config, err := json.Marshal(map[string]any{"Self": name, "Members": addrs, "Seed": testSeed})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			defer close(c.ended)
			for lines := bufio.NewScanner(out); lines.Scan(); {
				heard <- said{c, lines.Text()}
			}
			_ = c.cmd.Wait() // most are killed
		}()
		t.Cleanup(func() {
			c.signal(syscall.SIGKILL)
			<-c.ended
		})
		c.tell(string(config))
		children[name] = c
	}
	return children, heard
}

func (c *child) tell(line string) { _, _ = fmt.Fprintln(c.in, line) } // one that is dead doesn't hear it

func (c *child) signal(s syscall.Signal) { _ = c.cmd.Process.Signal(s) } // it may have ended

// hear waits for a line that somebody says.
func hear(t testing.TB, heard chan said, what func(said) bool) said {
	t.Helper()
	timeout := time.After(limit)
	for {
		select {
		case s := <-heard:
			if what(s) {
				return s
			}
		case <-timeout:
			t.Fatalf("nobody has said it after %v", limit)
		}
	}
}

// proposeTo proposes an entry to all processes until one has it done, and returns that.
func proposeTo(t testing.TB, heard chan said, children map[string]*child, entry string) *child {
	t.Helper()
	for {
		for _, c := range children {
			c.tell(entry)
		}
		failed := 0
		s := hear(t, heard, func(s said) bool {
			if s.line == "failed "+entry {
				failed++
			}
			return s.line == "done "+entry || failed == len(children)
		})
		if s.line == "done "+entry {
			return s.by
		}
		<-time.After(10 * time.Millisecond) // nobody leads
	}
}

// TestLeaderIsKilled kills the leading process, and then has the next stand still for less
// than the lease.
func TestLeaderIsKilled(t *testing.T) {
	children, heard := startChildren(t, "a", "b", "c")
	var first *child
	for i := range 20 {
		first = proposeTo(t, heard, children, fmt.Sprint(i))
	}
	began := time.Now()
	first.signal(syscall.SIGKILL)
	delete(children, first.name)
	second := proposeTo(t, heard, children, "after")
	t.Logf("another goes on after %v", time.Since(began))

	second.signal(syscall.SIGSTOP)
	pause := time.NewTimer(300 * time.Millisecond)
	<-pause.C
	second.signal(syscall.SIGCONT)
	last := proposeTo(t, heard, children, "later")
	if last != second {
		t.Logf("%s leads after %s had stood still", last.name, second.name)
	}

	for _, c := range children {
		// What is applied is known to the other one with the next sign of life; only the
		// last entries may still be missing.
		_ = c.in.Close()
	}
	var all []string
	for range children {
		s := hear(t, heard, func(s said) bool { return strings.HasPrefix(s.line, "applied ") })
		all = append(all, strings.TrimPrefix(s.line, "applied "))
	}
	sort.Slice(all, func(i, j int) bool { return len(all[i]) < len(all[j]) })
	if !strings.HasPrefix(all[1], all[0]) {
		t.Errorf("one has applied %q, the other %q", all[0], all[1])
	}
	entries := strings.Fields(all[1])
	for _, want := range append([]string{"after", "later"}, strings.Fields("0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19")...) {
		if !slices.Contains(entries, want) {
			t.Errorf("entry %q was acknowledged, and is missing: %q", want, entries)
		}
	}
}

// BenchmarkElection kills the leading one of three processes, and measures until another
// has an entry acknowledged.
func BenchmarkElection(b *testing.B) {
	var took []time.Duration
	for b.Loop() {
		children, heard := startChildren(b, "a", "b", "c")
		first := proposeTo(b, heard, children, "before")
		began := time.Now()
		first.signal(syscall.SIGKILL)
		proposeTo(b, heard, without(children, first.name), "after")
		took = append(took, time.Since(began))
		for _, c := range children {
			c.signal(syscall.SIGKILL)
			<-c.ended
		}
	}
	slices.Sort(took)
	report := func(unit string, p float64) {
		b.ReportMetric(float64(took[min(len(took)-1, int(p*float64(len(took))))].Milliseconds()), unit)
	}
	report("p50-ms", 0.5)
	report("p95-ms", 0.95)
	report("max-ms", 1)
}

// BenchmarkPause has the leading one of three processes stand still for 0.5 s, again and
// again, and counts how often another leads afterwards.
func BenchmarkPause(b *testing.B) {
	children, heard := startChildren(b, "a", "b", "c")
	lead := proposeTo(b, heard, children, "before")
	changes := 0
	for i := 0; b.Loop(); i++ {
		lead.signal(syscall.SIGSTOP)
		<-time.After(500 * time.Millisecond)
		lead.signal(syscall.SIGCONT)
		if next := proposeTo(b, heard, children, fmt.Sprint(i)); next != lead {
			changes++
			lead = next
		}
		<-time.After(200 * time.Millisecond) // as if it had been running all the time
	}
	b.ReportMetric(float64(changes), "changes")
}
