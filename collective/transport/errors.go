package transport

import (
	"errors"
	"fmt"
	"strings"
)

// Errors that callers branch on. They come wrapped in a PeerError where a peer is known.
var (
	ErrMismatch = errors.New("ranks disagree")           // order, shape, type or operation differ
	ErrLost     = errors.New("connection lost")          // makes a suspect, does not convict
	ErrAborted  = errors.New("peer gave up")             // the peer saw a failure first and said so
	ErrCorrupt  = errors.New("corrupt frame")            // checksum or framing
	ErrStale    = errors.New("stale generation")         // the peer is of another generation
	ErrAuth     = errors.New("authentication failed")    // the peer doesn't know the job's secret
	ErrVersion  = errors.New("protocol versions differ") // the peer speaks another version
	ErrClosed   = errors.New("mesh closed")              // closed by this rank without a cause
)

// PeerError is a failure of the connection to one peer.
type PeerError struct {
	Rank int
	Host string
	Err  error
}

func (e *PeerError) Error() string { return fmt.Sprintf("rank %d on %s: %v", e.Rank, e.Host, e.Err) }

// Unwrap returns the cause.
func (e *PeerError) Unwrap() error { return e.Err }

// MismatchError is an ErrMismatch with both sides of it.
type MismatchError struct {
	Self, Peer          int
	Want, Got           Tag // this rank's and the peer's
	WantBytes, GotBytes int // length of the frame
}

// Is makes errors.Is(err, ErrMismatch) true.
func (e *MismatchError) Is(target error) bool { return target == ErrMismatch }

func (e *MismatchError) Error() string {
	if e.Want == e.Got {
		return fmt.Sprintf("ranks disagree: rank %d expects %d bytes, rank %d sends %d, at %+v",
			e.Self, e.WantBytes, e.Peer, e.GotBytes, e.Want)
	}
	return fmt.Sprintf("ranks disagree: rank %d is at %+v, rank %d at %+v", e.Self, e.Want, e.Peer, e.Got)
}

// AbortError is an ErrAborted with the cause that the peer gave.
type AbortError struct {
	Rank  int    // whose failure it is, as far as is known: the rank that was lost or that gave up
	By    int    // who saw it first
	Cause string // in By's words
	Kind  error  // the error of this package that By's cause is, nil where it is none

	Mismatch *MismatchError // By's, where Kind is ErrMismatch and By found it itself
}

// Is makes errors.Is(err, ErrAborted) true.
func (e *AbortError) Is(target error) bool { return target == ErrAborted }

// Unwrap returns the kind of the peer's failure, so that all ranks branch alike.
func (e *AbortError) Unwrap() error { return e.Kind }

func (e *AbortError) Error() string {
	if e.Rank != e.By {
		return fmt.Sprintf("rank %d reports: %s", e.By, e.Cause)
	}
	return fmt.Sprintf("rank %d gave up: %s", e.Rank, e.Cause)
}

// Abort is what rank self tells its peers when it gives up because of cause. What another
// rank has reported is passed on unchanged, so that a cascade never blames the healthy.
func Abort(self int, cause error) *AbortError {
	if told, ok := errors.AsType[*AbortError](cause); ok {
		return told
	}
	a := &AbortError{Rank: self, By: self, Cause: cause.Error()}
	for _, kind := range kinds {
		if errors.Is(cause, kind) {
			a.Kind = kind
			break
		}
	}
	if m, ok := errors.AsType[*MismatchError](cause); ok {
		a.Mismatch = m
	}
	if peer, ok := errors.AsType[*PeerError](cause); ok && a.Kind == ErrLost {
		a.Rank = peer.Rank
	}
	if join, ok := errors.AsType[*JoinError](cause); ok && len(join.Missing) == 1 {
		a.Rank = join.Missing[0].Rank
	}
	return a
}

// kinds are the errors that travel with an abort. The index is the code on the wire.
var kinds = [...]error{ErrMismatch, ErrLost, ErrCorrupt, ErrStale, ErrAuth, ErrVersion, ErrClosed}

// KindCode is the code of an AbortError's Kind on the wire, 0 for none.
func KindCode(kind error) uint8 {
	for i, k := range kinds {
		if k == kind {
			return uint8(i + 1)
		}
	}
	return 0
}

// KindOf undoes KindCode. Codes that a newer peer may know give nil.
func KindOf(code uint8) error {
	if code == 0 || int(code) > len(kinds) {
		return nil
	}
	return kinds[code-1]
}

// JoinError says who was missing when a generation did not come together.
type JoinError struct {
	Generation uint64
	Missing    []Peer
	Err        error // why the wait ended
}

func (e *JoinError) Error() string {
	var names []string
	for _, p := range e.Missing {
		names = append(names, fmt.Sprintf("%d on %s (%s)", p.Rank, p.Host, p.Addr))
	}
	noun := "rank "
	if len(names) > 1 {
		noun = "ranks "
	}
	return fmt.Sprintf("generation %d: %s%s not there: %v", e.Generation, noun, strings.Join(names, ", "), e.Err)
}

// Unwrap returns why the wait ended.
func (e *JoinError) Unwrap() error { return e.Err }
