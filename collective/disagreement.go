package collective

import (
	"errors"
	"fmt"

	"github.com/gorun-ml/gorun/collective/transport"
)

// disagreement is an ErrMismatch in words.
type disagreement struct {
	text string
	err  error // what the transport said
}

func (d *disagreement) Error() string { return d.text }

// Is makes errors.Is(err, transport.ErrMismatch) true.
func (d *disagreement) Is(target error) bool { return target == transport.ErrMismatch }

// Unwrap returns the transport's error.
func (d *disagreement) Unwrap() error { return d.err }

// explain turns a mismatch that the transport has found, here or at a peer, into words.
// look names the lane, if it is known, and may put in what this rank knows better; note is
// what it knows besides.
func explain(err error, look func(m *transport.MismatchError) (where, note string)) error {
	if _, ok := errors.AsType[*disagreement](err); ok {
		return err
	}
	if m, ok := errors.AsType[*transport.MismatchError](err); ok {
		found := *m
		where, note := look(&found)
		return &disagreement{text: differ(where, &found) + note, err: err}
	}
	if a, ok := errors.AsType[*transport.AbortError](err); ok && a.Mismatch != nil {
		found := *a.Mismatch
		where, note := look(&found)
		return &disagreement{text: fmt.Sprintf("rank %d reports: %s%s", a.By, differ(where, &found), note), err: err}
	}
	return err
}

// differ says how the operations of two ranks differ.
func differ(where string, m *transport.MismatchError) string {
	a, want, b, got := m.Self, m.Want, m.Peer, m.Got
	mine, theirs := describe(want), describe(got)
	switch {
	case want.Kind == uint8(grouping) && got.Kind == want.Kind:
		return fmt.Sprintf("ranks disagree on a group: rank %d and rank %d make groups of different ranks, or in a different order", a, b)
	case want.Seq != got.Seq:
		return fmt.Sprintf("ranks disagree on the order of operations%s: rank %d runs operation %d, %s, rank %d operation %d, %s",
			where, a, want.Seq, mine, b, got.Seq, theirs)
	case mine != theirs:
		return fmt.Sprintf("ranks disagree at operation %d%s: rank %d runs %s, rank %d %s", want.Seq, where, a, mine, b, theirs)
	case want.Algo != got.Algo:
		return fmt.Sprintf("ranks disagree at operation %d%s, %s: rank %d runs it as %s, rank %d as %s; give all ranks the same Options and World",
			want.Seq, where, mine, a, algorithmName(want.Algo), b, algorithmName(got.Algo))
	case want.Bytes != got.Bytes:
		return fmt.Sprintf("ranks disagree at operation %d%s, %s: rank %d and rank %d were called with different counts", want.Seq, where, mine, a, b)
	case want.Root != got.Root: // there is no root, so it stands for the past
		return fmt.Sprintf("ranks disagree: rank %d and rank %d have run different operations before operation %d%s, %s", a, b, want.Seq, where, mine)
	case want.Step != got.Step:
		return fmt.Sprintf("ranks disagree at operation %d%s, %s: rank %d expects message %d, rank %d sends message %d; give all ranks the same World",
			want.Seq, where, mine, a, want.Step, b, got.Step)
	default:
		return fmt.Sprintf("ranks disagree at operation %d%s, %s: rank %d expects %d bytes from rank %d, which sends %d",
			want.Seq, where, mine, a, m.WantBytes, b, m.GotBytes)
	}
}
