package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// settled is how many steps a job makes before something goes wrong: half-way between two that
// torchrun's ranks save.
const settled = 55

// step is what is used of a line of --metrics.
type step struct {
	T          float64
	Generation int
	Size       int
	Step       int
}

// stage is where one repetition of gorun takes place: folders of its own, and what was started.
type stage struct {
	*bench
	dir     string
	env     []string
	started []*started
}

// started is a process that was started, in a group of its own.
type started struct {
	cmd  *exec.Cmd
	log  string
	gone chan struct{}
}

// ours measures gorun once.
func (b *bench) ours(ctx context.Context) (r Result, err error) {
	ctx, cancel := context.WithTimeout(ctx, b.limit+time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "recovery-")
	if err != nil {
		return r, err
	}
	s := &stage{bench: b, dir: dir, env: append(os.Environ(), "XDG_RUNTIME_DIR="+dir, "XDG_CONFIG_HOME="+dir)}
	defer func() { err = errors.Join(err, s.clear()) }()
	args := []string{"-np", "4", "--metrics", filepath.Join(dir, "metrics"), "--spares", strconv.Itoa(b.spares)}
	switch b.fault {
	case "hang":
		args = append(args, "--stall", b.stall.String())
	case "host":
		join, err := s.hosts(ctx)
		if err != nil {
			return r, err
		}
		args = append(args, "--spread", "--join", join)
	}
	job, err := s.start("job", append(args, b.program()...)...)
	if err != nil {
		return r, err
	}
	if _, err := s.await(ctx, job, func(all []step) bool { return len(all) >= settled }); err != nil {
		return r, err
	}
	victim, at, err := s.inject(ctx)
	if err != nil {
		return r, err
	}
	limit, over := context.WithTimeout(ctx, b.limit)
	defer over()
	next := func(all []step) bool { return len(all) > 0 && all[len(all)-1].Generation > 1 }
	all, err := s.await(limit, job, next)
	if err != nil && limit.Err() == nil {
		return r, err
	}
	r = b.outcome(all, at)
	if b.fault == "hang" && r.Seconds != nil {
		r.Named, err = s.named(ctx, victim, at)
	}
	return r, err
}

// named is how long after at the job had named a rank as lost.
func (s *stage) named(ctx context.Context, m member, at time.Time) (*float64, error) {
	ask := exec.CommandContext(ctx, s.gorun, "events", "--json", m.Job)
	ask.Env = s.env
	out, err := ask.Output()
	if err != nil {
		return nil, fmt.Errorf("gorun events: %w", err)
	}
	for line := range bytes.Lines(out) {
		var e struct {
			T     float64
			Event string
			Rank  int
		}
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("gorun events: %w", err)
		}
		if e.Event == "rank-lost" && e.Rank == m.Rank {
			seconds := e.T - float64(at.UnixMicro())/1e6
			return &seconds, nil
		}
	}
	return nil, fmt.Errorf("gorun events: rank %d was not lost in %s", m.Rank, out)
}

// outcome finds the first step of a later generation.
func (b *bench) outcome(all []step, at time.Time) Result {
	name := "gorun"
	if b.spares > 0 {
		name = "gorun --spares " + strconv.Itoa(b.spares)
	}
	before := 0
	for _, s := range all {
		if s.Generation > 1 {
			return b.result(name, s.T-float64(at.UnixMicro())/1e6, before, s.Step, s.Generation)
		}
		before = s.Step
	}
	return b.result(name, 0, before, -1, 1)
}

// program is what gorun runs.
func (b *bench) program() []string {
	if b.state == 0 {
		return []string{b.source, "--epochs", "1000"}
	}
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	return []string{self, "rank", "-bytes", strconv.FormatInt(b.state, 10)}
}

// start starts gorun. Its output goes to a file.
func (s *stage) start(name string, args ...string) (*started, error) {
	p := &started{log: filepath.Join(s.dir, name+".log"), gone: make(chan struct{})}
	out, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p.cmd = exec.Command(s.gorun, args...)
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = s.env, out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait() // how it ends is in its log
		close(p.gone)
	}()
	s.started = append(s.started, p)
	return p, nil
}

// clear ends what was started and removes its files.
func (s *stage) clear() error {
	for i := len(s.started) - 1; i >= 0; i-- {
		p := s.started[i]
		_ = syscall.Kill(p.cmd.Process.Pid, syscall.SIGTERM) // fails where it has ended
		late := time.NewTimer(10 * time.Second)
		select {
		case <-p.gone:
		case <-late.C:
			_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
			<-p.gone
		}
		late.Stop()
	}
	return os.RemoveAll(s.dir)
}

// poll calls done until it is true, for as long as a process lives and ctx lasts.
func poll(ctx context.Context, p *started, done func() (bool, error)) error {
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-again.C:
		case <-p.gone:
			said, _ := os.ReadFile(p.log) // empty if it can't be read
			return fmt.Errorf("%s ended too early: %s", filepath.Base(p.cmd.Path), bytes.TrimSpace(said))
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// await waits until the completed steps are as they have to be, and returns them.
func (s *stage) await(ctx context.Context, job *started, enough func([]step) bool) (all []step, err error) {
	path, read := filepath.Join(s.dir, "metrics"), 0
	err = poll(ctx, job, func() (bool, error) {
		f, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return false, err
		}
		text := make([]byte, int(info.Size())-read)
		n, _ := f.ReadAt(text, int64(read)) // what isn't there yet comes next time
		whole := bytes.LastIndexByte(text[:n], '\n') + 1
		read += whole
		for line := range bytes.Lines(text[:whole]) {
			var one step
			if err := json.Unmarshal(line, &one); err != nil {
				return false, fmt.Errorf("%s: %w", path, err)
			}
			if all = append(all, one); enough(all) {
				return true, nil
			}
		}
		return false, nil
	})
	return all, err
}

// member is a rank as gorun ps --json has it.
type member struct {
	Job  string
	Rank int
	Host string
	PID  int
}

// inject does what goes wrong to rank 2, or to its host, and returns when.
func (s *stage) inject(ctx context.Context) (m member, at time.Time, err error) {
	ask := exec.CommandContext(ctx, s.gorun, "ps", "--json")
	ask.Env = s.env
	out, err := ask.Output()
	if err != nil {
		return m, at, fmt.Errorf("gorun ps: %w", err)
	}
	var all []member
	if err := json.Unmarshal(out, &all); err != nil {
		return m, at, fmt.Errorf("gorun ps: %w", err)
	}
	for _, m := range all {
		if m.Rank != 2 {
			continue
		}
		at = time.Now()
		switch s.fault {
		case "worker":
			err = syscall.Kill(m.PID, syscall.SIGKILL)
		case "hang":
			err = syscall.Kill(m.PID, syscall.SIGSTOP)
		default:
			at, err = s.killHost(m.Host)
		}
		return m, at, err
	}
	return m, at, fmt.Errorf("gorun ps: no rank 2 in %s", out)
}

// hosts starts three agents on addresses of this machine, and returns where to join them.
func (s *stage) hosts(ctx context.Context) (join string, err error) {
	for i := range 3 {
		args := []string{"agent", "--name", hostName(i), "--bind", fmt.Sprintf("127.0.0.%d", i+2), "--port", "0", "--slots", "4"}
		if join != "" {
			args = append(args, "--join", join)
		}
		agent, err := s.start(hostName(i), args...)
		if err != nil {
			return "", err
		}
		err = poll(ctx, agent, func() (bool, error) {
			said, err := os.ReadFile(agent.log)
			_, at, found := strings.Cut(string(said), " slots at ")
			if addr, _, whole := strings.Cut(at, ";"); found && whole && join == "" {
				join = addr
			}
			return found, err
		})
		if err != nil {
			return "", err
		}
	}
	return join, poll(ctx, s.started[0], func() (bool, error) {
		ask := exec.CommandContext(ctx, s.gorun, "hosts", "--join", join)
		ask.Env = s.env
		out, err := ask.Output()
		return strings.Count(string(out), "\n") == 4, err // one line is the header
	})
}

func hostName(i int) string { return fmt.Sprintf("recovery%d", i+1) }

// killHost kills a host's agent and all that comes of it.
func (s *stage) killHost(host string) (time.Time, error) {
	for _, p := range s.started {
		if filepath.Base(p.log) != host+".log" {
			continue
		}
		tree, err := descendants(p.cmd.Process.Pid)
		if err != nil {
			return time.Time{}, err
		}
		now := time.Now()
		for _, pid := range append([]int{p.cmd.Process.Pid}, tree...) {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return now, fmt.Errorf("killing %d on %s: %w", pid, host, err)
			}
		}
		return now, nil
	}
	return time.Time{}, fmt.Errorf("rank 2 is on %s, which is none of the agents", host)
}

// descendants are the processes below one.
func descendants(pid int) ([]int, error) {
	out, err := exec.Command("ps", "-e", "-o", "pid=,ppid=").Output()
	if err != nil {
		return nil, fmt.Errorf("ps: %w", err)
	}
	below := map[int][]int{}
	for line := range strings.Lines(string(out)) {
		var child, parent int
		if _, err := fmt.Sscan(line, &child, &parent); err == nil {
			below[parent] = append(below[parent], child)
		}
	}
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, below[all[i]]...)
	}
	return all[1:], nil
}
