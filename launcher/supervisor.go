package launcher

import (
	"context"
	"slices"
	"syscall"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/internal/rendezvous"
)

// starter starts and ends candidates: the boundary between decisions and processes. An
// agent is one.
type starter interface {
	start(o order) (pid int, err error)
	signal(member string, s syscall.Signal)
	label(member string, rank int)
	end(host string) // another host's agent
	use(host, agent string)
	dismiss(agent string)
	endAll() // agents that have joined
}

// supervisor carries a job from its first rank to its verdict: one loop that takes events,
// has job decide, and acts.
type supervisor struct {
	job     *job
	store   rendezvous.Store
	agent   starter
	command func(control.Command) error
	order   func(actStart) (order, error)
	joined  func(host string, hello control.AgentHello)
	out     *output
	story   *story
	metrics *metricsFile
	stalls  *stalls
	paces   *paces
	plain   bool // no live line

	events   chan event
	calls    chan func() // what others want done in the loop
	ended    chan struct{}
	ledger   *ledger
	progress *progress
}

// RankState is what gorun ps tells of one rank.
type RankState struct {
	Job        string `json:"job"`
	Rank       int    `json:"rank"`
	Host       string `json:"host"`
	PID        int    `json:"pid"`
	Generation uint64 `json:"generation"`
	Step       int    `json:"step"`
}

// newSupervisor can be told events, and handles them once it supervises a job.
func newSupervisor() *supervisor {
	return &supervisor{events: make(chan event, 1024), calls: make(chan func()), ended: make(chan struct{}), ledger: newLedger(), stalls: newStalls(0), paces: newPaces(0)}
}

// begin gives it its job, before it supervises.
func (s *supervisor) begin(j *job) { s.job, s.progress = j, newProgress(j.started) }

// tell hands an event to the loop. After the loop's end it does nothing.
func (s *supervisor) tell(e event) {
	select {
	case s.events <- e:
	case <-s.ended:
	}
}

// voice is how workers tell it.
func (s *supervisor) voice() voice {
	return voice{func(e event) error { s.tell(e); return nil }}
}

// supervise runs the job to its end.
func (s *supervisor) supervise(ctx context.Context) Verdict {
	defer close(s.ended)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	look := time.NewTicker(s.stalls.every())
	defer look.Stop()
	pace := time.NewTicker(paceEvery)
	defer pace.Stop()
	s.act(ctx, s.job.begin(time.Now()), time.Now)
	for s.job.phase != over {
		wait := time.Hour
		if d := s.job.deadline(); !d.IsZero() {
			wait = max(time.Until(d), 0)
		}
		timer.Reset(wait)
		select {
		case e := <-s.events:
			s.handle(ctx, e)
		case f := <-s.calls:
			f()
		case <-timer.C:
			s.handle(ctx, evTick{})
		case <-look.C:
			for _, e := range s.stalls.find(s.job, time.Now()) {
				s.handle(ctx, e)
			}
		case <-pace.C:
			for _, e := range s.paces.find(s.job, time.Now()) {
				s.handle(ctx, e)
			}
		}
	}
	for { // reports that were on their way
		select {
		case e := <-s.events:
			if r, ok := e.(evReported); ok {
				s.report(r.report)
			}
			continue
		default:
		}
		break
	}
	s.completed(s.ledger.rest())
	return s.job.verdict(time.Now())
}

func (s *supervisor) handle(ctx context.Context, e event) {
	switch e := e.(type) {
	case evReported:
		s.report(e.report)
	case evPulsed:
		s.stalls.hear(e.pulse, time.Now())
		return
	}
	s.act(ctx, s.decide(e, time.Now()), time.Now)
}

// decide has the job say what to do about an event.
func (s *supervisor) decide(e event, now time.Time) []act {
	acts := s.job.handle(e, now)
	s.story.see(e, acts, s.job, now)
	return acts
}

// act does what the job decided. What comes of it is handled at once, before other events,
// at the time that now tells.
func (s *supervisor) act(ctx context.Context, acts []act, now func() time.Time) {
	for len(acts) > 0 {
		a := acts[0]
		acts = acts[1:]
		var then event
		switch a := a.(type) {
		case actStart:
			o, err := s.order(a)
			pid := 0
			if err == nil {
				pid, err = s.agent.start(o)
			}
			if then = (evStarted{a.member, pid}); err != nil {
				then = evNotStarted{a.member, err}
			}
		case actSignal:
			s.agent.signal(a.member, a.signal)
		case actLabel:
			s.agent.label(a.member, a.rank)
		case actEnd:
			s.agent.end(a.host)
		case actUse:
			s.joined(a.host, a.hello)
			s.agent.use(a.host, a.agent)
		case actDismiss:
			s.agent.dismiss(a.agent)
		case actCommit:
			if err := s.store.Commit(ctx, a.prev, a.next); err != nil {
				then = evBroken{err}
			}
		case actCommand:
			if err := s.command(a.command); err != nil {
				then = evBroken{err}
			}
		case actNote:
			s.out.note(a.line)
		}
		if then != nil {
			acts = append(acts, s.decide(then, now())...)
		}
	}
}

func (s *supervisor) report(r control.Report) {
	if r.Size < 1 || r.Step < 0 {
		return
	}
	s.paces.hear(r)
	s.completed(s.ledger.add(r))
}

func (s *supervisor) completed(steps []Metrics) {
	if len(steps) == 0 {
		return
	}
	if err := s.metrics.write(steps); err != nil {
		s.out.note("--metrics: " + err.Error() + ": steps are missing there; the job goes on")
	}
	for _, m := range steps {
		if line := s.progress.add(m, time.Now(), s.plain); line != "" {
			s.out.plain(line)
		}
	}
	s.out.progress(s.progress.line())
}

// ps is the state for gorun ps. It may be called from any goroutine.
func (s *supervisor) ps() any {
	ranks := []RankState{}
	s.call(func() { ranks = s.ranks() })
	return ranks
}

// mayResize says how many ranks train, and why it can't have another number, nil if
// it can. It may be called from any goroutine.
func (s *supervisor) mayResize(np int) (was int, err error) {
	err = refuse("the job has ended")
	s.call(func() { was, err = len(s.job.gen.Members), s.job.mayResize(np) })
	return was, err
}

// mayDrain says why ranks can't leave a host, nil if they can. It may be called from any
// goroutine.
func (s *supervisor) mayDrain(host string) (done bool, err error) {
	err = absent{refuse("the job has ended")}
	s.call(func() { done, err = s.job.mayDrain(host) })
	return done, err
}

// recruits says what hosts the job looks for. It may be called from any goroutine.
func (s *supervisor) recruits() (r recruiting) {
	s.call(func() { r = s.job.recruits(time.Now()) })
	return r
}

// call has f run in the loop, and returns after it. After the loop's end it does nothing.
func (s *supervisor) call(f func()) {
	done := make(chan struct{})
	select {
	case s.calls <- func() { f(); close(done) }:
		<-done
	case <-s.ended:
	}
}

// ranks is the state of the processes that live.
func (s *supervisor) ranks() []RankState {
	ranks := []RankState{}
	for _, c := range s.job.candidates() {
		if c.exited {
			continue
		}
		r := RankState{s.job.Job, c.rank, c.host, c.pid, c.generation, c.step}
		if !s.job.hasJoined() {
			r.Generation = uint64(s.job.attempt)
		}
		ranks = append(ranks, r)
	}
	slices.SortFunc(ranks, func(a, b RankState) int { return a.Rank - b.Rank })
	return ranks
}

// voice makes events of what workers say, and hands them to tell: a control.Handler.
type voice struct{ tell func(event) error }

// Registered tells that a candidate is ready.
func (v voice) Registered(m rendezvous.Member) error { return v.tell(evRegistered{m}) }

// Reported tells of a step that one rank has completed.
func (v voice) Reported(r control.Report) { _ = v.tell(evReported{r}) } // it may be lost

// Pulsed tells that a rank lives.
func (v voice) Pulsed(p control.Pulse) { _ = v.tell(evPulsed{p}) } // it may be lost

// Failed tells why a rank gives up.
func (v voice) Failed(f control.Failure) error { return v.tell(evFailed{f}) }

// Finished tells that a rank's training function has returned.
func (v voice) Finished(f control.Finish) error { return v.tell(evFinished{f}) }

// Saved tells of a durable checkpoint.
func (v voice) Saved(c control.Saved) error { return v.tell(evSaved{c}) }

// Stranded tells of a rank that lives and has lost its connections.
func (v voice) Stranded(c control.Stranded) error { return v.tell(evStranded{c}) }

// Said tells what a worker wants people to read.
func (v voice) Said(member, line string) error { return v.tell(evSaid{member, line}) }
