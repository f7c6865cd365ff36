package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

//go:embed torchrun.py
var script []byte

// torchStep is a step that all 4 ranks have completed, at the time of the last.
type torchStep struct {
	step
	pids map[int]int // by rank
}

// torchrun measures torchrun once.
func (b *bench) torchrun(ctx context.Context) (r Result, err error) {
	ctx, cancel := context.WithTimeout(ctx, b.limit+2*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "recovery-")
	if err != nil {
		return r, err
	}
	s := &stage{bench: &bench{gorun: b.python}, dir: dir, env: append(os.Environ(),
		"OMP_NUM_THREADS=1", "RECOVERY_DIR="+dir, "RECOVERY_STATE="+strconv.FormatInt(b.state, 10))}
	var seen []torchStep
	defer func() {
		// Its ranks don't end with it, and one may be stopped.
		for _, t := range seen {
			for _, pid := range t.pids {
				if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); bytes.Contains(line, []byte(dir)) {
					_ = syscall.Kill(pid, syscall.SIGKILL) // it may just have ended
				}
			}
		}
		err = errors.Join(err, s.clear())
	}()
	file := filepath.Join(dir, "torchrun.py")
	if err := os.WriteFile(file, script, 0o600); err != nil {
		return r, err
	}
	job, err := s.start("torchrun", file, "--standalone", "--nproc_per_node", "4", "--max_restarts", "3", "--monitor_interval", "0.1", file)
	if err != nil {
		return r, err
	}
	wait := func(ctx context.Context, enough func(torchStep) bool) error {
		return poll(ctx, job, func() (bool, error) {
			text, err := os.ReadFile(filepath.Join(dir, "steps"))
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return false, err
			}
			seen = torchSteps(text)
			return len(seen) > 0 && enough(seen[len(seen)-1]), nil
		})
	}
	if err := wait(ctx, func(t torchStep) bool { return t.Step >= settled }); err != nil {
		return r, err
	}
	signal := syscall.SIGKILL
	if b.fault == "hang" {
		signal = syscall.SIGSTOP
	}
	at := time.Now()
	if err := syscall.Kill(seen[len(seen)-1].pids[2], signal); err != nil {
		return r, err
	}
	limit, over := context.WithTimeout(ctx, b.limit)
	defer over()
	if err := wait(limit, func(t torchStep) bool { return t.Generation > 1 }); err != nil && limit.Err() == nil {
		return r, err
	}
	before := 0
	for _, t := range seen {
		if t.Generation > 1 {
			return b.result("torchrun", t.T-float64(at.UnixMicro())/1e6, before, t.Step, t.Generation), nil
		}
		before = t.Step
	}
	return b.result("torchrun", 0, before, -1, 1), nil
}

// torchSteps reads lines of time, restart, step, rank and pid, and puts those of a step
// together.
func torchSteps(text []byte) []torchStep {
	open := map[[2]int]*torchStep{}
	var whole []torchStep
	for line := range bytes.Lines(text) {
		var t float64
		var restart, n, rank, pid int
		if _, err := fmt.Sscanf(string(line), "%g %d %d %d %d\n", &t, &restart, &n, &rank, &pid); err != nil {
			continue // it is still being written
		}
		id := [2]int{restart, n}
		if open[id] == nil {
			open[id] = &torchStep{step: step{Generation: restart + 1, Step: n}, pids: map[int]int{}}
		}
		o := open[id]
		o.T = max(o.T, t)
		if o.pids[rank] = pid; len(o.pids) == 4 {
			whole = append(whole, *o)
			delete(open, id)
		}
	}
	return whole
}
