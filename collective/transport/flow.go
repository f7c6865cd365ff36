package transport

import "time"

// Flow is a Conn whose frames can also be moved a little at a time without waiting, so that
// one goroutine sends and receives at once. Push and Send, and Pull and Recv, may take turns
// between frames but not within one.
type Flow interface {
	Conn
	// Push sends what goes at once of a frame. It is called with the same frame until done;
	// then p may be reused. moved is the bytes that went with this call, headers included.
	Push(tag Tag, p []byte) (moved int, done bool, err error)
	// Pull receives what has come of a frame. It is called with the same frame until done;
	// until then p holds anything.
	Pull(tag Tag, p []byte, fold Fold) (moved int, done bool, err error)
}

// MaxFlows is how many flows each way a goroutine may wait for at once.
const MaxFlows = 8

// Waiting is what a goroutine waits for: that one of Out may take more, or one of In may
// have more. It also counts how long nothing has moved: who drives the flows sets Tries to
// 0 when something has.
type Waiting struct {
	Out, In []Flow
	Tries   int
	Since   time.Time // the first of them
}

// Of is w for one flow each way at most, either of which may be nil.
func (w *Waiting) Of(out, in Flow) *Waiting {
	w.Reset()
	if out != nil {
		w.Out = append(w.Out, out)
	}
	if in != nil {
		w.In = append(w.In, in)
	}
	return w
}

// Reset empties w, for who finds out anew what to wait for.
func (w *Waiting) Reset() { w.Out, w.In = w.Out[:0], w.In[:0] }

// Waiter is a Mesh whose Flows can be waited for, whichever way they go.
type Waiter interface {
	// Wait returns when something of w may move, sooner without a reason, or with the cause
	// once the mesh has ended.
	Wait(w *Waiting) error
}
