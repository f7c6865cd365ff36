package cluster

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Ready is the line by which a job agent says, on its standard output, that it has
// understood its letter and takes orders.
const Ready = "gorun agent ready"

const (
	drainBound = time.Second     // reading output after a child's end: only who has left its group can write
	killBound  = 5 * time.Second // waiting for what was killed: only the kernel can hold it up
	wordLines  = 10              // of standard error that are kept
	wordBytes  = 512             // of each line
)

// child is a job agent's process. It leads a process group, which is killed as a whole.
type child struct {
	cmd   *exec.Cmd
	stdin *os.File
	ready chan struct{} // closed when it has said so
	done  chan struct{} // closed when it is gone and all it wrote was read

	lasting bool  // it ends by a signal; set before end is called
	ends    ended // valid then

	mu    sync.Mutex
	gone  bool // reaped: its number may be another process's
	words []string
}

// startChild starts a job agent and hands it its letter, for which it has until the bound.
func startChild(command []string, letter []byte, bound time.Duration) (*child, error) {
	var files []*os.File
	pipe := func() (r, w *os.File, err error) {
		if r, w, err = os.Pipe(); err == nil {
			files = append(files, r, w)
		}
		return r, w, err
	}
	closeAll := func(files ...*os.File) {
		for _, f := range files {
			_ = f.Close() // nothing was written that could be lost
		}
	}
	theirIn, in, err := pipe()
	var out, theirOut, errs, theirErrs *os.File
	if err == nil {
		out, theirOut, err = pipe()
	}
	if err == nil {
		errs, theirErrs, err = pipe()
	}
	if err != nil {
		closeAll(files...)
		return nil, fmt.Errorf("pipe: %w: raise ulimit -n", err)
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirIn, theirOut, theirErrs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	closeAll(theirIn, theirOut, theirErrs)
	if err != nil {
		closeAll(in, out, errs)
		return nil, err
	}
	c := &child{cmd: cmd, stdin: in, ready: make(chan struct{}), done: make(chan struct{})}
	var busy sync.WaitGroup
	busy.Go(func() {
		// A letter may be longer than the pipe takes. Who doesn't read it isn't ready either.
		_ = in.SetWriteDeadline(time.Now().Add(bound))
		_, _ = in.Write(append(bytes.TrimRight(letter, "\n"), '\n'))
	})
	busy.Go(func() { c.awaitReady(out) })
	busy.Go(func() { c.listen(errs) })
	go func() { // ends with the child
		c.reap()
		_ = in.Close()
		for _, r := range []*os.File{out, errs} {
			_ = r.SetReadDeadline(time.Now().Add(drainBound)) // pipes support deadlines
		}
		busy.Wait()
		closeAll(out, errs)
		c.ends = ended{How: ending(cmd.ProcessState), Stderr: c.lastWords()}
		close(c.done)
	}()
	return c, nil
}

// awaitReady reads standard output to its end, and notices the line.
func (c *child) awaitReady(r io.Reader) {
	said := false
	lines(r, len(Ready)+2, func(line []byte) {
		if !said && string(line) == Ready {
			said = true
			close(c.ready)
		}
	})
}

// listen reads standard error to its end and keeps the last of it.
func (c *child) listen(r io.Reader) {
	lines(r, wordBytes, func(line []byte) {
		text := strings.ToValidUTF8(string(line), "?")
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.words) == wordLines {
			c.words = append(c.words[:0], c.words[1:]...)
		}
		c.words = append(c.words, text)
	})
}

// lines calls f for each line, of which it gives the first bytes, in a buffer that is used
// again.
func lines(r io.Reader, bytesKept int, f func([]byte)) {
	b := bufio.NewReaderSize(r, max(bytesKept, 16))
	for {
		line, err := b.ReadSlice('\n')
		if len(line) > 0 {
			f(bytes.TrimRight(line[:min(len(line), bytesKept)], "\r\n"))
		}
		for errors.Is(err, bufio.ErrBufferFull) { // the rest of a long one
			_, err = b.ReadSlice('\n')
		}
		if err != nil {
			return
		}
	}
}

func (c *child) lastWords() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.words...)
}

// kill ends the child's process group.
func (c *child) kill() { c.signal(syscall.SIGKILL) }

// signal sends a signal to the child's process group.
func (c *child) signal(s syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.gone {
		_ = syscall.Kill(-c.cmd.Process.Pid, s) // it may have ended already
	}
}

// end tells the child to end, by the end of its standard input and by SIGTERM, and kills it
// after grace or when now is closed. It says whether the child is gone.
func (c *child) end(grace time.Duration, now <-chan struct{}) bool {
	_ = c.stdin.Close()
	if c.lasting { // the end of its input means nothing to it
		c.signal(syscall.SIGTERM)
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-c.done:
		return true
	case <-timer.C:
	case <-now:
	}
	c.kill()
	timer.Reset(killBound)
	select {
	case <-c.done:
		return true
	case <-timer.C:
		return false
	}
}

// ending says how a process ended, "" for status 0.
func ending(s *os.ProcessState) string {
	if ws, ok := s.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return fmt.Sprintf("signal %d (%s)", int(ws.Signal()), ws.Signal())
	}
	if s.ExitCode() == 0 {
		return ""
	}
	return fmt.Sprintf("status %d", s.ExitCode())
}
