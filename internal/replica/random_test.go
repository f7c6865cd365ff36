package replica

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

var seed = flag.Uint64("seed", 0, "of TestRandomFailures; 0 draws one")

// TestRandomFailures cuts links and kills members at random while several clients propose.
// Afterwards there is one sequence: each member has applied a prefix of it, what was
// acknowledged is in it once, what was not once at most, and each client's entries are in
// the order in which it has proposed them.
func TestRandomFailures(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("repeat with -seed %d", *seed)
	random := rand.New(rand.NewPCG(*seed, 0))
	w := &world{t: t, network: newNetwork(t)}
	w.alive = startMembers(t, w.network, "m0", "m1", "m2")
	w.made = 3

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var clients sync.WaitGroup
	acknowledged := make([][]string, 6)
	for c := range acknowledged {
		clients.Go(func() { acknowledged[c] = w.client(ctx, c) })
	}
	for step := range 12 {
		w.fail(random, step)
	}
	stop()
	clients.Wait()
	w.network.heal()

	propose(t, w.alive, "end")
	var one []string
	for _, m := range w.alive {
		eventually(t, m.name+" has applied all", func() bool {
			all := m.seq.all()
			return len(all) > 0 && all[len(all)-1] == "end"
		})
		if all := m.seq.all(); len(all) > len(one) {
			one = all
		}
	}
	for _, m := range append(slice(w.alive), w.dead...) {
		for i, entry := range m.seq.all() {
			if i >= len(one) || entry != one[i] {
				t.Fatalf("%s has applied %s as entry %d, others have not", m.name, entry, i)
			}
		}
	}
	times, last := map[string]int{}, map[int]int{}
	for _, entry := range one {
		times[entry]++
		var c, i int
		if n, _ := fmt.Sscanf(entry, "%d-%d", &c, &i); n == 2 {
			if i <= last[c] {
				t.Errorf("client %d: entry %d comes after %d", c, i, last[c])
			}
			last[c] = i
		}
	}
	total := 0
	for c, entries := range acknowledged {
		total += len(entries)
		for _, entry := range entries {
			if times[entry] != 1 {
				t.Errorf("client %d: %s was acknowledged, and is there %d times", c, entry, times[entry])
			}
		}
	}
	for entry, n := range times {
		if n > 1 && entry != "end" { // which is proposed until it is acknowledged
			t.Errorf("%s was applied %d times", entry, n)
		}
	}
	t.Logf("%d entries, %d acknowledged, %d members have died", len(one), total, len(w.dead))
	if total == 0 {
		t.Error("nothing was acknowledged")
	}
}

// world is a group to which bad things happen.
type world struct {
	t       *testing.T
	network *network

	mu    sync.Mutex
	alive map[string]*member
	dead  []*member
	made  int
}

// members are those that have not been killed.
func (w *world) members() map[string]*member {
	w.mu.Lock()
	defer w.mu.Unlock()
	return without(w.alive)
}

// client proposes one entry after the other and returns those that were acknowledged. One
// that was refused is proposed elsewhere; one that may be lost is left.
func (w *world) client(ctx context.Context, number int) (acknowledged []string) {
	for i := 1; ctx.Err() == nil; {
		entry := fmt.Sprintf("%d-%d", number, i)
		tried := false
		for _, m := range w.members() {
			_, err := m.Propose(context.Background(), []byte(entry)) // ends with the lease
			switch {
			case err == nil:
				acknowledged = append(acknowledged, entry)
				tried = true
			case errors.Is(err, ErrLost):
				tried = true
			case !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrClosed):
				w.t.Errorf("client %d: %v", number, err)
				return acknowledged
			}
			if tried {
				i++
				break
			}
		}
		if !tried { // nobody leads
			select {
			case <-time.After(5 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}
	return acknowledged
}

// fail has something happen, and lets it be for a while.
func (w *world) fail(random *rand.Rand, step int) {
	all := slice(w.members())
	victim := all[random.IntN(len(all))]
	if random.IntN(2) == 0 { // whoever leads, if it is known
		for _, m := range all {
			if m.terms.present() != nil {
				victim = m
			}
		}
	}
	other := all[random.IntN(len(all))]
	kind, lasts := random.IntN(5), time.Duration(50+random.IntN(700))*time.Millisecond
	var what string
	switch kind {
	case 0, 1:
		what = "is cut off from all"
		w.network.isolate(w.t, victim.name, how(1+kind))
	case 2:
		what = "doesn't reach " + other.name
		if other != victim {
			w.network.between(w.t, victim.name, other.name).set(how(1 + random.IntN(2)))
		}
	case 3:
		what = "is slow for all"
		for _, m := range all {
			if m != victim {
				w.network.between(w.t, m.name, victim.name).slow(time.Duration(random.IntN(60)) * time.Millisecond)
			}
		}
	case 4:
		what = "is killed"
		w.mu.Lock()
		delete(w.alive, victim.name)
		w.dead = append(w.dead, victim)
		w.mu.Unlock()
		victim.stop(w.t)
	}
	w.t.Logf("%d: %s %s for %v", step, victim.name, what, lasts)
	<-time.After(lasts)
	w.network.heal()
	if kind == 4 {
		w.replace(victim.name)
	}
}

// replace puts a new member in the place of one that was killed.
func (w *world) replace(name string) {
	w.mu.Lock()
	next := fmt.Sprintf("m%d", w.made)
	w.made++
	w.mu.Unlock()
	l := w.network.listen(w.t, next)
	m := startMember(w.t, w.network, Config{Self: next, Listener: l})
	remove(w.t, w.members(), name)
	add(w.t, w.members(), next, l.Addr().String())
	w.mu.Lock()
	defer w.mu.Unlock()
	w.alive[next] = m
}
