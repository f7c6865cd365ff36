// Package launcher starts the ranks of a job and keeps them alive until there is a verdict.
//
// An agent starts candidates and tells of their ends; ranks tell of themselves over the
// broker; the supervisor has job decide what to do about it, and does it.
package launcher

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/internal/rendezvous"
	"github.com/gorun-ml/gorun/launcher/joblist"
	"github.com/gorun-ml/gorun/launcher/membership"
)

// errSignalled ends a build.
type errSignalled struct{ signal syscall.Signal }

func (e errSignalled) Error() string { return "stopped by " + signalName(e.signal) }

// Run runs one job to its end, tells people and machines how it ended, and returns the exit
// status. Each signal that arrives asks it to stop; the second ends everything at once.
// At its end nothing is left running: it kills all children of this process, whoever
// started them.
func Run(o Options, signals <-chan os.Signal) int {
	began := time.Now()
	var id [2]byte
	_, _ = rand.Read(id[:]) // never fails
	l := &launch{Options: o, job: hex.EncodeToString(id[:]), began: began}
	if o.JobID != "" {
		l.job = o.JobID + "-" + l.job
	}
	if l.host = o.Host; l.host == "" {
		l.host, _ = os.Hostname()
	}
	if l.host == "" {
		l.host = "localhost"
	}
	v, err := l.run(signals)
	if err != nil {
		v = l.refused(err)
	}
	return l.conclude(v, err)
}

// launch is one call of Run.
type launch struct {
	Options
	job     string
	host    string
	began   time.Time
	bin     binary
	broker  string
	brokers func(host string) string // of which there are several; nil where there is one
	ports   map[int]int              // by attempt of a gang
	out     *output
	sites   *sites
	digest  string         // of the program, where other hosts fetch it
	files   []control.File // that they fetch too
	dir     string         // that ranks run in
}

// run does all of Run but telling the verdict.
func (l *launch) run(signals <-chan os.Signal) (Verdict, error) {
	if err := l.check(); err != nil {
		return Verdict{}, err
	}
	if err := l.absolute(); err != nil {
		return Verdict{}, err
	}
	var err error
	if l.dir, err = os.Getwd(); err != nil {
		return Verdict{}, refuse("the working directory: %v", err)
	}
	if l.sites, err = l.list(); err != nil {
		return Verdict{}, err
	}
	if err := l.listenFor(l.sites); err != nil {
		return Verdict{}, err
	}
	folder, err := os.MkdirTemp("", "gorun-"+l.job+"-") // 0700
	if err != nil {
		return Verdict{}, refuse("folder for the job: %v%s", err, room(err))
	}
	defer func() { _ = os.RemoveAll(folder) }() // what stays is in the system's folder for such files
	l.bin, err = l.build(folder, signals)
	if err != nil {
		return Verdict{}, err
	}
	l.out, err = newOutput(newSink(l.Stdout), newSink(l.Stderr), l.Output, l.Quiet, !l.Checkpoint.Resume)
	if err != nil {
		return Verdict{}, refuse("--output: %v", err)
	}
	l.out.bare = l.Own
	if l.Detach {
		return l.detach(signals)
	}
	return l.launch(folder, signals)
}

// room says what to do about a full disk.
func room(err error) string {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return ": free some, or name another folder by TMPDIR"
	}
	return ""
}

// means says by what gradients travel, where ranks are expected to join, and whether they can
// be read on the way. That ranks of a host can't share memory after all, they say themselves.
func (l *launch) means() string {
	means := ""
	switch {
	case !l.bin.source && !l.Own || l.Gang || l.NP < 2:
	case l.Transport == "tcp" || len(l.sites.names) == l.NP:
		means = " · over tcp"
	case len(l.sites.names) > 1:
		means = " · over shared memory and tcp"
	default:
		means = " · over shared memory"
	}
	if l.Encrypt {
		means += " · encrypted"
	}
	return means
}

// absolute makes the paths that ranks are told independent of where they run.
func (l *launch) absolute() error {
	if l.Flight != "" {
		dir, err := filepath.Abs(l.Flight)
		if err == nil {
			err = os.MkdirAll(dir, 0o700)
		}
		if err != nil {
			return refuse("--flight: %v", err)
		}
		l.Flight = dir
	}
	if l.Checkpoint.Dir == "" {
		return nil
	}
	dir, err := filepath.Abs(l.Checkpoint.Dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		return refuse("--checkpoint: %v", err)
	}
	l.Checkpoint.Dir = dir
	return nil
}

// build makes the program executable. A signal ends it.
func (l *launch) build(folder string, signals <-chan os.Signal) (binary, error) {
	ctx, done := untilSignal(signals)
	defer done()
	b, err := build(ctx, l.Program, folder)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return b, err
}

// untilSignal is a context that a signal ends, with errSignalled. Until done is called,
// nobody else gets signals.
func untilSignal(signals <-chan os.Signal) (ctx context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	over, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case s := <-signals:
			if n, ok := s.(syscall.Signal); ok {
				cancel(errSignalled{n})
			}
		case <-over:
		}
	}()
	return ctx, func() {
		close(over)
		<-watched
		cancel(nil)
	}
}

// launch starts the control plane and the ranks, and returns when nothing runs any more.
func (l *launch) launch(folder string, signals <-chan os.Signal) (Verdict, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	metrics, err := l.openMetrics()
	if err != nil {
		return Verdict{}, err
	}
	var secret [control.SecretBytes]byte
	_, _ = rand.Read(secret[:]) // never fails
	b, err := startBroker(ctx, l.Bind, secret)
	if err != nil {
		return Verdict{}, &Refusal{Status: control.StatusNoHost, Text: err.Error()}
	}
	defer b.close()
	l.broker = b.addr()
	nc, err := b.connect()
	if err != nil {
		return Verdict{}, err
	}
	defer nc.Close()

	hosts, err := membership.Start(membership.Config{Group: "gorun " + l.job, Host: l.host, Bind: l.Bind, Key: control.GossipKey(secret)})
	if err != nil {
		return Verdict{}, &Refusal{Status: control.StatusNoHost, Text: err.Error()}
	}
	defer func() { _ = hosts.Close() }() // nobody is left to be told

	store := rendezvous.NewMemory()
	s := newSupervisor()
	s.stalls, s.paces = newStalls(l.Stall), newPaces(l.EvictSlow)
	hub, err := control.NewHub(nc, l.job, store, s.voice())
	if err != nil {
		return Verdict{}, err
	}
	defer func() { _ = hub.Close() }() // it has told all it had to tell
	desk, err := l.openDesk(folder, hub, s.voice().tell, s.mayResize, s.mayDrain)
	if err != nil {
		return Verdict{}, err
	}
	defer desk.backlog.close()
	others, err := l.enlist(ctx, hub, l.sites, hosts.Addr(), secret[:], s.tell)
	if err != nil {
		return Verdict{}, err
	}
	defer others.close()
	if l.sites.placed == nil {
		if err := l.place(l.sites); err != nil {
			return Verdict{}, err
		}
	}
	s.begin(newJob(l.rules(), time.Now()))
	if err := l.offer(others.agents); err != nil {
		return Verdict{}, err
	}
	agent := newAgent(secret[:], l.out.lines, s.tell)
	agent.adopts = adoptOrphans() == nil // else what leaves its group is on its own
	s.store, s.command, s.order, s.joined = store, hub.Command, l.order, l.joined
	s.agent = &fleet{host: l.host, own: agent, agents: others.agents, at: map[string]string{}}
	s.out, s.story, s.metrics, s.plain = l.out, desk.story, metrics, !l.out.stderr.terminal
	if err := hub.ServePS(s.ps); err != nil {
		return Verdict{}, err
	}
	command := quote(append([]string{"gorun"}, l.Command...))
	entry, err := joblist.Enter(l.Runtime, joblist.Entry{
		Job: l.job, PID: os.Getpid(), Broker: l.broker, Seed: control.BrokerSeed(secret),
		Started: l.began, Command: command, Folder: folder,
	})
	if err != nil {
		l.out.note(fmt.Sprintf("%v: gorun ps won't show this job", err))
	}
	defer entry.Leave()
	desk.story.begin(l.NP, len(l.sites.names), command, l.began)

	scouted := make(chan struct{})
	scouting, endScouting := context.WithCancel(ctx)
	defer endScouting()
	go func() {
		defer close(scouted)
		others.scout(scouting, s.recruits, letter{Job: l.job, Broker: l.broker, Gossip: hosts.Addr(), Secret: secret[:], Version: l.Version, NICs: l.NICs})
	}()
	relayed := make(chan struct{})
	go func() {
		defer close(relayed)
		for {
			select {
			case sig := <-signals:
				if n, ok := sig.(syscall.Signal); ok {
					s.tell(evSignal{signal: n})
				}
			case h := <-hosts.Sightings():
				if h.State == rendezvous.Dead {
					s.tell(evHostLost{h.Host, "it doesn't answer any more"})
				}
			case <-s.ended:
				return
			}
		}
	}()
	l.out.note(l.bin.describe() + plural(l.NP, "rank") + " on " + plural(len(l.sites.names), "host") + l.means() + " · job " + l.job)
	v := s.supervise(ctx)
	if l.Encrypt && v.OK && !s.job.hasJoined() {
		l.out.note("--encrypt had nothing to encrypt: no rank has called worker.Run, and connections of its own are the program's to protect")
	}
	<-relayed
	endScouting()
	<-scouted
	others.close() // before this host's agent ends all that is left, what reaches them too
	if left := agent.close(drainBound); left > 0 {
		l.out.note(fmt.Sprintf("processes that can't be killed, waiting in the kernel: %d", left))
	}
	if err := metrics.close(); err != nil {
		l.out.note("--metrics: " + err.Error())
	}
	v.Flight = l.flown()
	forgetFlights(l.State)
	told := v
	if !v.OK && v.Saved != "" {
		told.Resume = l.resume()
	}
	if err := keepPast(l.State, desk.story.whole(told, time.Now())); err != nil {
		l.out.note(fmt.Sprintf("%v: gorun explain won't know this job", err))
	}
	entry.Leave() // who hears of the end finds the job no more
	desk.close(told)
	return v, nil
}

func (l *launch) openMetrics() (*metricsFile, error) {
	if l.Metrics == "" {
		return nil, nil
	}
	m, err := openMetrics(l.Metrics, l.Checkpoint.Resume)
	if err != nil {
		return nil, refuse("--metrics: %v", err)
	}
	return m, nil
}

func (l *launch) rules() rules {
	if l.elastic() {
		l.MinNP, l.MaxNP = cmp.Or(l.MinNP, l.NP), cmp.Or(l.MaxNP, l.NP)
	}
	capacity := l.sites.capacity
	if len(l.Hosts) == 0 && l.host != keepersName {
		capacity = []int{thisMachine().cores * ranksPerCore} // what check allows
	}
	return rules{
		Job: l.job, Host: l.host, NP: l.NP, Spares: l.Spares, Oversubscribe: l.Oversubscribe, Restarts: l.Restarts, GangRestarts: l.RestartsSet,
		Gang: l.Gang, Source: l.bin.source, StartTimeout: l.StartTimeout, Grace: l.Grace,
		Checkpoint: l.Checkpoint.Dir != "", MinNP: l.MinNP, MaxNP: l.MaxNP, ElasticTimeout: l.ElasticTimeout, EvictSlow: l.EvictSlow,
		Sites: l.sites.names, Capacity: capacity, Placed: l.sites.placed,
	}
}

// refused is the verdict of a job that did not come to start its ranks.
func (l *launch) refused(err error) Verdict {
	v := Verdict{
		Job: l.job, Status: control.StatusTemporary, Seconds: time.Since(l.began).Seconds(),
		Started: float64(l.began.UnixMicro()) / 1e6,
		Cause:   &Cause{Rank: -1, Host: l.host, Kind: control.KindLaunch, Detail: err.Error()},
	}
	var r *Refusal
	var s errSignalled
	switch {
	case errors.As(err, &r):
		v.Status = r.Status
		v.Cause.Stderr = r.Lines[:min(len(r.Lines), tailLines)]
	case errors.As(err, &s):
		v.Status = 128 + int(s.signal)
		v.Cause.Kind = control.KindStopped
	}
	return v
}

// conclude tells the verdict, and why it was refused if it was.
func (l *launch) conclude(v Verdict, refused error) int {
	if !v.OK && v.Saved != "" {
		v.Resume = l.resume()
	}
	var lines []string
	switch {
	case refused != nil:
		lines = refusalLines(refused)
	case v.OK && !l.Quiet && v.Summary != "":
		lines = []string{v.Summary}
	case !v.OK:
		if l.Quiet {
			for _, line := range v.Cause.Stderr {
				lines = append(lines, fmt.Sprintf("[%d] %s", v.Cause.Rank, line))
			}
		}
		if v.Flight != "" && !l.Quiet {
			lines = append(lines, "gorun: what its ranks did last is in "+v.Flight)
		}
		lines = append(lines, "gorun: "+v.Line())
	}
	if l.Verdict != "" && !(l.Detach && v.OK) { // which is how the job began, not how it ended
		if err := v.write(l.Verdict); err != nil {
			lines = append(lines, "gorun: "+err.Error())
			if v.OK {
				v.Status = control.StatusCheckpoint
			}
		}
	}
	if l.out == nil {
		for _, line := range lines {
			_, _ = fmt.Fprintln(l.Stderr, line) // there is nowhere else to say it
		}
		return v.Status
	}
	_ = l.out.close(lines...) // there is nowhere else to say it
	return v.Status
}

// refusalLines is what people read about a job that was not started.
func refusalLines(err error) []string {
	lines := []string{"gorun: " + oneLine(err.Error())}
	var r *Refusal
	if errors.As(err, &r) {
		lines = append(lines, r.Lines...)
	}
	return lines
}

// Refuse tells a refusal that came before Run could be called, such as a flag that does not
// exist: one line, and the verdict file if there is to be one. It returns the exit status.
func Refuse(err error, verdict string, stderr *os.File) int {
	l := &launch{Options: Options{Verdict: verdict, Stderr: stderr}, began: time.Now()}
	l.host, _ = os.Hostname()
	return l.conclude(l.refused(err), err)
}
