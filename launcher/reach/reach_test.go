package reach

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

const secret = "open-sesame-4711"

var letter = []byte(secret + "\n")

func TestStart(t *testing.T) {
	for _, mode := range []string{"near", "far", "greets"} {
		t.Run(mode, func(t *testing.T) {
			s := newStage(t)
			a, err := s.ssh(mode, "serves").Start(t.Context(), "h1", letter)
			if err != nil {
				t.Fatal(err)
			}
			c := s.answer()
			if c.letter != string(letter) {
				t.Errorf("the agent's letter is %q, want %q", c.letter, letter)
			}
			tellsNobody(t)
			if err := a.Close(); err != nil {
				t.Error(err)
			}
			c.ended(t)
			<-a.Ended()
			if err := a.Err(); err != nil {
				t.Errorf("after Close: %v, want no error", err)
			}
			if err := a.Close(); err != nil {
				t.Errorf("a second Close: %v", err)
			}
		})
	}
}

// tellsNobody looks for the secret where any user of a host can read.
func tellsNobody(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		return
	}
	for _, file := range []string{"cmdline", "environ"} {
		all, err := filepath.Glob("/proc/[0-9]*/" + file)
		if err != nil || len(all) == 0 {
			t.Fatalf("no /proc/*/%s: %v", file, err)
		}
		for _, path := range all {
			text, err := os.ReadFile(path)
			if err == nil && strings.Contains(string(text), secret) {
				t.Errorf("the letter is in %s", path)
			}
		}
	}
}

func TestProgramIsSentOnce(t *testing.T) {
	s := newStage(t)
	// The second ssh loses all but the first thousand bytes that it is given.
	for _, mode := range []string{"near", "cut"} {
		a, err := s.ssh(mode, "serves").Start(t.Context(), "h1", letter)
		if err != nil {
			t.Fatalf("ssh that is %s: %v", mode, err)
		}
		c := s.answer()
		_ = a.Close() // returns no error
		c.ended(t)
	}
	kept := s.kept()
	if len(kept) != 1 {
		t.Fatalf("the cache has %q, want one program", kept)
	}
	info, err := os.Stat(kept[0])
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 {
		t.Errorf("%s has mode %v, want 0700", kept[0], info.Mode())
	}
}

func TestTruncatedProgramIsRefused(t *testing.T) {
	for _, sums := range []string{"sha256sum", "no-sha256sum"} {
		t.Run(sums, func(t *testing.T) {
			s := newStage(t)
			s.tools("uname", "touch", "mkdir", "mktemp", "head", "wc", "rm", "mv", "chmod", "find", sums)
			_, err := s.ssh("cut", "serves").Start(t.Context(), "h1", letter)
			wants(t, err, 69, "h1: gorun did not arrive whole in ")
			if kept := s.kept(); len(kept) != 0 {
				t.Errorf("the cache has %q, want nothing", kept)
			}
		})
	}
}

func TestOtherPlatformIsRefused(t *testing.T) {
	for _, mode := range []string{"near", "greets"} {
		t.Run(mode, func(t *testing.T) {
			s := newStage(t)
			s.tools("uname=echo Plan9 mips", "mkdir", "mktemp", "head", "wc", "rm", "sha256sum")
			_, err := s.ssh(mode, "serves").Start(t.Context(), "h1", letter)
			want := fmt.Sprintf("h1: is Plan9 mips, this gorun is for %s/%s", runtime.GOOS, runtime.GOARCH)
			if err == nil || err.Error() != want {
				t.Errorf("error is %v, want %s", err, want)
			}
		})
	}
}

func TestNoRoom(t *testing.T) {
	s := newStage(t)
	if err := os.WriteFile(filepath.Join(s.caches, "gorun"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := s.ssh("near", "serves").Start(t.Context(), "h1", letter)
	wants(t, err, 69, "h1: mkdir: ")
}

func TestAgentDiesAtOnce(t *testing.T) {
	for _, mode := range []string{"near", "far"} {
		t.Run(mode, func(t *testing.T) {
			_, err := newStage(t).ssh(mode, "dies").Start(t.Context(), "h1", letter)
			wants(t, err, 71, "h1: no room for a socket")
		})
	}
}

func TestAgentDiesLater(t *testing.T) {
	s := newStage(t)
	a, err := s.ssh("greets", "later").Start(t.Context(), "h1", letter)
	if err != nil {
		t.Fatal(err)
	}
	c := s.answer()
	if _, err := c.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	<-a.Ended()
	wants(t, a.Err(), 76, "h1: lost the broker")
	_ = a.Close() // returns no error
	wants(t, a.Err(), 76, "h1: lost the broker")
}

func TestNeverReady(t *testing.T) {
	s := newStage(t)
	ssh := s.ssh("far", "silent")
	ssh.Connect, ssh.bounds = time.Millisecond, bounds{send: time.Millisecond, ready: time.Millisecond}
	_, err := ssh.Start(t.Context(), "h1", letter)
	if want := "h1: ssh takes too long"; err == nil || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
}

func TestStartIsCancelled(t *testing.T) {
	s := newStage(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	failed := make(chan error)
	go func() {
		_, err := s.ssh("far", "silent").Start(ctx, "h1", letter)
		failed <- err
	}()
	c := s.answer()
	cause := errors.New("another host failed")
	cancel(cause)
	if err := <-failed; !errors.Is(err, cause) {
		t.Errorf("error is %v, want %v", err, cause)
	}
	c.ended(t)
}

// An agent that doesn't care about its standard input is killed, where it can be.
func TestCloseIsBounded(t *testing.T) {
	s := newStage(t)
	ssh := s.ssh("near", "stubborn")
	ssh.bounds.leave = time.Millisecond
	a, err := ssh.Start(t.Context(), "h1", letter)
	if err != nil {
		t.Fatal(err)
	}
	c := s.answer()
	_ = a.Close() // returns no error
	c.ended(t)

	// Out of reach, with our standard output: Close returns all the same.
	ssh.Command[2] = "far"
	if a, err = ssh.Start(t.Context(), "h1", letter); err != nil {
		t.Fatal(err)
	}
	c = s.answer()
	_ = a.Close() // returns no error
	if err := syscall.Kill(c.pid, syscall.SIGKILL); err != nil {
		t.Errorf("the agent ended, though it doesn't listen: %v", err)
	}
	c.ended(t)
}

func TestKilledSSHEndsTheAgent(t *testing.T) {
	s := newStage(t)
	a, err := s.ssh("greets", "serves").Start(t.Context(), "h1", letter)
	if err != nil {
		t.Fatal(err)
	}
	c := s.answer()
	if err := syscall.Kill(a.cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.ended(t)
	<-a.Ended()
	if want := "h1: its agent has ended: signal: killed"; a.Err() == nil || a.Err().Error() != want {
		t.Errorf("error is %v, want %s", a.Err(), want)
	}
	_ = a.Close() // returns no error
}

func TestNoSSH(t *testing.T) {
	s := newStage(t)
	s.tools()
	_, err := SSH{Program: s.self}.Start(t.Context(), "h1", letter)
	if want := "h1: ssh is not in PATH here: install it"; err == nil || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
}

func TestSrun(t *testing.T) {
	s := newStage(t)
	srun := Srun{Command: []string{s.self, "as-srun", "near"}, Program: s.self, Args: []string{"as-agent", "serves", s.calls.Addr().String()}}
	a, err := srun.Start(t.Context(), []string{"n1", "n2", "n3"}, letter)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if c := s.answer(); c.letter != string(letter) {
			t.Errorf("the letter of process %d is %q, want %q", c.pid, c.letter, letter)
		} else {
			defer c.ended(t)
		}
	}
	tellsNobody(t)
	_ = a.Close() // returns no error

	srun.Args[1] = "silent"
	srun.bounds.ready = time.Millisecond
	_, err = srun.Start(t.Context(), []string{"n1", "n2"}, letter)
	if want := "n1,n2: srun takes too long"; err == nil || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
}

// wants checks a Failure.
func wants(t *testing.T, err error, status int, start string) {
	t.Helper()
	var f *Failure
	if !errors.As(err, &f) || f.ExitCode() != status || !strings.HasPrefix(err.Error(), start) {
		t.Errorf("error is %v (%#v), want status %d and %q", err, f, status, start)
	}
}
