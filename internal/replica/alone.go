package replica

import (
	"context"
	"sync"
)

// alone is a group of one: a lock around the machine.
type alone struct {
	mu      sync.Mutex
	machine Machine
	index   uint64
	closed  bool
}

func (a *alone) propose(ctx context.Context, entry []byte) (any, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, ErrClosed
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	a.index++
	return a.machine.Apply(a.index, entry), nil
}

func (a *alone) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
}
