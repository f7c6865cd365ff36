package reach

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary plays all parts: ssh, srun, and the agent that they start.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 {
		play := map[string]func([]string) error{"as-ssh": asSSH, "as-srun": asSrun, "as-agent": asAgent}[os.Args[1]]
		if play != nil {
			err := play(os.Args[2:])
			var s status
			if errors.As(err, &s) {
				os.Exit(int(s))
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(70)
			}
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

type status int

func (s status) Error() string { return strconv.Itoa(int(s)) }

// asSSH is ssh MODE OPTIONS -- HOST COMMAND, and runs COMMAND here.
func asSSH(args []string) error {
	command := args[len(args)-1]
	shell := exec.Command("/bin/sh", "-c", command)
	shell.Stdout, shell.Stderr = os.Stdout, os.Stderr
	var input io.Reader = os.Stdin
	switch mode := args[0]; mode {
	case "near":
		return syscall.Exec("/bin/sh", []string{"sh", "-c", command}, os.Environ())
	case "greets":
		fmt.Println("Welcome! " + strings.Repeat("All that you do is watched. ", 1000))
		fmt.Fprintln(os.Stderr, "Authorized users only.")
	case "far": // outlives this process, as what sshd has started does
		shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	case "cut":
		input = io.LimitReader(os.Stdin, 1000)
	default:
		fmt.Fprintln(os.Stderr, mode)
		return status(255)
	}
	in, err := shell.StdinPipe()
	if err != nil {
		return err
	}
	if err := shell.Start(); err != nil {
		return err
	}
	go func() { // until this process ends, with its shell
		_, _ = io.Copy(in, input) // a shell that has ended reads no more
		_ = in.Close()
	}()
	err = shell.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return status(exit.ExitCode())
	}
	return err
}

// asSrun is srun MODE OPTIONS -- PROGRAM ARGS, one for each task.
func asSrun(args []string) error {
	at := slices.Index(args, "--")
	tasks := 0
	for _, a := range args[:at] {
		if n, found := strings.CutPrefix(a, "--ntasks="); found {
			tasks, _ = strconv.Atoi(n)
		}
	}
	var all []io.Writer
	var commands []*exec.Cmd
	for range tasks {
		c := exec.Command(args[at+1], args[at+2:]...)
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		in, err := c.StdinPipe()
		if err != nil {
			return err
		}
		if err := c.Start(); err != nil {
			return err
		}
		all, commands = append(all, in), append(commands, c)
	}
	_, err := io.Copy(io.MultiWriter(all...), os.Stdin)
	for i, c := range commands {
		err = errors.Join(err, all[i].(io.Closer).Close(), c.Wait())
	}
	return err
}

// asAgent is agent MODE ADDR. It calls the test at ADDR with its process ID and its letter,
// and the connection lasts as long as it does.
func asAgent(args []string) error {
	mode, addr := args[0], args[1]
	if mode == "dies" {
		fmt.Fprint(os.Stderr, "one\ntwo\n\nno room for a socket")
		return status(71)
	}
	letter, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil {
		return err
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, "%d %s", os.Getpid(), letter); err != nil {
		return err
	}
	if mode != "silent" {
		fmt.Println(Ready)
	}
	switch mode {
	case "later": // dies when it is told to
		if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
			return err
		}
		fmt.Fprintln(os.Stderr, "lost the broker")
		return status(76)
	case "stubborn":
		never := make(chan os.Signal, 1) // without one the runtime could see a deadlock, and end
		signal.Notify(never, syscall.SIGUSR1)
		<-never
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

const long = 20 * time.Second // for what should take milliseconds

// stage is where agents call.
type stage struct {
	t      *testing.T
	self   string
	calls  *net.TCPListener
	caches string
}

func newStage(t *testing.T) *stage {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	s := &stage{t, self, l.(*net.TCPListener), t.TempDir()}
	t.Setenv("XDG_CACHE_HOME", s.caches)
	t.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0") // who plays a part ends at once
	return s
}

// ssh is one whose far end plays an agent.
func (s *stage) ssh(mode, agent string) SSH {
	return SSH{
		Command: []string{s.self, "as-ssh", mode},
		Program: s.self,
		Args:    []string{"as-agent", agent, s.calls.Addr().String()},
	}
}

// call is an agent that has called.
type call struct {
	*net.TCPConn
	pid    int
	letter string
}

func (s *stage) answer() call {
	s.t.Helper()
	_ = s.calls.SetDeadline(time.Now().Add(long)) // it is open
	conn, err := s.calls.AcceptTCP()
	if err != nil {
		s.t.Fatalf("no agent calls: %v", err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(long)) // it is open
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		s.t.Fatal(err)
	}
	pid, letter, _ := strings.Cut(line, " ")
	c := call{TCPConn: conn, letter: letter}
	if c.pid, err = strconv.Atoi(pid); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// ended waits for the end of the agent.
func (c call) ended(t *testing.T) {
	t.Helper()
	n, err := c.Read(make([]byte, 1))
	if n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("agent %d lives: read %d bytes, %v", c.pid, n, err)
	}
}

// kept is the program in the cache of the other host, or nothing.
func (s *stage) kept() []string {
	s.t.Helper()
	all, err := filepath.Glob(filepath.Join(s.caches, "gorun/bin/*/*"))
	hidden, _ := filepath.Glob(filepath.Join(s.caches, "gorun/bin/*/.*"))
	if err != nil {
		s.t.Fatal(err)
	}
	return append(all, hidden...)
}

// tools makes a PATH of some commands, and of scripts given as name=text.
func (s *stage) tools(names ...string) {
	s.t.Helper()
	dir := s.t.TempDir()
	for _, name := range names {
		var err error
		if name, text, script := strings.Cut(name, "="); script {
			err = os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o700)
		} else if path, found := exec.LookPath(name); found == nil {
			err = os.Symlink(path, filepath.Join(dir, name))
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
	s.t.Setenv("PATH", dir)
}
