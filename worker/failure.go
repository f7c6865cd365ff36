package worker

import (
	"errors"
	"fmt"

	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/internal/rendezvous"
	"github.com/gorun-ml/gorun/worker/checkpoint"
)

// ErrStopped is what a session's calls return once the job was asked to stop: the training
// function should return it.
var ErrStopped = errors.New("was asked to stop")

// NonFiniteError is a NaN or an infinity in a loss or a gradient, found before it was
// applied: every rank still holds the state of the step before.
type NonFiniteError struct {
	Step int
	Rank int    // whose it is
	What string // the loss, or the gradient's name
	// Tried is what was done about the like before, and no help; "" for nothing.
	Tried string
}

func (e *NonFiniteError) Error() string {
	return fmt.Sprintf("step %d: %s on rank %d is not finite; %s", e.Step, e.What, e.Rank, e.rest())
}

// clause is the error for who knows the rank, and that it met a value that is not finite.
func (e *NonFiniteError) clause() string {
	return fmt.Sprintf("%s at step %d; %s", e.What, e.Step, e.rest())
}

func (e *NonFiniteError) rest() string {
	const rest = "nothing of it was applied: lower the rate, or look at the data of this step"
	if e.Tried != "" {
		return e.Tried + "; " + rest
	}
	return rest
}

// inputError marks what the user can mend.
type inputError struct{ error }

func (e inputError) Unwrap() error { return e.error }

// BadInput marks err as a fault of the input (a flag, a file): the job ends with status 64
// and err as its one line.
func BadInput(err error) error {
	if err == nil {
		return nil
	}
	return inputError{err}
}

// disagreement is a difference between ranks that can't be mended.
type disagreement struct {
	rank int // the odd one
	error
}

func (e disagreement) Unwrap() error { return e.error }

// lost reports whether err ends a generation rather than the job.
func lost(err error) bool {
	for _, e := range []error{transport.ErrLost, transport.ErrAborted, transport.ErrStale, transport.ErrCorrupt, errSuperseded} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// broken is the member to whom this rank has lost its connection, or could make none; "" where
// others have told of it, or it is only late.
func broken(err error, members []rendezvous.Member) string {
	peer, ok := errors.AsType[*transport.PeerError](err)
	if !ok || !errors.Is(err, transport.ErrLost) || errors.Is(err, transport.ErrAborted) || peer.Rank < 0 || peer.Rank >= len(members) {
		return ""
	}
	return members[peer.Rank].ID
}

// culprit is the rank at fault, where err is one that all ranks end with.
func culprit(err error) *int {
	var nonFinite *NonFiniteError
	var odd disagreement
	switch {
	case errors.As(err, &nonFinite):
		return &nonFinite.Rank
	case errors.As(err, &odd):
		return &odd.rank
	}
	return nil
}

// agreed reports whether every rank ends with err after the same operation. Then a rank
// that is done leaves quietly: word that it gave up would overtake what slower ranks have
// yet to read.
func agreed(err error) bool {
	return errors.Is(err, ErrStopped) || errors.Is(err, errPlanned) || errors.As(err, new(anew)) || errors.As(err, new(*NonFiniteError)) || errors.As(err, new(disagreement))
}

// classify gives an error its kind and the exit status that goes with it.
func classify(err error) (control.Kind, int) {
	var nonFinite *NonFiniteError
	switch {
	case errors.Is(err, ErrStopped):
		return control.KindStopped, control.StatusTemporary
	case errors.As(err, new(inputError)):
		return control.KindData, control.StatusUsage
	case errors.As(err, new(disagreement)), errors.Is(err, transport.ErrMismatch), errors.Is(err, transport.ErrVersion), errors.Is(err, control.ErrDisagree):
		return control.KindMismatch, control.StatusDisagree
	case errors.As(err, &nonFinite):
		return control.KindNonFinite, 1
	case errors.Is(err, checkpoint.ErrMismatch):
		return control.KindCheckpoint, control.StatusDisagree
	case errors.As(err, new(*checkpoint.IOError)), errors.Is(err, checkpoint.ErrDamaged), errors.Is(err, checkpoint.ErrNewer), errors.Is(err, checkpoint.ErrNone):
		return control.KindCheckpoint, control.StatusCheckpoint
	case errors.Is(err, transport.ErrAuth), errors.Is(err, control.ErrAuth):
		return control.KindError, control.StatusAuth
	case lost(err), errors.Is(err, control.ErrLost):
		return control.KindLost, control.StatusTemporary
	}
	return control.KindError, 1
}
