package rendezvous

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestMemoryCommitsOnlyWhatFollows(t *testing.T) {
	m, ctx := NewMemory(), t.Context()
	first := generation(1, member(0, 1))
	if err := m.Commit(ctx, 0, first); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		name     string
		prev     uint64
		next     Generation
		conflict bool
		ok       bool
	}{
		{"the same again, as its answer may have been lost", 0, first, false, true},
		{"another first one", 0, generation(1, member(1, 1)), true, false},
		{"a jump", 1, generation(3), false, false},
		{"a step back", 1, generation(1), false, false},
		{"on what isn't there yet", 5, generation(6), true, false},
		{"what follows", 1, generation(2), false, true},
		{"its rival", 1, generation(2, member(0, 1)), true, false},
		{"the last", 2, Generation{ID: 3, Done: true}, false, true},
		{"one after the last", 3, generation(4), true, false},
	} {
		err := m.Commit(ctx, x.prev, x.next)
		if (err == nil) != x.ok || errors.Is(err, ErrConflict) != x.conflict {
			t.Errorf("%s: %v", x.name, err)
		}
	}
	if g := m.Current(); g.ID != 3 || !g.Done {
		t.Errorf("current is %+v", g)
	}
}

func TestMemoryKeepsNothingOfItsCallers(t *testing.T) {
	m, ctx := NewMemory(), t.Context()
	g := generation(1, member(0, 1))
	if err := m.Commit(ctx, 0, g); err != nil {
		t.Fatal(err)
	}
	g.Members[0].ID = "changed"
	seen, err := m.Watch(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	seen.Members[0].ID = "changed too"
	if got := ids(m.Current()); got != "0.1" {
		t.Errorf("the store holds %q, want 0.1", got)
	}
}

func TestMemoryWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory()
		var done sync.WaitGroup
		var seen [8]Generation
		for i := range seen {
			done.Go(func() {
				var err error
				if seen[i], err = m.Watch(t.Context(), 1); err != nil {
					t.Errorf("watcher %d: %v", i, err)
				}
			})
		}
		synctest.Wait() // all wait
		for id := uint64(1); id <= 2; id++ {
			if err := m.Commit(t.Context(), id-1, generation(id)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		done.Wait()
		for i, g := range seen {
			if g.ID != 2 {
				t.Errorf("watcher %d saw generation %d, want 2", i, g.ID)
			}
		}
		if g, err := m.Watch(t.Context(), 0); err != nil || g.ID != 2 {
			t.Errorf("a late watcher saw generation %d (%v), want 2", g.ID, err)
		}
		cause := errors.New("rank 2 was lost")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, cause)
		defer cancel()
		if _, err := m.Watch(ctx, 2); !errors.Is(err, cause) {
			t.Errorf("a watch that ended says %v, want %v", err, cause)
		}
		ended, end := context.WithCancelCause(t.Context())
		end(cause)
		if err := m.Commit(ended, 2, generation(3)); !errors.Is(err, cause) {
			t.Errorf("a commit that ended says %v, want %v", err, cause)
		}
	})
}

// Many propose at once: one of each generation's proposals wins, and everybody who follows
// the chain sees it grow by one at a time.
func TestMemoryHasOneChain(t *testing.T) {
	const proposers, length = 8, 200
	m, ctx := NewMemory(), t.Context()
	var won [proposers]int
	var done sync.WaitGroup
	for i := range won {
		done.Go(func() {
			for after := uint64(0); after < length; {
				err := m.Commit(ctx, after, generation(after+1, member(i, int(after))))
				switch {
				case err == nil:
					won[i]++
				case !errors.Is(err, ErrConflict):
					t.Errorf("proposer %d: %v", i, err)
					return
				}
				g, err := m.Watch(ctx, after)
				if err != nil || g.ID <= after {
					t.Errorf("proposer %d saw generation %d after %d (%v)", i, g.ID, after, err)
					return
				}
				after = g.ID
			}
		})
	}
	done.Wait()
	total := 0
	for _, n := range won {
		total += n
	}
	if total != length || m.Current().ID != length {
		t.Errorf("%d commits won, the chain has %d, want %d", total, m.Current().ID, length)
	}
}
