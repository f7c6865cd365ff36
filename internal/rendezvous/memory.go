package rendezvous

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// Memory is a Store in this process's memory. It holds the current generation only, so its
// size doesn't grow with the length of the chain.
type Memory struct {
	mu      sync.Mutex
	current Generation
	changed chan struct{} // closed by the commit that replaces current
}

// NewMemory returns a store that holds no generation yet.
func NewMemory() *Memory {
	return &Memory{changed: make(chan struct{})}
}

// Commit makes next the current generation if prev still is. Repeating the commit that made
// the current generation succeeds: its first answer may have been lost on the way.
func (m *Memory) Commit(ctx context.Context, prev uint64, next Generation) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if next.ID != prev+1 {
		return fmt.Errorf("rendezvous: generation %d cannot follow %d: the next one is %d", next.ID, prev, prev+1)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.current.equal(next):
		return nil
	case m.current.Done:
		return fmt.Errorf("%w: %d was the job's last", ErrConflict, m.current.ID)
	case m.current.ID != prev:
		return fmt.Errorf("%w: the commit follows %d, the current one is %d", ErrConflict, prev, m.current.ID)
	}
	m.current = next.clone()
	close(m.changed)
	m.changed = make(chan struct{})
	return nil
}

// Watch returns the current generation as soon as it is later than after. Who was away for
// several generations sees the newest only: the ones between have no live members to join.
func (m *Memory) Watch(ctx context.Context, after uint64) (Generation, error) {
	for {
		m.mu.Lock()
		current, changed := m.current, m.changed
		m.mu.Unlock()
		if current.ID > after {
			return current.clone(), nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Generation{}, context.Cause(ctx)
		}
	}
}

// Current returns the current generation, without waiting.
func (m *Memory) Current() Generation {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.current.clone()
}

func (g Generation) clone() Generation {
	g.Members = slices.Clone(g.Members)
	return g
}

func (g Generation) equal(o Generation) bool {
	return g.ID == o.ID && g.Why == o.Why && g.Done == o.Done && g.Planned == o.Planned && slices.Equal(g.Members, o.Members)
}

// Rank returns the rank of the member with the given ID, or false where it has none.
func (g Generation) Rank(id string) (int, bool) {
	r := slices.IndexFunc(g.Members, func(m Member) bool { return m.ID == id })
	return r, r >= 0
}
