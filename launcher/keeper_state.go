package launcher

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
)

// conclude tells how the job has ended, and writes the verdict if this keeper leads.
func (k *keeper) conclude() {
	k.mu.Lock()
	v, at := k.verdict(), k.at
	k.mu.Unlock()
	if !v.OK && v.Saved != "" {
		v.Resume = k.l.resume()
	}
	k.desk.finish(v, at)
	if k.l.Verdict != "" && k.leads.Load() {
		if err := v.write(k.l.Verdict); err != nil {
			k.l.out.note(err.Error())
		}
	}
}

// verdict is how the job has ended. It is called with mu held.
func (k *keeper) verdict() Verdict {
	if k.s.job == nil {
		return Verdict{Job: k.l.job, Status: control.StatusTemporary, Cause: &Cause{Rank: -1, Host: keepersName, Kind: control.KindStopped, Detail: "was ended before it began"}}
	}
	return k.s.job.verdict(k.at)
}

// write has this keeper, and no other, write the metrics, or leaves it to another.
func (k *keeper) write(lead bool) {
	if k.l.Metrics == "" {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	err := k.s.metrics.yield()
	if lead {
		begins := k.seq == 0 && !k.l.Checkpoint.Resume
		err = errors.Join(err, k.s.metrics.take(k.l.Metrics, begins))
	}
	if err != nil {
		k.l.out.note("--metrics: " + err.Error())
	}
}

// now is the job's time: that of the newest record, and what has passed since. Clocks of
// different hosts don't agree.
func (k *keeper) now() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.time()
}

// time is now, called with mu held.
func (k *keeper) time() time.Time {
	if k.at.IsZero() {
		return time.Now().Round(0)
	}
	return k.at.Add(time.Since(k.applied))
}

// propose has all keepers know of an event, this one if it leads.
func (k *keeper) propose(e event) error { return k.record(recordOf(e, k.now())) }

func (k *keeper) record(r record) error {
	if !k.leads.Load() {
		return control.ErrElsewhere
	}
	ctx, cancel := context.WithTimeout(context.Background(), proposeWithin)
	defer cancel()
	if _, err := k.group.Load().Propose(ctx, r.encode()); err != nil {
		return control.ErrElsewhere // who said it says it again, to who leads then
	}
	return nil
}

// hear takes in what a worker says.
func (k *keeper) hear(e event) error {
	if p, ok := e.(evPulsed); ok {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.s.stalls.hear(p.pulse, k.time())
		return nil
	}
	r, ok := e.(evReported)
	if !ok {
		if _, last := e.(evFinished); last {
			k.tellReports() // so that all know how far it came
		}
		return k.propose(e)
	}
	if k.reported(r.report) {
		_ = k.propose(e) // tellReports says it again
	}
	return nil
}

// reported takes in a report, and returns whether it is one that all are to know at once:
// that training goes on.
func (k *keeper) reported(r control.Report) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.s.job == nil {
		return false
	}
	k.s.report(r)
	k.news[r.Member] = r
	if c := k.s.job.members[r.Member]; c != nil {
		c.step = max(c.step, r.Step) // for people: nothing is decided by it
	}
	return k.s.job.outage.ends(r)
}

// tellReports has the others know how far the ranks are. They know what is reported
// themselves; what follows from it has to be decided by all on the same grounds.
func (k *keeper) tellReports() {
	k.mu.Lock()
	var last *control.Report
	for _, r := range k.news {
		if last == nil || r.Step > last.Step {
			last = &r
		}
	}
	clear(k.news)
	k.mu.Unlock()
	if last != nil {
		_ = k.propose(evReported{*last}) // the next one says more
	}
}

// heard takes in what an agent says.
func (k *keeper) heard(n control.AgentNews) error {
	switch {
	case n.Output != nil:
		k.l.out.lines(n.Output.Error, n.Output.Rank, n.Output.Raw, n.Output.Shown)
		return nil
	case n.Hello != nil:
		return k.record(record{At: k.now(), Agent: &n})
	}
	if e := eventOf(n); e != nil {
		return k.propose(e)
	}
	return nil
}

// Apply takes in a record, as all keepers do.
func (k *keeper) Apply(_ uint64, entry []byte) any {
	r, err := decodeRecord(entry)
	if err != nil {
		return err // of a keeper that is none of this version's: no letter has told it
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.apply(r)
	return nil
}

func (k *keeper) apply(r record) {
	if r.At.Before(k.at) {
		r.At = k.at
	}
	k.seq++
	r.Seq = max(r.Seq, k.seq)
	k.seq, k.at, k.applied = r.Seq, r.At, time.Now()
	k.knows.Store(true)
	now := func() time.Time { return r.At }
	var acts []act
	switch {
	case k.isOver():
	case k.s.job != nil:
		acts = k.s.decide(r.event(), r.At)
	case r.Agent != nil && r.Agent.Hello != nil:
		k.hello[r.Agent.Host] = *r.Agent.Hello
		if len(k.waitsFor()) == 0 {
			k.l.out.note(k.spec.Shown)
			k.s.begin(newJob(k.l.rules(), r.At))
			k.s.story.begin(k.spec.Options.NP, len(k.spec.Names), k.command(), r.At)
			acts = k.s.job.begin(r.At)
		}
	case r.Signal != nil:
		k.end()
	}
	k.history.add(r, len(acts) > 0)
	k.s.act(context.Background(), acts, now)
	if k.s.job != nil && k.s.job.phase == over && !k.isOver() {
		k.s.completed(k.s.ledger.rest())
		k.end()
	}
	select {
	case k.changed <- struct{}{}:
	default:
	}
}

// end has all agents end. It is called with mu held.
func (k *keeper) end() {
	for _, host := range k.spec.Names {
		k.agents.Order(host, control.AgentOrder{End: true})
	}
	k.s.agent.endAll()
	close(k.over)
}

func (k *keeper) isOver() bool {
	select {
	case <-k.over:
		return true
	default:
		return false
	}
}

// Snapshot is all records so far.
func (k *keeper) Snapshot() ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return json.Marshal(k.history)
}

// Restore takes in the records that this keeper has missed.
func (k *keeper) Restore(snapshot []byte) error {
	var all history
	if err := json.Unmarshal(snapshot, &all); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, r := range all {
		if r.Seq > k.seq {
			k.apply(r)
		}
	}
	return nil
}

// untilDeadline is how long the job has nothing to do without an event.
func (k *keeper) untilDeadline() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.s.job == nil || k.isOver() || !k.leads.Load() {
		return time.Hour
	}
	d := k.s.job.deadline()
	if d.IsZero() {
		return time.Hour
	}
	return max(d.Sub(k.at.Add(time.Since(k.applied))), time.Millisecond)
}

// ps is the state for gorun ps.
func (k *keeper) ps() any {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.s.job == nil || k.isOver() {
		return []RankState{}
	}
	return k.s.ranks()
}

// waitsFor is the hosts that have not said hello. It is called with mu held.
func (k *keeper) waitsFor() []string {
	missing := []string{}
	for _, host := range k.spec.Names {
		if _, there := k.hello[host]; !there {
			missing = append(missing, host)
		}
	}
	return missing
}

func (k *keeper) missing() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.waitsFor()
}

// mayDrain says why ranks can't leave a host, nil if they can.
func (k *keeper) mayDrain(host string) (done bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.s.job == nil || k.isOver() {
		return false, absent{refuse("the job has not begun, or has ended")}
	}
	return k.s.job.mayDrain(host)
}

// recruits says what hosts the job looks for: none where another keeper leads.
func (k *keeper) recruits() (r recruiting) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.s.job == nil || k.isOver() || !k.leads.Load() {
		return r
	}
	return k.s.job.recruits(k.at.Add(time.Since(k.applied)))
}

// mayResize says how many ranks the job has, and why it can't have another number.
func (k *keeper) mayResize(np int) (was int, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.s.job == nil || k.isOver() {
		return 0, refuse("the job has not begun, or has ended")
	}
	return len(k.s.job.gen.Members), k.s.job.mayResize(np)
}
