// Package reach starts one process of gorun on other hosts, by ssh or by srun, and ends it.
package reach

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Ready is the line by which what was started says that it runs.
const Ready = "gorun agent ready"

const (
	lastLines = 10
	lineBytes = 1 << 10 // of each line that is kept
)

// bounds are how long to wait; tests have less time.
type bounds struct {
	send  time.Duration // the program, over a slow line
	ready time.Duration // from the letter to the ready line
	leave time.Duration // from the end of its standard input, or output, to its own
}

func (b bounds) orDefault() bounds {
	return bounds{
		send:  cmp.Or(b.send, 2*time.Minute),
		ready: cmp.Or(b.ready, 20*time.Second),
		leave: cmp.Or(b.leave, 3*time.Second),
	}
}

// Agent is a process on other hosts that lives no longer than this one wants it to: its
// standard input is held open, and its end is what it ends by.
type Agent struct {
	name  string // of its host, for errors
	cmd   *exec.Cmd
	in    io.WriteCloser
	pipe  io.Closer // what out reads from
	out   *bufio.Reader
	words *words
	leave time.Duration
	ended chan struct{}

	mu      sync.Mutex
	closing bool
	err     error
}

// start starts a command whose standard input and output are ours to use.
func start(name string, words []string, leave time.Duration) (*Agent, error) {
	a := &Agent{name: name, words: newWords(), leave: leave, ended: make(chan struct{})}
	a.cmd = exec.Command(words[0], words[1:]...)
	a.cmd.Stderr = a.words
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C is gorun's to act on
	a.cmd.WaitDelay = time.Second
	var out io.ReadCloser
	var err error
	if a.in, err = a.cmd.StdinPipe(); err == nil {
		out, err = a.cmd.StdoutPipe()
	}
	if err == nil {
		err = a.cmd.Start()
	}
	if errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("%s: %s is not in PATH here: install it", name, words[0])
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	a.pipe, a.out = out, bufio.NewReader(out)
	return a, nil
}

// within runs f, which talks to the process, and ends the process if f fails or takes
// longer than ctx allows. Where f failed because the process hung up, what the process said
// itself is the better reason; where f refused it, that may be no more than a greeting.
func (a *Agent) within(ctx context.Context, f func() error) error {
	stop := context.AfterFunc(ctx, a.kill)
	err := f()
	if !stop() {
		err = context.Cause(ctx)
	}
	if err == nil {
		return nil
	}
	hungUp := ctx.Err() == nil && (errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE))
	_ = a.in.Close() // it may have ended
	if hungUp {
		// ssh closes its standard output before it knows the status.
		defer time.AfterFunc(a.leave, a.kill).Stop()
	} else {
		a.kill()
	}
	_ = a.cmd.Wait() // how it ended is no news
	if said := a.words.reason(); hungUp && said != "" {
		return &Failure{Host: a.name, Status: a.cmd.ProcessState.ExitCode(), Text: said}
	}
	return fmt.Errorf("%s: %w", a.name, err)
}

// Failure is what a process on another host said before it ended.
type Failure struct {
	Host   string
	Status int
	Text   string
}

// Error names the host and its words.
func (f *Failure) Error() string { return f.Host + ": " + f.Text }

// ExitCode is the status that the process ended with.
func (f *Failure) ExitCode() int { return f.Status }

// serve hands over the letter, waits for as many ready lines, and then watches.
func (a *Agent) serve(letter []byte, agents int) error {
	if _, err := a.in.Write(letter); err != nil {
		return fmt.Errorf("handing over the letter: %w", err)
	}
	for agents > 0 {
		line, err := a.line()
		if err != nil {
			return err
		}
		if strings.HasSuffix(line, Ready) {
			agents--
		}
	}
	return nil
}

// line is the next line of standard output, cut where it is long.
func (a *Agent) line() (string, error) {
	slice, err := a.out.ReadSlice('\n')
	line := string(slice[:min(len(slice), lineBytes)]) // the next call overwrites the slice
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = a.out.ReadSlice('\n')
	}
	if err != nil {
		return "", fmt.Errorf("ended without a word: %w", err)
	}
	return strings.TrimRight(line, "\r\n"), nil
}

// watch waits for the end. It is called once, when all went well.
func (a *Agent) watch() {
	go func() { // Close joins it
		defer close(a.ended)
		_, _ = io.Copy(io.Discard, a.out) // an agent has nothing more to say there
		err := a.cmd.Wait()
		a.mu.Lock()
		defer a.mu.Unlock()
		switch {
		case a.closing:
		case a.exited() && a.words.reason() != "": // who is killed has no last words
			a.err = &Failure{Host: a.name, Status: a.cmd.ProcessState.ExitCode(), Text: a.words.reason()}
		case err != nil:
			a.err = fmt.Errorf("%s: its agent has ended: %w", a.name, err)
		default:
			a.err = fmt.Errorf("%s: its agent has ended", a.name)
		}
	}()
}

// exited says whether the process ended by itself. Its state is not known where the launcher
// swept it away with what ranks had left.
func (a *Agent) exited() bool {
	state := a.cmd.ProcessState
	return state != nil && state.Exited()
}

// Ended is closed when the process has ended.
func (a *Agent) Ended() <-chan struct{} { return a.ended }

// Err says why it has ended: nil where Close ended it.
func (a *Agent) Err() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

// Close ends the process and waits for it, for a bounded time, whoever else may have its
// standard output. What is cut off from here ends by itself.
func (a *Agent) Close() error {
	a.mu.Lock()
	a.closing = true
	a.mu.Unlock()
	_ = a.in.Close() // it may have ended
	timer := time.NewTimer(a.leave)
	defer timer.Stop()
	select {
	case <-a.ended:
	case <-timer.C:
		a.kill()
		_ = a.pipe.Close() // only read from
		<-a.ended
	}
	return nil
}

func (a *Agent) kill() { _ = syscall.Kill(-a.cmd.Process.Pid, syscall.SIGKILL) } // it may have ended

// words are the last lines of a standard error.
type words struct {
	mu   sync.Mutex
	last []string
	part []byte
}

func newWords() *words { return &words{} }

// Write takes lines apart, however they come.
func (w *words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(p)
	for {
		line, rest, whole := bytes.Cut(p, []byte("\n"))
		w.part = append(w.part, line[:min(len(line), lineBytes-min(lineBytes, len(w.part)))]...)
		if !whole {
			return n, nil
		}
		w.keep()
		p = rest
	}
}

func (w *words) keep() {
	line := strings.TrimSpace(strings.ToValidUTF8(string(w.part), "?"))
	w.part = w.part[:0]
	if line == "" {
		return
	}
	if len(w.last) == lastLines {
		w.last = append(w.last[:0], w.last[1:]...)
	}
	w.last = append(w.last, line)
}

// reason is the line that says most.
func (w *words) reason() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.part) > 0 {
		w.keep()
	}
	if len(w.last) == 0 {
		return ""
	}
	return w.last[len(w.last)-1]
}
