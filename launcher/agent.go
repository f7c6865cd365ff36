package launcher

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
)

// order is what an agent needs to start one candidate.
type order struct {
	member string
	host   string
	rank   int    // to label its output with
	path   string // of the program or, on another host, its name in PATH
	digest string // there, what is to be fetched and run under that name
	args   []string
	env    []string
	dir    string // to run in; "" for the agent's own
	files  []control.File
}

// emitter takes whole lines of a rank: as it wrote them, and with its number in front. It
// returns when both may be used again.
type emitter func(stderr bool, rank int, raw, prefixed []byte)

// drainAfterExit bounds how long output is read after a process group is gone: only a
// process that has left the group can still hold the pipe.
const drainAfterExit = time.Second

// agent starts the candidates of one host, watches them, and ends them. It is told by
// orders and tells by events, so that it can be a process of its own on another host.
//
// A candidate leads a process group, which is killed as a whole when the candidate has
// ended. It gets SIGKILL from the kernel when the launcher is gone, however that came. What
// it has started itself doesn't get that: workers notice that the control plane is gone.
type agent struct {
	secret []byte
	emit   emitter
	tell   func(event)
	adopts bool // adoptOrphans was called: all children of this process are the agent's
	memory *memoryGroup

	forks   chan func() // run by one thread, which lives as long as the agent
	forking sync.WaitGroup
	running sync.WaitGroup

	mu    sync.Mutex
	procs map[string]*process
}

// process is one candidate's process.
type process struct {
	cmd   *exec.Cmd
	label atomic.Int32
	mu    sync.Mutex
	gone  bool // reaped: its number may be another process's

	starved int64       // of its memory group, how many had been killed before it
	killed  atomic.Bool // by the agent
}

func newAgent(secret []byte, emit emitter, tell func(event)) *agent {
	a := &agent{secret: secret, emit: emit, tell: tell, memory: ownMemoryGroup(), forks: make(chan func()), procs: map[string]*process{}}
	a.forking.Go(func() {
		// The kernel sends the parent-death signal when the thread that forked ends, not the
		// process. This one forks all candidates and ends after the last of them.
		runtime.LockOSThread()
		for f := range a.forks {
			f()
		}
	})
	return a
}

// start starts a candidate. How it ends is told by evExited and then evDrained.
func (a *agent) start(o order) (pid int, err error) {
	p, pipes, err := a.fork(o)
	if err != nil {
		return 0, err
	}
	a.mu.Lock()
	a.procs[o.member] = p
	a.mu.Unlock()

	w := &tailer{}
	streams := []*stream{
		{label: &p.label, emit: func(rank int, raw, prefixed []byte) { a.emit(false, rank, raw, prefixed) }},
		{label: &p.label, emit: func(rank int, raw, prefixed []byte) { a.emit(true, rank, raw, prefixed) }, watch: w},
	}
	var reading sync.WaitGroup
	for i, s := range streams {
		reading.Go(func() { s.copy(pipes[i]) })
	}
	a.running.Go(func() {
		p.reap()
		a.tell(evExited{o.member, a.ending(p)})
		p.awaitGroup()
		for _, r := range pipes {
			_ = r.SetReadDeadline(time.Now().Add(drainAfterExit)) // pipes support deadlines
		}
		reading.Wait()
		for _, r := range pipes {
			_ = r.Close() // only read from
		}
		a.mu.Lock()
		delete(a.procs, o.member)
		a.mu.Unlock()
		a.tell(evDrained{o.member, w.tail()})
	})
	return p.cmd.Process.Pid, nil
}

// fork starts the process and returns the ends of its outputs that are read.
func (a *agent) fork(o order) (*process, []*os.File, error) {
	var mine, theirs []*os.File
	closeAll := func(files []*os.File) {
		for _, f := range files {
			_ = f.Close() // nothing was written that could be lost
		}
	}
	for range 3 { // standard output, standard error, secret
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(append(mine, theirs...))
			return nil, nil, fmt.Errorf("pipe: %w: raise ulimit -n or lower -np", err)
		}
		mine, theirs = append(mine, r), append(theirs, w)
	}
	mine[2], theirs[2] = theirs[2], mine[2] // the secret flows the other way
	defer func() { closeAll(theirs) }()

	cmd := exec.Command(o.path, o.args...)
	cmd.Env, cmd.Dir = o.env, o.dir
	cmd.Stdout, cmd.Stderr = theirs[0], theirs[1]
	cmd.ExtraFiles = []*os.File{theirs[2]}
	cmd.SysProcAttr = groupOfItsOwn()
	p := &process{cmd: cmd}
	p.starved, _ = a.memory.kills()
	p.label.Store(int32(o.rank))

	started := make(chan error, 1)
	a.forks <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		closeAll(mine)
		return nil, nil, err
	}
	_, err := mine[2].Write(a.secret) // fits into the pipe: never waits
	if bad := mine[2].Close(); err == nil {
		err = bad
	}
	_ = err // the candidate is gone already, or says what it misses
	return p, mine[:2], nil
}

// signal sends s to the candidate's process group. One that has ended is left alone.
func (a *agent) signal(member string, s syscall.Signal) {
	a.mu.Lock()
	p := a.procs[member]
	a.mu.Unlock()
	if p != nil {
		if s == syscall.SIGKILL {
			p.killed.Store(true)
		}
		p.signal(s)
	}
}

// ending is how a process ended. One that was killed, and not by the agent, was it for
// memory if the kernel has counted it.
func (a *agent) ending(p *process) ending {
	end := endingOf(p.cmd.ProcessState)
	if end.signal == syscall.SIGKILL && !p.killed.Load() && a.memory.claim(p.starved) {
		end.starved, end.limit = true, a.memory.limit()
	}
	return end
}

func (p *process) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.gone {
		_ = syscall.Kill(-p.cmd.Process.Pid, s) // the group may have ended already
	}
}

// label says which rank the candidate's output is to be shown as from now on.
func (a *agent) label(member string, rank int) {
	a.mu.Lock()
	p := a.procs[member]
	a.mu.Unlock()
	if p != nil {
		p.label.Store(int32(rank))
	}
}

// close kills what still runs and waits for it, within bound. It returns how many processes
// could not be waited for.
func (a *agent) close(bound time.Duration) int {
	a.mu.Lock()
	left := make([]*process, 0, len(a.procs))
	for _, p := range a.procs {
		left = append(left, p)
	}
	a.mu.Unlock()
	for _, p := range left {
		p.killed.Store(true)
		p.signal(syscall.SIGKILL)
	}
	done := make(chan struct{})
	go func() { // not joined where a process can't be killed: the launcher is about to end
		a.running.Wait()
		close(a.forks)
		a.forking.Wait()
		if a.adopts {
			sweep()
		}
		close(done)
	}()
	timer := time.NewTimer(bound)
	defer timer.Stop()
	select {
	case <-done:
		return 0
	case <-timer.C:
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.procs)
	}
}
