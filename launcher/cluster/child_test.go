package cluster

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// freeOn waits until a host's free slots, as another host hears of them, are so many.
func freeOn(t *testing.T, r *running, host string, free, jobs int) {
	t.Helper()
	eventually(t, 5*time.Second, "the slots are told", func() bool {
		for _, h := range r.status().Hosts {
			if h.Name == host {
				return h.Free == free && h.Jobs == jobs
			}
		}
		return false
	})
}

func TestJobAgentsAreStartedAndEnded(t *testing.T) {
	letters := filepath.Join(t.TempDir(), "letter")
	a := start(t, options("h1", "127.0.0.1"))
	o := options("h2", "127.0.0.2", a.Addr())
	o.Child = append(o.Child, letters)
	b := start(t, o)
	eventually(t, 5*time.Second, "both are known", func() bool { return a.knows() == 2 })
	c := find(t, a.Addr())

	long := `{"job":"` + strings.Repeat("x", 200<<10) + `"}` // more than a pipe takes
	first, err := c.Start(t.Context(), "h2", 3, []byte(long))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(letters); err != nil || string(got) != long+"\n" {
		t.Fatalf("the letter arrived as %d bytes (%v), want %d", len(got), err, len(long)+1)
	}
	freeOn(t, a, "h2", 1, 1)
	_, err = c.Start(t.Context(), "h2", 2, []byte("{}"))
	wants(t, err, ErrSlots, "h2", "1 of 4 slots", "2 were asked for")
	second, err := c.Start(t.Context(), "h2", 1, []byte("{}\n"))
	if err != nil {
		t.Fatal(err)
	}
	freeOn(t, a, "h2", 0, 2)
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	freeOn(t, a, "h2", 3, 1)
	select {
	case <-second.Ended():
		t.Fatalf("the second ended too: %v", second.Err())
	default:
	}

	// The daemon's end is the job agents' end.
	b.stop()
	<-b.over
	if b.err != nil {
		t.Error(b.err)
	}
	<-second.Ended()
	if err := second.Err(); err != nil {
		t.Errorf("a job agent that ended with its daemon: %v", err)
	}

	_, err = c.Start(t.Context(), "h7", 1, []byte("{}"))
	wants(t, err, ErrUsage, "h7", "h1, h2")
	_, err = c.Start(t.Context(), "h1", 0, []byte("{}"))
	wants(t, err, ErrUsage, "0 slots")
	_, err = c.Start(t.Context(), "h1", 1, []byte("{}\n{}"))
	wants(t, err, ErrUsage, "letter")
	_, err = c.Start(t.Context(), "h2", 1, []byte("{}"))
	wants(t, err, ErrNobody, "h2")
}

// A job may start where another has just ended: gossip need not have told of it.
func TestSlotsOfAJobThatEndedAreFreeAtOnce(t *testing.T) {
	a := start(t, options("h1", "127.0.0.1"))
	start(t, options("h2", "127.0.0.2", a.Addr()))
	eventually(t, 5*time.Second, "both are known", func() bool { return a.knows() == 2 })
	for range 5 {
		job, err := find(t, a.Addr()).Start(t.Context(), "h2", 4, []byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		freeOn(t, a, "h2", 0, 1)
		if err := job.Close(); err != nil {
			t.Fatal(err)
		}
		c := find(t, a.Addr())
		c.Refresh(t.Context())
		for _, h := range c.Hosts() {
			if h.Free != 4 || h.Jobs != 0 {
				t.Fatalf("host %s has %d free slots and %d jobs, want 4 and 0", h.Name, h.Free, h.Jobs)
			}
		}
	}
}

func TestLastingAgentsAreLeftToTheirHost(t *testing.T) {
	o := options("h1", "127.0.0.1")
	o.Child = append(o.Child[:len(o.Child)-1:len(o.Child)-1], "lasting")
	a := start(t, o)
	said := filepath.Join(t.TempDir(), "end")
	c := find(t, a.Addr())
	left, err := c.StartLasting(t.Context(), "h1", 3, []byte(said))
	if err != nil {
		t.Fatal(err)
	}
	keeper, err := c.StartLasting(t.Context(), "h1", 0, []byte(said+".keeper"))
	if err != nil {
		t.Fatal(err)
	}
	// One that isn't left ends with its client, as all others do.
	for range 2 {
		if err := left.Leave(); err != nil {
			t.Fatal(err)
		}
	}
	if err := keeper.Close(); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(said + ".keeper"); err != nil || string(got) != "ended by SIGTERM" {
		t.Errorf("the one that was closed: %q, %v", got, err)
	}
	freeOn(t, a, "h1", 1, 1)
	if got, err := os.ReadFile(said); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the one that was left has ended: %q, %v", got, err)
	}
	// It ends with the daemon, in an orderly way.
	a.stop()
	<-a.over
	if a.err != nil {
		t.Error(a.err)
	}
	if got, err := os.ReadFile(said); err != nil || string(got) != "ended by SIGTERM" {
		t.Errorf("the one that was left: %q, %v", got, err)
	}
}

func TestAnotherGorunIsRefused(t *testing.T) {
	a := start(t, options("h1", "127.0.0.1"))
	other := filepath.Join(t.TempDir(), "gorun")
	if err := os.WriteFile(other, []byte("of last week"), 0o755); err != nil {
		t.Fatal(err)
	}
	c, err := Find(t.Context(), []string{a.Addr()}, testKey, Caller{Version: "gorun v0", Binary: other})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Start(t.Context(), "h1", 1, []byte("{}"))
	mine, _ := a.gorun.digest()
	theirs, _ := (&executable{path: other}).digest()
	wants(t, err, ErrVersion, "gorun v0", "gorun v1", short(mine), short(theirs))
	if Status(err) != 76 {
		t.Errorf("status %d, want 76", Status(err))
	}
	// What counts is the file as it is now.
	if err := os.WriteFile(other, []byte("of today, and longer"), 0o755); err != nil {
		t.Fatal(err)
	}
	e := &executable{path: other}
	before, _ := e.digest()
	if err := os.Rename(other, other+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other, []byte("of today, and longer "), 0o755); err != nil {
		t.Fatal(err)
	}
	if after, err := e.digest(); err != nil || after == before {
		t.Errorf("the digest of a file that was replaced is still %s (%v)", short(after), err)
	}
}

func TestJobAgentsThatFail(t *testing.T) {
	stubborn := filepath.Join(t.TempDir(), "pid")
	child := func(process ...string) Options {
		o := options("h1", "127.0.0.1")
		o.Child = append([]string{os.Args[0], "process"}, process...)
		o.ReadyBound, o.Grace = 300*time.Millisecond, 300*time.Millisecond
		return o
	}
	t.Run("dies at once", func(t *testing.T) {
		r := start(t, child("dies"))
		_, err := find(t, r.Addr()).Start(t.Context(), "h1", 1, []byte("{}"))
		wants(t, err, ErrChild, "h1", "status 3", "first words | no libgorun here")
		freeOn(t, r, "h1", 4, 0)
	})
	t.Run("is missing", func(t *testing.T) {
		o := child()
		o.Child = []string{"/nothing/here"}
		r := start(t, o)
		_, err := find(t, r.Addr()).Start(t.Context(), "h1", 1, []byte("{}"))
		wants(t, err, ErrChild, "h1", "/nothing/here")
		freeOn(t, r, "h1", 4, 0)
	})
	t.Run("is never ready", func(t *testing.T) {
		r := start(t, child("silent"))
		_, err := find(t, r.Addr()).Start(t.Context(), "h1", 1, []byte("{}"))
		wants(t, err, ErrChild, "h1", "not ready after 300ms")
		freeOn(t, r, "h1", 4, 0)
	})
	t.Run("is given up", func(t *testing.T) {
		o := child("silent")
		o.ReadyBound = time.Minute
		r := start(t, o)
		c := find(t, r.Addr())
		ctx, cancel := context.WithCancelCause(t.Context())
		gaveUp := errors.New("gave up")
		asked := make(chan error, 1)
		go func() {
			_, err := c.Start(ctx, "h1", 1, []byte("{}"))
			asked <- err
		}()
		eventually(t, 5*time.Second, "it is started", func() bool { return r.status().Hosts[0].Jobs == 1 })
		cancel(gaveUp)
		if err := <-asked; !errors.Is(err, gaveUp) {
			t.Errorf("%v, want %v", err, gaveUp)
		}
		freeOn(t, r, "h1", 4, 0)
	})
	t.Run("is killed", func(t *testing.T) {
		o := child("stubborn", stubborn)
		o.ReadyBound = time.Minute
		r := start(t, o)
		a, err := find(t, r.Addr()).Start(t.Context(), "h1", 2, []byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		inner := pidIn(t, stubborn)
		if err := syscall.Kill(parentOf(t, inner), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		<-a.Ended()
		wants(t, a.Err(), ErrChild, "h1", "signal 9")
		freeOn(t, r, "h1", 4, 0)
		gone(t, inner)
	})
	t.Run("doesn't end", func(t *testing.T) {
		o := child("stubborn", stubborn)
		o.ReadyBound = time.Minute
		r := start(t, o)
		a, err := find(t, r.Addr()).Start(t.Context(), "h1", 2, []byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		inner := pidIn(t, stubborn)
		began := time.Now()
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < 300*time.Millisecond || took > 3*time.Second {
			t.Errorf("ended after %v, want the grace of 300 ms and little more", took)
		}
		freeOn(t, r, "h1", 4, 0)
		gone(t, inner)
	})
	t.Run("loses who asked", func(t *testing.T) {
		o := child("stubborn", stubborn)
		o.ReadyBound = time.Minute
		r := start(t, o)
		a, err := find(t, r.Addr()).Start(t.Context(), "h1", 2, []byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		_ = a.conn.NetConn().Close() // without a word
		freeOn(t, r, "h1", 4, 0)
		<-a.Ended()
		wants(t, a.Err(), ErrLost, "h1")
	})
	t.Run("ends with a daemon that has no patience", func(t *testing.T) {
		o := child("stubborn", stubborn)
		o.ReadyBound, o.Grace = time.Minute, time.Minute
		r := start(t, o)
		a, err := find(t, r.Addr()).Start(t.Context(), "h1", 2, []byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		r.stop()
		r.Kill()
		<-r.over
		<-a.Ended()
		gone(t, pidIn(t, stubborn))
	})
}

// A job agent whose daemon is killed notices by itself, and so does who asked for it.
func TestADaemonThatIsKilled(t *testing.T) {
	letters := filepath.Join(t.TempDir(), "letter")
	o := options("h1", "127.0.0.1")
	o.Child = append(o.Child, letters)
	p, addr := startProcess(t, o)
	a, err := find(t, addr).Start(t.Context(), "h1", 1, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-a.Ended():
		wants(t, a.Err(), ErrLost, "h1")
	case <-time.After(5 * time.Second):
		t.Fatal("not known after 5 s")
	}
}

func pidIn(t *testing.T, file string) int {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// parentOf is the process that has started another.
func parentOf(t *testing.T, pid int) int {
	t.Helper()
	pgid, err := syscall.Getpgid(pid) // its parent leads the group
	if err != nil {
		t.Fatal(err)
	}
	return pgid
}

// gone waits until a process has ended. Its parent has, so that another one reaps it.
func gone(t *testing.T, pid int) {
	t.Helper()
	eventually(t, 5*time.Second, "the process is gone", func() bool {
		if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
			return true
		}
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ")
	})
}
