package launcher

import (
	"cmp"
	"context"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
)

const (
	// gatherFor lets lines come together that a held request is answered with.
	gatherFor = 20 * time.Millisecond
	// stayFor is how long a launcher whose job has ended waits for those who follow it to
	// hear the rest and leave, and how recently they must have asked.
	stayFor = 2 * time.Second
)

// mostFollowers are known before those that ask no more are looked for.
const mostFollowers = 64

// desk answers those who ask about a job, or ask it to stop, from other processes. Nobody
// who asks slowly holds up the job.
type desk struct {
	backlog *backlog
	story   *story
	live    func() string // the progress right now
	grace   time.Duration
	tell    func(event) error
	may     func(np int) (was int, err error)        // the job have so many ranks
	mayGo   func(host string) (done bool, err error) // ranks leave a host

	mu        sync.Mutex
	followers map[string]*follower
	changed   chan struct{} // closed when a follower is gone
}

// follower is one that asks again and again.
type follower struct {
	held int       // of its requests
	seen time.Time // when it was last answered
}

// openDesk begins to answer. The output is kept in the job's folder from now on.
func (l *launch) openDesk(folder string, hub *control.Hub, tell func(event) error, may func(np int) (int, error), mayGo func(host string) (bool, error)) (*desk, error) {
	b, err := newBacklog(filepath.Join(folder, "output"), backlogBytes)
	if err != nil {
		return nil, refuse("folder for the job: %v", err)
	}
	d := &desk{
		backlog: b, story: newStory(l.job), live: l.out.now, grace: l.Grace, tell: tell, may: may, mayGo: mayGo,
		followers: map[string]*follower{}, changed: make(chan struct{}),
	}
	l.out.kept = b
	err = hub.ServeSteering(control.Steering{Log: d.log, Events: d.events, Stop: d.stop, Resize: d.resize, Drain: d.drain, Leave: d.leave})
	if err != nil {
		b.close()
		return nil, err
	}
	return d, nil
}

// log answers with lines.
func (d *desk) log(ctx context.Context, q control.LogRequest) control.LogReply {
	want := func(from control.Origin, rank int) bool {
		if from == control.FromGorun {
			return q.Notes
		}
		return q.Rank == nil || *q.Rank == rank
	}
	if q.Last != nil {
		q.From = d.backlog.last(*q.Last, want)
	}
	defer d.follow(q.Follower)()
	if q.Hold > 0 {
		held, cancel := context.WithTimeout(ctx, q.Hold)
		defer cancel()
		if d.backlog.wait(held, q.From) {
			gather := time.NewTimer(gatherFor)
			defer gather.Stop()
			select {
			case <-gather.C:
			case <-held.Done():
			}
		}
	}
	var r control.LogReply
	r.Lines, r.Next, r.Missed = d.backlog.read(q.From, want)
	r.Live = d.live()
	ended := false
	if r.After, ended = d.backlog.after(); ended && r.Next >= r.After {
		r.End = d.story.ending()
	}
	return r
}

// events answers with what has happened.
func (d *desk) events(ctx context.Context, q control.EventsRequest) control.EventsReply {
	defer d.follow(q.Follower)()
	held, cancel := context.WithTimeout(ctx, q.Hold)
	defer cancel()
	return d.story.read(held, q.From)
}

// stop passes on that somebody wants the job to stop.
func (d *desk) stop(q control.StopRequest) (control.StopReply, error) {
	err := d.tell(evSignal{signal: syscall.SIGTERM, by: visitorName(q.By), now: q.Now})
	return control.StopReply{Grace: d.grace}, err
}

// resize passes on that somebody wants another number of ranks.
func (d *desk) resize(q control.ResizeRequest) (control.ResizeReply, error) {
	was, err := d.may(q.Ranks)
	if err != nil {
		return control.ResizeReply{Ranks: was, Refused: oneLine(err.Error())}, nil
	}
	return control.ResizeReply{Ranks: was}, d.tell(evResize{q.Ranks, visitorName(q.By)})
}

// drain passes on that somebody wants ranks to leave a host.
func (d *desk) drain(q control.DrainRequest) (control.DrainReply, error) {
	done, err := d.mayGo(q.Host)
	if !q.Undo && (err != nil || done) || isAbsent(err) {
		r := control.DrainReply{Absent: isAbsent(err), Done: done}
		if err != nil {
			r.Refused = oneLine(err.Error())
		}
		return r, nil
	}
	return control.DrainReply{}, d.tell(evDrain{host: q.Host, by: visitorName(q.By), undo: q.Undo})
}

// visitorName is who asks, as it is shown.
func visitorName(by string) string { return cmp.Or(oneLine(by[:min(len(by), 128)]), "somebody") }

// follow notes that a follower is waiting for an answer. The caller says when it has one.
func (d *desk) follow(name string) (answered func()) {
	if name == "" {
		return func() {}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.followers[name]
	if f == nil && len(d.followers) >= mostFollowers {
		for other, o := range d.followers { // those that went without a word
			if o.held == 0 && time.Since(o.seen) > stayFor {
				delete(d.followers, other)
			}
		}
	}
	if f == nil {
		f = &follower{}
		d.followers[name] = f
	}
	f.held++
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		f.held--
		f.seen = time.Now()
	}
}

// leave forgets a follower.
func (d *desk) leave(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.followers, name)
	close(d.changed)
	d.changed = make(chan struct{})
}

// finish tells all how the job has ended.
func (d *desk) finish(v Verdict, now time.Time) {
	d.story.over(v, now)
	d.backlog.end()
}

// close tells all how the job has ended, and waits a moment for those who follow it to have
// heard of it.
func (d *desk) close(v Verdict) {
	d.finish(v, time.Now())
	late := time.NewTimer(stayFor)
	defer late.Stop()
	for {
		some, changed := d.following()
		if !some {
			return
		}
		select {
		case <-changed:
		case <-late.C:
			return
		}
	}
}

// following says whether there is a follower, and forgets those that ask no more. The channel
// is closed when another is gone.
func (d *desk) following() (some bool, changed <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, f := range d.followers {
		if f.held == 0 && time.Since(f.seen) > stayFor {
			delete(d.followers, name)
		}
	}
	return len(d.followers) > 0, d.changed
}
