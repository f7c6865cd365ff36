package launcher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/launcher/hosts"
)

const (
	discoverWithin = 30 * time.Second
	discoverBytes  = 8 << 20 // all hosts that a list may have, with long names
)

var (
	errTooLong = errors.New("too much output")
	errLate    = errors.New("too late")
)

// Discover asks a script for the hosts that a job may use: it prints one a line, as host or
// host:slots, which is what Horovod expects of its discovery scripts. A signal ends it, and
// all that it has started.
func Discover(script string, signals <-chan os.Signal) ([]hosts.Host, error) {
	return discover(script, signals, discoverWithin)
}

func discover(script string, signals <-chan os.Signal, within time.Duration) ([]hosts.Host, error) {
	path, err := filepath.Abs(script) // a file, not a name in PATH
	if err != nil {
		return nil, refuse("--discovery-script %s: %v", script, err)
	}
	switch info, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, refuse("--discovery-script %s: no such file", script)
	case err != nil:
		return nil, refuse("--discovery-script %s: %v", script, reason(err))
	case info.IsDir():
		return nil, refuse("--discovery-script %s: is a folder, want a program that prints hosts", script)
	case info.Mode()&0o111 == 0:
		return nil, refuse("--discovery-script %s: is not executable: chmod +x it", script)
	}
	ctx, done := untilSignal(signals)
	defer done()
	ctx, cancel := context.WithTimeoutCause(ctx, within, errLate)
	defer cancel()
	out := &limited{most: discoverBytes}
	said := &stream{label: new(atomic.Int32), emit: func(int, []byte, []byte) {}, watch: &tailer{}}
	cmd := exec.CommandContext(ctx, path)
	cmd.Stdout, cmd.Stderr = out, said
	cmd.SysProcAttr = groupOfItsOwn()
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	runtime.LockOSThread() // what ends the group with this process goes by the thread
	err = cmd.Run()
	runtime.UnlockOSThread()
	said.flush()
	failed := func(format string, args ...any) error {
		text := fmt.Sprintf("--discovery-script %s: ", script) + fmt.Sprintf(format, args...)
		return &Refusal{Status: control.StatusNoHost, Text: text, Lines: said.watch.tail().lines}
	}
	var stopped errSignalled
	var ended *exec.ExitError
	switch {
	case errors.As(context.Cause(ctx), &stopped):
		return nil, &Refusal{Status: 128 + int(stopped.signal), Text: fmt.Sprintf("--discovery-script %s: %v", script, stopped)}
	case ctx.Err() != nil:
		return nil, failed("had not ended after %v and was killed", within)
	case out.over:
		return nil, failed("has printed more than %d MiB: want a host a line", discoverBytes>>20)
	case errors.As(err, &ended):
		if e := endingOf(ended.ProcessState); e.signal != 0 {
			return nil, failed("was ended by %s", signalName(e.signal))
		}
		return nil, failed("ended with status %d", ended.ExitCode())
	case err != nil:
		return nil, refuse("--discovery-script %s: %v: a script begins with a line such as #!/bin/sh", script, reason(err))
	case len(bytes.TrimSpace(out.text)) == 0:
		return nil, failed("has printed no host: want one a line, such as h1 or h1:4")
	}
	all, err := hosts.ParseFile("output of "+script, out.text)
	if err != nil {
		return nil, refuse("--discovery-script: %v", err)
	}
	return all, nil
}

// limited keeps what is written to it, up to a bound. What comes after fails.
type limited struct {
	text []byte
	most int
	over bool
}

func (l *limited) Write(p []byte) (int, error) {
	if l.over = l.over || len(l.text)+len(p) > l.most; l.over {
		return 0, errTooLong
	}
	l.text = append(l.text, p...)
	return len(p), nil
}
