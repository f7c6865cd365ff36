package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/internal/rendezvous"
	"github.com/gorun-ml/gorun/topology"
	"github.com/gorun-ml/gorun/worker/checkpoint"
)

// job is a rank's line to the rest of its job: the launcher's control plane, the bare
// rendezvous of rank 0, or nobody.
type job interface {
	Register(ctx context.Context, m rendezvous.Member) error
	Watch(ctx context.Context, after uint64) (rendezvous.Generation, error)
	Report(r control.Report) error
	Fail(ctx context.Context, f control.Failure) error
	Finish(ctx context.Context, f control.Finish) error
	Saved(ctx context.Context, s control.Saved) error
	Stranded(ctx context.Context, s control.Stranded) error
	Say(ctx context.Context, line string) error
	Commands() <-chan control.Command
	Close() error
}

// process is what outlives generations in one rank's process.
type process struct {
	name     string // the job's
	job      job
	fabric   transport.Fabric
	self     rendezvous.Member
	saves    control.Checkpointing
	guards   control.Guards
	network  Network       // from the environment, then with what the program says
	elastic  bool          // a lost rank may be replaced
	stall    time.Duration // without a sign of life, until this rank is taken for hung; 0: never
	patience time.Duration // for which the job may wait for hosts
	quiet    bool          // the launcher speaks for this process
	flight   string        // folder for the last operations, "" for none
	shelf    *shelf        // where buckets come from
	cache    string        // folder for what is worth to be kept for other jobs, "" for none
	share    bool          // GOMAXPROCS is to follow from the number of ranks on this host

	fits map[string]topology.Links // what communication costs, by hosts and transport

	stopOnce sync.Once
	stopped  chan struct{} // closed once the job was asked to stop
	save     atomic.Bool   // asked for, not yet done
	at       atomic.Int64
	doing    activity
	rank     atomic.Int64
	gen      atomic.Uint64
	saved    atomic.Pointer[control.Saved]

	flying  atomic.Bool // a flight record is being written
	once    sync.Once
	written *checkpoint.Saver
	ended   chan struct{} // closed by close
	joined  sync.WaitGroup
}

// start begins to listen to commands.
func (p *process) start() *process {
	p.rank.Store(-1)
	p.doing.began = time.Now()
	p.stopped, p.ended = make(chan struct{}), make(chan struct{})
	p.joined.Go(func() {
		for {
			select {
			case c, ok := <-p.job.Commands():
				if !ok {
					return
				}
				if c.Stop {
					p.stop()
				}
				if c.Checkpoint {
					p.save.Store(true)
				}
			case <-p.ended:
				return
			}
		}
	})
	if j, ok := p.job.(interface{ Pulse(control.Pulse) error }); ok && p.stall > 0 {
		p.joined.Go(func() { p.pulse(control.PulseEvery(p.stall), j.Pulse) })
	}
	return p
}

// stop has training end after the step under way, and ends what only waits.
func (p *process) stop() { p.stopOnce.Do(func() { close(p.stopped) }) }

func (p *process) stopping() bool {
	select {
	case <-p.stopped:
		return true
	default:
		return false
	}
}

// saver writes this process's checkpoints; only rank 0's is ever used.
func (p *process) saver() *checkpoint.Saver {
	p.once.Do(func() {
		p.written = checkpoint.NewSaver(p.saves.Dir, p.saves.Keep, func(path string, step int, err error) {
			if err != nil {
				p.job.Say(context.Background(), fmt.Sprintf("warning: step %d was not saved: %v; training goes on, older checkpoints are intact", step, err))
				return
			}
			p.durable(path, step)
		})
	})
	return p.written
}

// saveNow writes a checkpoint that must not be missed: training ends with it.
func (p *process) saveNow(ctx context.Context, m checkpoint.Meta, tensors []checkpoint.Tensor) error {
	if p.written != nil {
		if err := p.written.Wait(ctx); err != nil {
			return err
		}
	}
	if s := p.saved.Load(); s != nil && s.Step == m.Step && s.Generation == m.Generation {
		return nil
	}
	path, err := checkpoint.Write(ctx, p.saves.Dir, m, tensors)
	if err != nil {
		return err
	}
	p.durable(path, m.Step)
	if p.saves.Keep > 0 {
		return checkpoint.Retain(p.saves.Dir, p.saves.Keep)
	}
	return nil
}

// durable tells the job what it can be resumed from.
func (p *process) durable(path string, step int) {
	s := control.Saved{Generation: p.gen.Load(), Step: step, Path: path}
	p.saved.Store(&s)
	p.job.Saved(context.Background(), s) // a lost word costs a hint in the verdict
}

// fail tells the job why this rank gives up.
func (p *process) fail(ctx context.Context, err error) (status int) {
	kind, status := classify(err)
	detail := err.Error()
	if e := (*NonFiniteError)(nil); errors.As(err, &e) {
		detail = e.clause()
	}
	f := control.Failure{
		Member: p.self.ID, Rank: int(p.rank.Load()), Generation: p.gen.Load(),
		Kind: kind, Detail: detail, Step: int(p.at.Load()), Status: status, Blame: culprit(err),
	}
	if s := p.saved.Load(); s != nil {
		f.Saved = s.Path
	}
	p.job.Fail(ctx, f) // the exit status says it too
	return status
}

func (p *process) close(ctx context.Context) error {
	close(p.ended)
	var err error
	if p.written != nil {
		err = p.written.Close(ctx)
	}
	p.joined.Wait()
	return errors.Join(err, p.fabric.Close(), p.job.Close())
}
