package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/gorun-ml/gorun/collective"
	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/internal/rendezvous"
	"github.com/gorun-ml/gorun/topology"
	"github.com/gorun-ml/gorun/worker/checkpoint"
)

// Bounds on waiting for others.
const (
	meshTimeout   = 30 * time.Second // for the ranks of a committed generation to connect
	rejoinTimeout = 2 * time.Minute  // for the next generation, after a loss
	plannedWithin = 10 * time.Second // for the step after which a planned generation begins
	deathNews     = time.Second      // for a death to be known that explains a loss
	hearsayNews   = deathNews / 2    // for who has seen the loss to speak first
)

// errSuperseded ends a session whose generation is no longer the current one.
var errSuperseded = errors.New("the next generation has begun")

// errPlanned ends a session after a step that all of its ranks have completed.
var errPlanned = fmt.Errorf("the job changes its size: %w", errSuperseded)

// ErrReleased means that the job has become smaller and goes on without this process: the
// training function should return it, and the process ends well.
var ErrReleased = errors.New("this rank is needed no more")

// ErrFenced means that the job went on without this process, which must not go on either.
var ErrFenced = errors.New("this rank was replaced while it did not answer")

// Run joins the job and calls train once a generation until it returns without error on
// every rank:
//
//	register → generation → mesh → newest state to all → train → finish
//	              ↑______________ a rank was lost ________|
//
// Where no launcher started this process, it is a job of one rank. A nil st is an empty
// State.
func Run(ctx context.Context, st *State, train func(ctx context.Context, s *Session) error) error {
	p, ok := ctx.Value(processKey{}).(*process)
	if ok {
		return p.run(ctx, st, train)
	}
	p, err := fromEnvironment(ctx)
	if err != nil {
		return err
	}
	err = p.run(ctx, st, train)
	return errors.Join(err, p.close(ctx))
}

// watched is what a watch for the next generation came back with.
type watched struct {
	gen rendezvous.Generation
	err error
}

func (p *process) run(ctx context.Context, st *State, train func(context.Context, *Session) error) (err error) {
	if st == nil {
		st = &State{}
	}
	if err := st.prepare(); err != nil {
		return err
	}
	if err := p.connect(st.Network); err != nil {
		return err
	}
	p.shelf = &shelf{memory: p.fabric}
	defer func() {
		if e := p.shelf.clear(); err == nil {
			err = e
		}
	}()
	if err := p.job.Register(ctx, p.self); err != nil {
		return fmt.Errorf("joining the job: %w", err)
	}
	gen, err := p.await(ctx, 0)
	member := false
	for {
		if err != nil {
			return fmt.Errorf("waiting for generation %d: %w", gen.ID+1, err)
		}
		rank := slices.IndexFunc(gen.Members, func(m rendezvous.Member) bool { return m.ID == p.self.ID })
		switch {
		case rank < 0 && member && gen.Planned:
			return ErrReleased
		case rank < 0 && member:
			return ErrFenced
		case gen.Done && rank < 0:
			return ErrReleased // a spare: what follows Run is not for it
		case gen.Done:
			return nil
		case rank < 0:
			gen, err = p.await(ctx, gen.ID)
			continue
		}
		if !member && p.share {
			runtime.GOMAXPROCS(processors(onHost(gen.Members, p.self.Host)))
		}
		member = true
		if gen, err = p.generation(ctx, gen, rank, st, train); err != nil {
			return err
		}
	}
}

// await is Watch for a process that is in no generation: a stop ends it at once.
func (p *process) await(ctx context.Context, after uint64) (rendezvous.Generation, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-p.stopped:
			cancel(ErrStopped)
		case <-ctx.Done():
		}
	}()
	return p.job.Watch(ctx, after)
}

// generation lives through one generation and returns the one that follows it. An error
// ends this rank.
func (p *process) generation(ctx context.Context, gen rendezvous.Generation, rank int, st *State, train func(context.Context, *Session) error) (rendezvous.Generation, error) {
	p.rank.Store(int64(rank))
	p.gen.Store(gen.ID)
	session, end := context.WithCancelCause(ctx)
	next := make(chan watched, 1)
	planned, over := make(chan struct{}), make(chan struct{})
	go func() {
		g, err := p.job.Watch(session, gen.ID)
		if err == nil && g.Planned && g.ID == gen.ID+1 {
			close(planned)
			late := time.NewTimer(plannedWithin)
			select {
			case <-over:
			case <-late.C:
			case <-session.Done():
			}
			late.Stop()
		}
		next <- watched{g, err}
		if err == nil {
			err = errSuperseded
		}
		end(err)
	}()
	err := p.session(session, gen, rank, st, train, planned)
	close(over)
	if err != nil && !(p.elastic && lost(err)) {
		end(err)
		<-next
		return gen, err
	}
	// Finished or lost: what comes next is not this rank's to decide.
	if err == nil {
		w := <-next
		return w.gen, w.err
	}
	// Who has seen it speaks before who was told, and says more.
	peer, explained := broken(err, gen.Members), deathNews
	if peer == "" {
		explained += hearsayNews
	}
	var again anew
	if errors.As(err, &again) {
		explained = 0 // it takes no death to explain this
	}
	unexplained := time.NewTimer(explained)
	defer unexplained.Stop()
	within := rejoinTimeout + p.patience
	late := time.NewTimer(within)
	defer late.Stop()
	for {
		select {
		case w := <-next:
			if w.err != nil {
				w.err = fmt.Errorf("%w, after: %w", w.err, err)
			}
			return w.gen, w.err
		case <-p.stopped:
			end(ErrStopped)
			<-next
			return gen, fmt.Errorf("%w, after: %w", ErrStopped, err)
		case <-unexplained.C:
			// Nobody has died: it takes this rank's word to connect anew.
			p.job.Stranded(session, control.Stranded{Member: p.self.ID, Generation: gen.ID, Detail: err.Error(), Why: again.why, Peer: peer})
		case <-late.C:
			end(err)
			<-next
			return gen, fmt.Errorf("no new generation within %v after: %w", within, err)
		}
	}
}

// session is the straight walk through one generation. Its mesh stays up, serving peers
// that are behind, until the generation ends.
func (p *process) session(ctx context.Context, gen rendezvous.Generation, rank int, st *State, train func(context.Context, *Session) error, planned <-chan struct{}) error {
	peers := make([]transport.Peer, len(gen.Members))
	for r, m := range gen.Members {
		peers[r] = transport.Peer{Rank: r, ID: m.ID, Host: m.Host, Addr: m.Addr}
	}
	// The mesh lives under its context; the bound is for connecting only.
	connected, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	bound := time.AfterFunc(meshTimeout, func() {
		giveUp(fmt.Errorf("not all ranks connected within %v: %w", meshTimeout, transport.ErrLost))
	})
	p.doing.set(waits)
	mesh, err := p.fabric.Mesh(connected, gen.ID, rank, peers)
	bound.Stop()
	if err != nil {
		return fmt.Errorf("connecting to the ranks of generation %d: %w", gen.ID, err)
	}
	if err := p.network.satisfied(mesh, gen.Members, rank); err != nil {
		mesh.Close(err)
		return err
	}
	w := world(gen)
	links, err := p.costs(mesh, w, gen, rank)
	if err != nil {
		mesh.Close(err)
		return err
	}
	comm := collective.New(mesh, w, rank, collective.Options{Lanes: lanes, Algorithm: p.network.Algorithm, Links: &links})
	s := &Session{p: p, ctx: ctx, planned: planned, gen: gen, rank: rank, size: len(peers), mesh: mesh, comm: comm, links: links, st: st}
	if r := apart(mesh, gen.Members, rank); r >= 0 && p.network.Transport == TransportAuto {
		s.Log("warning: ranks %d and %d can't share memory: they use tcp", rank, r)
	}
	err = s.fly(train)
	cause := err
	if agreed(err) {
		cause = nil
	}
	mesh.Close(cause) // a peer that waits for this rank learns why it gave up
	return errors.Join(err, comm.Close(), s.stepper.free())
}

// live synchronises, trains and finishes.
func (s *Session) live(train func(context.Context, *Session) error) error {
	if err := synchronise(s.comm, s.st, s.st.layout()+s.p.common(), s.first); err != nil {
		return s.fail(err)
	}
	s.p.at.Store(int64(s.st.step))
	s.p.doing.set(works)
	err := train(s.ctx, s)
	if s.err != nil {
		err = s.err // what train made of it may hide the cause
	}
	if err != nil {
		return s.fail(err)
	}
	return s.finish()
}

// first begins the trajectory: from the newest good checkpoint where the job resumes or all
// ranks were lost, else from the values that the model was built with.
func (s *Session) first() error {
	c := s.p.saves
	if c.Dir == "" || !c.Resume && s.gen.ID == 1 {
		return nil
	}
	meta, tensors, path, skipped, err := checkpoint.Latest(c.Dir)
	for _, why := range skipped {
		s.Log("warning: skipped a checkpoint: %v", why)
	}
	if errors.Is(err, checkpoint.ErrNone) && len(skipped) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	if err := checkpoint.Restore(s.st.tensors(), tensors); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	s.st.step = meta.Step
	if meta.Step > 0 {
		b := Sampler{Seed: meta.Seed}
		b.Samples, _ = strconv.Atoi(meta.Extra["samples"])
		b.Batch, _ = strconv.Atoi(meta.Extra["batch"])
		b.ScaleBatch = meta.Extra["scale_batch"] == "true"
		s.st.batches = &b
		s.st.world, _ = strconv.Atoi(meta.Extra["world"])
	}
	s.Log("resumed from %s: %d steps done", path, meta.Step)
	return nil
}

// finish makes the end durable, tells the job, and keeps serving until every rank's finish
// is committed or a new generation needs this rank's state.
func (s *Session) finish() error {
	s.p.doing.set(saves)
	if s.rank == 0 && s.p.saves.Dir != "" && s.shares != nil {
		if err := s.p.saveNow(s.ctx, s.meta(s.shares.Epochs-1), s.st.tensors()); err != nil {
			return s.fail(err)
		}
	}
	s.p.doing.set(waits)
	f := control.Finish{Member: s.p.self.ID, Rank: s.rank, Generation: s.gen.ID, Step: s.st.step}
	if s.rank == 0 {
		f.Summary = s.summary
	}
	// The end of the job may overtake the answer.
	if err := s.p.job.Finish(s.ctx, f); err != nil && !errors.Is(context.Cause(s.ctx), errSuperseded) {
		return s.fail(fmt.Errorf("saying that this rank has finished: %w", err))
	}
	select {
	case <-s.ctx.Done(): // the watch of generation ends it; its own wait is bounded by the launcher's life
	case <-s.planned:
		return s.fail(errPlanned)
	case <-s.p.stopped:
		return s.fail(ErrStopped)
	}
	if cause := context.Cause(s.ctx); !errors.Is(cause, errSuperseded) {
		return cause
	}
	return nil
}

// world numbers the hosts of a generation in order of their first rank.
func world(gen rendezvous.Generation) topology.World {
	var w topology.World
	var hosts []string
	for _, m := range gen.Members {
		h := slices.Index(hosts, m.Host)
		if h < 0 {
			h = len(hosts)
			hosts = append(hosts, m.Host)
		}
		w.Hosts = append(w.Hosts, h)
	}
	return w
}
