package worker

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/collective/transport/inproc"
	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/internal/rendezvous"
)

// desk plays the launcher of a simulated job: it hears of its seats late, decides by
// rendezvous.Next, and starts anew what was lost.
type desk struct {
	t       *testing.T
	plan    schedule
	network *inproc.Network
	store   *rendezvous.Memory
	ranks   sync.WaitGroup
	over    chan struct{} // closed when no seat is left and none will be started
	want    []account     // after every step of an undisturbed run

	mu       sync.Mutex
	gen      rendezvous.Generation
	np       int
	slots    map[int]*seat // newest of each
	seats    map[string]*seat
	started  int
	left     int  // seats that have not ended
	stopping bool // no generation follows, and nothing is started
	ended    bool // over is closed
	book     book
	seen     tallies
}

// tallies is what has happened in a schedule, so that a test can tell a dull one.
type tallies struct{ generations, planned, lost, fenced, released, redone, stopped, finished int }

func newDesk(t *testing.T, s schedule) *desk {
	return &desk{
		t: t, plan: s, network: inproc.NewNetwork(), store: rendezvous.NewMemory(), over: make(chan struct{}), np: s.ranks,
		slots: map[int]*seat{}, seats: map[string]*seat{}, want: undisturbed(s.sampler), book: newBook(),
	}
}

// training says whether there may be another generation. The desk is locked, here and below.
func (d *desk) training() bool { return !d.stopping && !d.gen.Done }

// broken notes that an invariant does not hold.
func (d *desk) broken(format string, args ...any) {
	d.t.Errorf("at %v: "+format, append([]any{time.Since(d.plan.began)}, args...)...)
}

// fill starts what is missing, and lets go of who has no rank and is one too many.
func (d *desk) fill() {
	if !d.training() {
		return
	}
	active := 0
	for _, s := range d.slots {
		if !s.gone && !s.released {
			active++
		}
	}
	for slot := 0; active < d.np; slot++ {
		if s := d.slots[slot]; s == nil || s.gone || s.released {
			d.start(slot)
			active++
		}
	}
	for _, slot := range slices.Backward(slices.Sorted(maps.Keys(d.slots))) {
		s := d.slots[slot]
		if _, ranked := d.gen.Rank(s.id); active > d.np && d.gen.ID > 0 && !ranked && !s.gone && !s.released {
			s.released = true
			s.kill()
			active--
		}
	}
}

func (d *desk) policy() rendezvous.Policy {
	p := rendezvous.Policy{Min: d.np, Max: d.np}
	switch {
	case d.gen.ID > 0 && d.plan.elastic:
		p.Min, p.Settle = 1, d.plan.settle
	case d.gen.ID > 0 && len(d.gen.Members) < d.np:
		p.Min, p.Settle = len(d.gen.Members), d.plan.settle
	}
	return p
}

// decide is what follows from every event.
func (d *desk) decide() {
	d.fill()
	if d.training() {
		var seen []rendezvous.Sighting
		for _, s := range d.seats {
			if _, ranked := d.gen.Rank(s.id); !s.registered || s.released || d.slots[s.slot] != s && !ranked {
				continue
			}
			state := rendezvous.Registered
			if s.gone {
				state = rendezvous.Dead
			}
			seen = append(seen, rendezvous.Sighting{Member: s.p.self, By: "desk", State: state, Since: s.since, Stranded: s.stranded})
		}
		if next, _, ok := rendezvous.Next(d.gen, seen, time.Now(), d.policy()); ok {
			d.commit(next)
		}
	}
	if d.left == 0 && !d.training() && !d.ended {
		d.ended = true
		close(d.over)
	}
}

func (d *desk) commit(next rendezvous.Generation) {
	if err := d.store.Commit(context.Background(), d.gen.ID, next); err != nil {
		d.broken("generation %d: %v", next.ID, err)
		return
	}
	for _, m := range d.gen.Members {
		if _, stays := next.Rank(m.ID); !stays && !d.seats[m.ID].gone {
			d.seats[m.ID].released = true
		}
	}
	d.gen = next
	d.seen.generations++
	if next.Planned {
		d.seen.planned++
	}
	if next.Done {
		for _, s := range d.seats {
			if !s.registered {
				s.kill()
			}
		}
	}
	d.fill()
}

// register, stranded and finish are letters as the launcher takes them.
func (d *desk) register(s *seat) {
	if s.gone || s.registered || d.stopping {
		return
	}
	s.registered, s.since = true, time.Now()
	d.decide()
}

func (d *desk) strand(s *seat, l control.Stranded) {
	if s.gone || l.Generation != d.gen.ID || !d.training() {
		return
	}
	s.stranded = l.Generation
	d.decide()
}

func (d *desk) finish(s *seat, l control.Finish) {
	s.finished = max(s.finished, l.Generation)
	if !d.training() {
		return
	}
	for _, m := range d.gen.Members {
		if d.seats[m.ID].finished != d.gen.ID {
			return
		}
	}
	d.commit(rendezvous.Generation{ID: d.gen.ID + 1, Members: d.gen.Members, Done: true})
	d.decide()
}

// exited is told when a seat's process has ended, which is known to the desk only later.
func (d *desk) exited(s *seat, err error) {
	lapse(s.within("exit", d.plan.letter), nil)
	d.mu.Lock()
	defer d.mu.Unlock()
	if why := s.unexpected(err); why != "" {
		d.broken("seat %s ended with %v, %s", s.id, err, why)
	}
	if !s.gone {
		s.gone, s.since = true, time.Now()
	}
	s.ended = true
	d.left--
	d.decide()
}

// meddle makes a disturbance happen.
func (d *desk) meddle(e disturbance) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var s *seat
	if n := len(d.slots); n > 0 {
		s = d.slots[slices.Sorted(maps.Keys(d.slots))[e.n%n]]
	}
	switch e.what {
	case "kill":
		if !s.dead && !s.gone && d.training() {
			d.seen.lost++
			s.kill()
		}
	case "break":
		s.unplug()
	case "cut":
		if !s.cut && !s.gone && d.training() {
			s.cutOff(e.length)
		}
	case "hang":
		s.hangs = e.length
	case "resize":
		d.np = e.n
		d.decide()
	case "stop":
		d.stop()
	}
}

// stop asks all to end, and has none started any more.
func (d *desk) stop() {
	if !d.training() {
		return
	}
	d.stopping = true
	for _, s := range d.seats { // who was taken for dead is told once it can be reached
		if !s.dead {
			s.order(control.Command{Stop: true})
		}
	}
	d.decide()
}

// expire ends what has not ended in time.
func (d *desk) expire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	var doing []string
	for _, id := range slices.Sorted(maps.Keys(d.seats)) {
		s := d.seats[id]
		if !s.ended {
			doing = append(doing, fmt.Sprintf("%s (registered %v, killed %v, cut %v, taken for dead %v, heard of %d)", id, s.registered, s.dead, s.cut, s.taken, s.heard.ID))
		}
	}
	d.broken("the job is not over: generation %d of %d ranks, done %v, stopping %v; seats %q", d.gen.ID, len(d.gen.Members), d.gen.Done, d.stopping, doing)
	d.stopping = true
	for _, s := range d.seats {
		s.kill()
	}
	d.decide()
}
