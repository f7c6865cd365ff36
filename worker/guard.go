package worker

import (
	"errors"
	"fmt"
	"math"

	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/kernels"
	"github.com/gorun-ml/gorun/worker/checkpoint"
)

// Bounds on what is tried about values that are not finite.
const (
	mostSkips   = 10 // steps in a row that are left out
	mostReturns = 3  // to a checkpoint
)

// strikes is what became of steps that were not finite. It travels with the state, so that
// ranks that have just begun count like the others.
type strikes struct {
	row     int // of steps left out, up to the last one
	skipped int // steps left out
	returns int // to a checkpoint
	bad     int // the step that the last return was for
}

// anew ends a session that all ranks leave after the same operation, for the generation in
// which they start over.
type anew struct{ why string }

func (e anew) Error() string { return e.why }
func (e anew) Unwrap() error { return errSuperseded }

// checkGuards refuses what this process can't do.
func (p *process) checkGuards() error {
	if p.guards.OnNaN == control.OnNaNRestore && p.saves.Dir == "" {
		return BadInput(errors.New("GORUN_ON_NAN=restore: there are no checkpoints to go back to: start the program with gorun --checkpoint DIR --on-nan restore"))
	}
	return nil
}

// common is what guards ranks must have in common, as a line of a layout.
func (p *process) common() string {
	return fmt.Sprintf("on NaN %s, state verified every %d steps\n", p.guards.OnNaN, p.guards.VerifyEvery)
}

// endure does about a step that is not finite what was asked for. Without an error, the step
// is to be left out. All ranks decide alike.
func (s *Session) endure(e *NonFiniteError) error {
	switch k := &s.st.strikes; s.p.guards.OnNaN {
	case control.OnNaNSkip:
		if k.row == mostSkips {
			e.Tried = fmt.Sprintf("the %d steps before it were skipped for the like", mostSkips)
			return e
		}
		k.row++
		k.skipped++
		if k.skipped <= mostSkips || k.skipped%100 == 0 { // a line each, but not for ever
			s.Log("step %d is skipped on all ranks: %s on rank %d is not finite (%d skipped so far)", e.Step, e.What, e.Rank, k.skipped)
		}
		return nil
	case control.OnNaNRestore:
		return s.goBack(e)
	}
	return e
}

// goBack has all ranks leave the session, to begin the next one from the newest checkpoint.
func (s *Session) goBack(e *NonFiniteError) error {
	k := &s.st.strikes
	switch {
	case k.bad == e.Step:
		e.Tried = "it is so again after going back to a checkpoint"
		return e
	case k.returns == mostReturns:
		e.Tried = fmt.Sprintf("it is the first since going back to a checkpoint for the %d. time, which is the last", mostReturns)
		return e
	}
	k.returns++
	k.bad = e.Step
	const none, unusable = -1, -2
	to := []int64{math.MinInt64}
	if s.rank == 0 {
		s.p.doing.set(saves)
		step, err := s.newestSaved()
		to[0] = int64(step)
		switch {
		case errors.Is(err, checkpoint.ErrNone):
			to[0] = none
		case err != nil:
			to[0] = unusable
			s.Log("warning: %v", err)
		}
	}
	// Whatever becomes of the others: this rank's state is not to be gone on from. None of
	// them leaves before all have come as far.
	s.st.ready = false
	s.p.doing.set(waits)
	err := s.comm.AllReduce(kernels.Of(to), kernels.Max)
	s.p.doing.set(works)
	switch {
	case err != nil:
		return err
	case to[0] == none:
		e.Tried = "there is no checkpoint to go back to (--checkpoint-every makes them)"
		return e
	case to[0] < none:
		e.Tried = "no checkpoint can be gone back to (a warning says why)"
		return e
	}
	return anew{fmt.Sprintf("%s on rank %d is not finite at step %d: all ranks go back to the checkpoint of step %d (%d of %d times)", e.What, e.Rank, e.Step, to[0], k.returns, mostReturns)}
}

// newestSaved is the step of the newest checkpoint that verifies, among them what is still
// being written.
func (s *Session) newestSaved() (step int, err error) {
	if s.p.written != nil {
		if err := s.p.written.Wait(s.ctx); err != nil {
			return 0, err
		}
	}
	meta, _, path, _, err := checkpoint.Latest(s.p.saves.Dir)
	if err == nil && meta.Step > s.st.step {
		err = fmt.Errorf("%s was there before this run, which has done %d steps: give each run a folder of its own", path, s.st.step)
	}
	return meta.Step, err
}
