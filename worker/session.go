package worker

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"

	"github.com/gorun-ml/gorun/collective"
	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/internal/rendezvous"
	"github.com/gorun-ml/gorun/kernels"
	"github.com/gorun-ml/gorun/topology"
	"github.com/gorun-ml/gorun/worker/checkpoint"
	"github.com/gorun-ml/gorun/worker/probe"
)

// lanes is how many operations a session has under way: lane 0 for the control word and
// what the program calls, the others for buckets.
const lanes = 4

// Session is one rank in one generation. Its methods are collective where they say so:
// every rank calls them in the same order.
//
// The first error ends the session: every later call returns it. The training function
// should pass it on; Run knows whether it means a new generation or the end.
type Session struct {
	p          *process
	ctx        context.Context
	planned    <-chan struct{} // closed when the next generation is known, and planned
	gen        rendezvous.Generation
	rank, size int
	mesh       transport.Mesh
	comm       *collective.Comm
	links      topology.Links
	st         *State
	shares     *shares
	stepper    *stepper
	sentry     *sentry // nil where the state is not verified
	summary    []string
	err        error
}

// Rank is this rank, from 0.
func (s *Session) Rank() int { return s.rank }

// Size is the number of ranks.
func (s *Session) Size() int { return s.size }

// Generation numbers the session's membership, from 1.
func (s *Session) Generation() uint64 { return s.gen.ID }

// StepsDone is how many steps have been applied to the state.
func (s *Session) StepsDone() int { return s.st.step }

// Comm is for collectives of the program's own; lane 0 is free between calls of Train.
func (s *Session) Comm() *collective.Comm { return s.comm }

// Err is the error that ended the session, if any.
func (s *Session) Err() error { return s.err }

// fail ends the session with its first error. Where the generation has ended, that is the
// cause, whatever call noticed it.
func (s *Session) fail(err error) error {
	if s.err != nil {
		return s.err
	}
	if cause := context.Cause(s.ctx); cause != nil && !errors.Is(err, transport.ErrMismatch) && (lost(err) || errors.Is(err, context.Canceled) || errors.Is(err, transport.ErrClosed)) {
		err = cause
	}
	s.err = err
	return err
}

// Steps iterates over the steps that are left to do: all of them in a new job, those after
// the last one applied in a later generation or a resumed job. It ends early when the
// session does; the body must call Train once a step.
func (s *Session) Steps(p Sampler) iter.Seq[Step] {
	return func(yield func(Step) bool) {
		if s.err != nil {
			return
		}
		if err := s.begin(p); err != nil {
			s.fail(err)
			return
		}
		total := p.stepsPerEpoch(s.size) * p.Epochs
		for s.err == nil && s.st.step < total {
			before := s.st.step
			if !yield(s.shares.step(before, s.rank, s.size)) {
				return
			}
			if s.err == nil && s.st.step == before {
				s.fail(errors.New("the loop over Steps did not call Train"))
			}
		}
	}
}

// begin compiles the model for this rank's share and lays out the buckets.
func (s *Session) begin(p Sampler) error {
	if s.st.Model == nil {
		return errors.New("Steps needs a State with a Model")
	}
	if err := p.check(); err != nil {
		return err
	}
	if was := s.st.batches; was != nil && !sameTrajectory(*was, p) && s.st.step > 0 {
		return BadInput(fmt.Errorf("step %d was reached with %s, and this run has %s: resume with the same, or start without --resume", s.st.step, describe(*was), describe(p)))
	}
	if p.ScaleBatch && s.st.step > 0 && s.st.world != s.size {
		return BadInput(fmt.Errorf("step %d was reached on %d ranks, and ScaleBatch makes a step depend on their number, now %d: resume with as many", s.st.step, s.st.world, s.size))
	}
	s.st.batches, s.st.world = &p, s.size
	s.shares = newShares(p, s.st.shares)
	s.st.shares = s.shares
	rows := (p.rows(s.size) + s.st.Accumulate - 1) / s.st.Accumulate
	if s.st.Model.Rows() != rows {
		if err := s.st.Model.Compile(rows); err != nil {
			return fmt.Errorf("compiling the model for %d rows: %w", rows, err)
		}
	}
	if err := s.stepper.free(); err != nil { // of an earlier loop over Steps
		return err
	}
	s.sentry = newSentry(s.st, s.p.guards.VerifyEvery, s.size)
	var err error
	if s.stepper, err = newStepper(s.comm, s.st, s.limits(), s.p.shelf, &s.p.doing); err != nil {
		return err
	}
	return s.p.shelf.clear()
}

// sameTrajectory reports whether step numbers mean the same samples in both.
func sameTrajectory(a, b Sampler) bool {
	return a.Samples == b.Samples && a.Batch == b.Batch && a.Seed == b.Seed && a.ScaleBatch == b.ScaleBatch
}

func describe(p Sampler) string {
	return fmt.Sprintf("batch %d of %d samples, seed %d", p.Batch, p.Samples, p.Seed)
}

// Train does one step: it reads this rank's share, runs the model forward and backward,
// averages the gradients over all ranks while the backward pass is still running, and
// applies them. It returns the mean loss over the global batch. Train is collective: a step
// is applied on all ranks or, where a rank was lost, done again in the next generation. With
// gorun's --on-nan skip, a step that is not finite counts and changes nothing; then the loss
// may be NaN.
func (s *Session) Train(step Step, read Row) (loss float64, err error) {
	if s.err != nil {
		return 0, s.err
	}
	if s.stepper == nil {
		return 0, s.fail(errors.New("Train needs a step from Steps"))
	}
	if step.Number != s.st.step {
		return 0, s.fail(fmt.Errorf("step %d was passed to Train after %d were applied: pass the one that Steps gave", step.Number, s.st.step))
	}
	if s.ctx.Err() != nil { // a rank alone has no peers to hear it from
		return 0, s.fail(context.Cause(s.ctx))
	}
	all, err := s.step(step, read)
	if err != nil {
		return 0, s.fail(err)
	}
	skipped := all[wordNonFinite] != 0
	if skipped {
		if err := s.endure(s.stepper.nonFinite(all)); err != nil {
			return 0, s.fail(err)
		}
		loss = s.stepper.skip(step.Weight)
	} else {
		if loss, err = s.stepper.apply(step.Weight); err != nil {
			return 0, s.fail(err)
		}
		s.st.strikes.row = 0
	}
	s.p.at.Store(int64(s.st.step))
	s.report(step, loss, skipped)
	stop := all[wordStop] != 0
	if err := s.checkpoint(step, stop, all[wordCheckpoint] != 0); err != nil {
		return 0, s.fail(err)
	}
	switch {
	case stop:
		s.fail(ErrStopped)
	case all[wordGeneration] > int64(s.gen.ID):
		s.fail(errPlanned)
	}
	return loss, nil
}

// step computes a step without applying it, anew where it turns out that the ranks did not
// begin it with the same state. It returns the world's control word.
func (s *Session) step(step Step, read Row) (word, error) {
	for range mostMends {
		s.comm.At(step.Number + 1)
		all, err := s.stepper.reduce(step.Samples, read, s.word())
		if err != nil {
			return all, err
		}
		differ := s.sentry.differs(all)
		// A bit that has flipped can be why a value is not finite.
		if s.sentry == nil || !differ && all[wordNonFinite] == 0 {
			return all, nil
		}
		mended, err := s.mend()
		if err != nil || !mended && !differ {
			return all, err
		}
	}
	return word{}, disagreement{0, fmt.Errorf("step %d was begun with other bits on some rank %d times in a row: test the memory of the hosts, and resume from a checkpoint", s.st.step+1, mostMends)}
}

// word is this rank's control word for the step to come.
func (s *Session) word() word {
	s.p.doing.set(works)
	mine := word{wordGeneration: int64(s.gen.ID)}
	select {
	case <-s.planned:
		mine[wordGeneration]++
	default:
	}
	if s.p.stopping() {
		mine[wordStop] = 1
	}
	if s.p.save.Load() {
		mine[wordCheckpoint] = 1
	}
	s.sentry.mark(&mine, s.st.step)
	return mine
}

// checkpoint saves after a step if that is due. All ranks decide alike; rank 0 writes.
func (s *Session) checkpoint(step Step, stop, asked bool) error {
	if asked {
		s.p.save.Store(false)
	}
	c := s.p.saves
	due := c.Every > 0 && s.st.step%c.Every == 0
	if c.Dir == "" || s.rank != 0 || !due && !stop && !asked {
		return nil
	}
	if stop {
		s.p.doing.set(saves)
		return s.p.saveNow(s.ctx, s.meta(step.Epoch), s.st.tensors())
	}
	return s.p.saver().Save(s.meta(step.Epoch), s.st.tensors())
}

func (s *Session) meta(epoch int) checkpoint.Meta {
	m := checkpoint.Meta{Job: s.p.name, Generation: s.gen.ID, Step: s.st.step, Epoch: epoch, Extra: map[string]string{}}
	m.Model = strconv.FormatUint(digest(s.st.layout()), 16)
	m.Extra["links"] = string(probe.Encode(s.links)) // for who wants to know in which order was summed
	if b := s.st.batches; b != nil {
		m.Seed = b.Seed
		m.Extra["samples"], m.Extra["batch"] = strconv.Itoa(b.Samples), strconv.Itoa(b.Batch)
		m.Extra["world"] = strconv.Itoa(s.st.world)
		m.Extra["scale_batch"] = strconv.FormatBool(b.ScaleBatch)
	}
	return m
}

// Save writes the parameters as one safetensors file, on rank 0 only, by way of a temporary
// file, so that path never holds half a model. It adds the path to the job's last line.
func (s *Session) Save(path string) error {
	if s.err != nil {
		return s.err
	}
	if s.rank != 0 {
		return nil
	}
	s.p.doing.set(saves)
	defer s.p.doing.set(works)
	if err := checkpoint.WriteModel(path, stored(s.st.Model.Params()), map[string]string{"format": "pt", "job": s.p.name, "step": strconv.Itoa(s.st.step)}); err != nil {
		return s.fail(fmt.Errorf("saving the model: %w", err))
	}
	s.Summary("model saved to %s", path)
	return nil
}

// Summary adds a phrase to the job's last line. Only rank 0's count.
func (s *Session) Summary(format string, args ...any) {
	s.summary = append(s.summary, fmt.Sprintf(format, args...))
}

// Log says a line once for the whole job: rank 0's.
func (s *Session) Log(format string, args ...any) {
	if s.rank == 0 && s.err == nil {
		s.p.job.Say(s.ctx, fmt.Sprintf(format, args...)) // a line that is lost costs nothing
	}
}

// Mean averages a metric over all ranks, each with its weight. It is collective.
func (s *Session) Mean(value, weight float64) (float64, error) {
	if s.err != nil {
		return 0, s.err
	}
	s.p.doing.set(waits)
	defer s.p.doing.set(works)
	x := []float64{value * weight, weight}
	if err := s.comm.AllReduce(kernels.Of(x), kernels.Sum); err != nil {
		return 0, s.fail(err)
	}
	if x[1] == 0 {
		return 0, nil
	}
	return x[0] / x[1], nil
}

// Evaluate runs the model over samples 0 … samples-1, split over the ranks, and returns the
// mean of score over them. It is collective.
func (s *Session) Evaluate(samples int, read Row, score func(sample int, output []float32) float64) (float64, error) {
	if s.err != nil {
		return 0, s.err
	}
	m := s.st.Model
	if m.Rows() == 0 {
		const evaluationRows = 64
		if err := m.Compile(evaluationRows); err != nil {
			return 0, s.fail(fmt.Errorf("compiling the model for %d rows: %w", evaluationRows, err))
		}
	}
	f, err := newFeed(m)
	if err != nil {
		return 0, s.fail(err)
	}
	lo, hi := samples*s.rank/s.size, samples*(s.rank+1)/s.size
	sum, part := 0.0, make([]int, 0, m.Rows())
	for at := lo; at < hi; at += len(part) {
		s.p.doing.set(works)
		part = part[:0]
		for i := at; i < min(at+m.Rows(), hi); i++ {
			part = append(part, i)
		}
		if err := f.fill(part, read); err != nil {
			return 0, s.fail(err)
		}
		out, err := m.Forward()
		if err != nil {
			return 0, s.fail(err)
		}
		values, width := kernels.As[float32](out.Data), out.Data.Len()/m.Rows()
		for i, sample := range part {
			sum += score(sample, values[i*width:(i+1)*width])
		}
	}
	if hi == lo {
		return s.Mean(0, 0)
	}
	return s.Mean(sum/float64(hi-lo), float64(hi-lo))
}
