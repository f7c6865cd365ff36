package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/collective/transport/faulty"
	"github.com/gorun-ml/gorun/collective/transport/inproc"
	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/internal/rendezvous"
)

// seat is one incarnation of a rank in a simulated job: a process, its line to the desk and
// what is known of it. Its fields below p are guarded by the desk's lock.
type seat struct {
	desk   *desk
	id     string
	slot   int
	number uint64 // of incarnations
	ctx    context.Context
	cancel context.CancelCauseFunc
	fabric *inproc.Fabric
	orders chan control.Command
	model  *tally
	notes  *chronicle
	p      *process

	// As the desk sees it.
	registered, gone, released bool
	since                      time.Time
	stranded, finished         uint64

	// As it is.
	dead, cut, taken bool // taken: for dead, wrongly
	ended            bool // its process has
	healed           chan struct{}
	mesh             transport.Mesh // newest
	hangs            time.Duration
	heard            rendezvous.Generation
	heardAt, toldAt  time.Time // of heard, and of a stop
	applied          int       // steps in its state
	drawn            map[string]uint64
}

var errKilledSeat = errors.New("killed")

func (d *desk) start(slot int) {
	d.started++
	d.left++
	s := &seat{
		desk: d, id: fmt.Sprintf("%d.%d", slot, d.started), slot: slot, number: uint64(d.started),
		orders: make(chan control.Command, 1), notes: &chronicle{}, drawn: map[string]uint64{},
	}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.model = newTally(d.started, s.compute)
	s.fabric = d.network.Fabric(s.id)
	delayed := faulty.Wrap(s.fabric, faulty.Plan{Seed: d.plan.seed<<8 + s.number, Delay: d.plan.frame, Window: d.plan.window})
	s.p = (&process{
		name: "simulated", job: line{s}, fabric: &noted{delayed, s}, elastic: true,
		self: rendezvous.Member{ID: s.id, Host: fmt.Sprintf("h%d", slot%d.plan.hosts), Addr: s.id, Slot: slot},
	}).start()
	d.slots[slot], d.seats[s.id] = s, s
	d.ranks.Go(func() {
		if s.number > uint64(d.plan.ranks) { // the first start is told apart by nothing
			lapse(s.within("start", d.plan.startup), s.ctx.Done())
		}
		err := s.live()
		if e := s.p.close(context.Background()); err == nil {
			err = e
		}
		d.exited(s, err)
	})
}

// live is a training program.
func (s *seat) live() error {
	st := &State{Model: s.model, Optimizer: s.notes, Rate: Constant(1), BucketBytes: 8, Network: Network{Algorithm: s.desk.plan.algorithm}}
	return s.p.run(s.ctx, st, func(_ context.Context, session *Session) error {
		s.desk.enters(s, session)
		for step := range session.Steps(s.desk.plan.sampler) {
			if session.ctx.Err() == nil { // else Train refuses
				s.desk.begins(s, session, step)
			}
			_, err := session.Train(step, func(sample int, x ...[]float32) error {
				x[0][0] = float32(sample)
				return nil
			})
			if session.StepsDone() > step.Number {
				s.desk.applies(s, session, step)
			}
			if err != nil {
				return err
			}
		}
		return session.Err()
	})
}

// unexpected says why a seat must not end with err, "" where it may. The desk is locked.
func (s *seat) unexpected(err error) string {
	d := s.desk
	switch {
	case s.dead:
		return ""
	case errors.Is(err, ErrFenced) && (s.taken || s.released): // released, and has heard of a later generation first
		d.seen.fenced++
		return ""
	case errors.Is(err, ErrStopped) && d.stopping:
		d.seen.stopped++
		return ""
	case s.cut && err != nil && !errors.Is(err, ErrReleased):
		return ""
	case errors.Is(err, ErrReleased):
		if s.taken && !s.heard.Planned && s.p.rank.Load() >= 0 { // else it had no rank to lose
			return "which was replaced: it must be told so"
		}
		d.seen.released++
		return map[bool]string{false: "though it was needed"}[s.released || d.gen.Done || s.taken]
	case err == nil:
		d.finishes(s)
		return map[bool]string{false: "before all had"}[d.gen.Done]
	}
	return "for no reason"
}

// within is a random part of most, the same in each replay.
func (s *seat) within(what string, most time.Duration) time.Duration {
	s.desk.mu.Lock()
	n := s.drawn[what]
	s.drawn[what]++
	s.desk.mu.Unlock()
	return s.desk.plan.draw(most, what, s.number, n)
}

// compute is the time that a part of the backward pass takes.
func (s *seat) compute() {
	d := s.within("compute", s.desk.plan.compute)
	s.desk.mu.Lock()
	d, s.hangs = d+s.hangs, 0
	s.desk.mu.Unlock()
	lapse(d, s.ctx.Done())
}

// kill ends the seat as kill -9 would. The desk is locked, here and below.
func (s *seat) kill() {
	if s.dead || s.gone && !s.taken {
		return
	}
	s.dead = true
	s.fabric.Kill()
	s.cancel(errKilledSeat)
}

// unplug breaks the connections of a seat that lives.
func (s *seat) unplug() {
	if m := s.mesh; m != nil && !s.dead && !s.gone {
		m.Close(fmt.Errorf("%w: a cable was pulled", transport.ErrLost))
	}
}

// cutOff has no letters come or go for a while. The desk takes the seat for dead where that
// lasts.
func (s *seat) cutOff(length time.Duration) {
	s.cut, s.healed = true, make(chan struct{})
	d := s.desk
	d.ranks.Go(func() {
		patience := d.plan.patience
		lapse(min(length, patience), nil)
		d.mu.Lock()
		if length > patience && !s.gone && d.training() {
			s.gone, s.taken, s.since = true, true, time.Now()
			d.seen.lost++
			d.decide()
		}
		d.mu.Unlock()
		lapse(length-patience, nil)
		close(s.healed)
	})
}

// order sends a command on its way.
func (s *seat) order(c control.Command) {
	s.desk.ranks.Go(func() {
		lapse(s.within("order", s.desk.plan.letter), nil)
		s.passes(context.Background())
		s.desk.mu.Lock()
		s.toldAt = time.Now()
		s.desk.mu.Unlock()
		select {
		case s.orders <- c:
		default:
		}
	})
}

// passes returns when letters come and go, or with ctx. The desk is not locked.
func (s *seat) passes(ctx context.Context) {
	s.desk.mu.Lock()
	healed := s.healed
	s.desk.mu.Unlock()
	if healed != nil {
		select {
		case <-healed:
		case <-ctx.Done():
		}
	}
}

// noted is a fabric that remembers its newest mesh.
type noted struct {
	transport.Fabric
	seat *seat
}

func (f *noted) Mesh(ctx context.Context, gen uint64, self int, peers []transport.Peer) (transport.Mesh, error) {
	m, err := f.Fabric.Mesh(ctx, gen, self, peers)
	if err != nil {
		return nil, err
	}
	f.seat.desk.mu.Lock()
	defer f.seat.desk.mu.Unlock()
	f.seat.mesh = m
	if w, ok := m.(transport.Window); ok {
		return calmWindow{w, calm{m}}, nil
	}
	return calm{m}, nil
}

// calm is a mesh whose quiet lane is left alone. It belongs to the watch over disagreements,
// which sends with a lock held: in a bubble time stands still while another waits for that
// lock, so no frame of it may wait for the time.
type calm struct{ transport.Mesh }

func (m calm) Conn(peer, lane int) (transport.Conn, error) {
	c, err := m.Mesh.Conn(peer, lane)
	if held, ok := c.(interface{ Unwrap() transport.Conn }); ok && lane == transport.QuietLane {
		c = held.Unwrap()
	}
	return c, err
}

func (m calm) Done() <-chan struct{} { return m.Mesh.(interface{ Done() <-chan struct{} }).Done() }
func (m calm) Err() error            { return m.Mesh.(interface{ Err() error }).Err() }

// calmWindow is one whose ranks reach each other's memory.
type calmWindow struct {
	transport.Window
	calm calm
}

func (m calmWindow) Conn(peer, lane int) (transport.Conn, error) { return m.calm.Conn(peer, lane) }
func (m calmWindow) Done() <-chan struct{}                       { return m.calm.Done() }
func (m calmWindow) Err() error                                  { return m.calm.Err() }

// line is a seat's way to the desk: letters take their time, may arrive twice, and arrive
// although their sender has stopped waiting for the answer.
type line struct{ *seat }

func (l line) tell(ctx context.Context, handle func()) error {
	s, d := l.seat, l.desk
	answered := make(chan struct{})
	arrive := sync.OnceFunc(func() { close(answered) })
	d.mu.Lock()
	sent := !s.dead
	d.mu.Unlock()
	if !sent {
		return errKilledSeat
	}
	copies := 1
	if s.within("copies", 10) == 0 {
		copies = 2
	}
	for range copies {
		d.ranks.Go(func() {
			lapse(s.within("letter", d.plan.letter), nil)
			s.passes(context.Background())
			d.mu.Lock()
			handle()
			d.mu.Unlock()
			lapse(s.within("answer", d.plan.letter), nil)
			arrive()
		})
	}
	select {
	case <-answered:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l line) Register(ctx context.Context, _ rendezvous.Member) error {
	return l.tell(ctx, func() { l.desk.register(l.seat) })
}

func (l line) Stranded(ctx context.Context, m control.Stranded) error {
	return l.tell(ctx, func() { l.desk.strand(l.seat, m) })
}

func (l line) Finish(ctx context.Context, f control.Finish) error {
	return l.tell(ctx, func() { l.desk.finish(l.seat, f) })
}

func (l line) Watch(ctx context.Context, after uint64) (rendezvous.Generation, error) {
	gen, err := l.desk.store.Watch(ctx, after)
	if err != nil {
		return gen, err
	}
	lapse(l.within("watch", l.desk.plan.letter), ctx.Done())
	l.passes(ctx)
	l.desk.mu.Lock()
	defer l.desk.mu.Unlock()
	if ctx.Err() != nil {
		return rendezvous.Generation{}, context.Cause(ctx)
	}
	if l.cut { // what is read after a silence is the newest
		gen = l.desk.store.Current()
	}
	l.heard, l.heardAt = gen, time.Now()
	return gen, nil
}

func (l line) Commands() <-chan control.Command            { return l.orders }
func (l line) Report(control.Report) error                 { return nil }
func (l line) Fail(context.Context, control.Failure) error { return nil }
func (l line) Saved(context.Context, control.Saved) error  { return nil }
func (l line) Say(context.Context, string) error           { return nil }
func (l line) Close() error                                { return nil }
