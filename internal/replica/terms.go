package replica

import (
	"context"
	"sync"
)

// terms are the times in which this member leads, one after the other.
type terms struct {
	mu      sync.Mutex
	number  int             // of the newest that has begun, or may begin yet
	now     context.Context // the present one; nil while this member doesn't lead
	end     context.CancelCauseFunc
	changed chan struct{} // closed when one begins, or none will any more
	err     error         // why none will
}

func newTerms() *terms { return &terms{changed: make(chan struct{})} }

// announce returns the number of a term that will begin, unless it is over before that.
func (t *terms) announce() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.number++
	return t.number
}

// begin begins the term of a number.
func (t *terms) begin(number int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if number != t.number || t.err != nil {
		return
	}
	t.now, t.end = context.WithCancelCause(context.Background())
	close(t.changed)
	t.changed = make(chan struct{})
}

// over ends the present term, and what has been announced.
func (t *terms) over(cause error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.number++
	if t.now != nil {
		t.end(cause)
		t.now = nil
	}
}

// close ends the present term, and all waits.
func (t *terms) close(cause error) {
	t.over(cause)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil {
		t.err = cause
		close(t.changed)
	}
}

// wait returns the present term, or the next.
func (t *terms) wait(ctx context.Context) (context.Context, error) {
	for {
		t.mu.Lock()
		now, changed, err := t.now, t.changed, t.err
		t.mu.Unlock()
		if err != nil {
			return nil, err
		}
		if now != nil {
			return now, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// present returns the term that has begun and is not over, or nil.
func (t *terms) present() context.Context {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.now
}
