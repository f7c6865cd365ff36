package replica

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestAllApplyTheSameSequence(t *testing.T) {
	members := startMembers(t, newNetwork(t), "a", "b", "c")
	lead, term := leader(t, members)
	const clients, each = 8, 50
	results := make([]map[int]string, clients) // what was proposed, by what was answered
	var proposing sync.WaitGroup
	for c := range clients {
		results[c] = map[int]string{}
		proposing.Go(func() {
			for i := range each {
				entry := fmt.Sprintf("%d-%d", c, i)
				r, err := lead.Propose(within(t, limit), []byte(entry))
				if err == nil {
					results[c][r.(int)] = entry
				} else if term.Err() == nil && !errors.Is(err, ErrLost) { // else the machine is too busy
					t.Errorf("client %d: %v", c, err)
				}
			}
		})
	}
	proposing.Wait()
	propose(t, members, "end")
	entries := lead.seq.all()
	n := 0
	for _, answered := range results {
		for r, want := range answered {
			if n++; entries[r-1] != want {
				t.Errorf("entry %d is %s, and was answered to who proposed %s", r, entries[r-1], want)
			}
		}
	}
	t.Logf("%d of %d were acknowledged", n, clients*each)
	same(t, n+1, slice(members)...)

	lead, term = leader(t, members)
	for _, m := range members {
		eventually(t, m.name+" knows who leads", func() bool { return m.Leader() == lead.name || term.Err() != nil })
		if m == lead {
			continue
		}
		if _, err := m.Propose(within(t, limit), []byte("x")); !errors.Is(err, ErrNotLeader) && term.Err() == nil {
			t.Errorf("proposed at %s: %v, want %v", m.name, err, ErrNotLeader)
		}
		if err := m.Remove(within(t, limit), "nobody"); !errors.Is(err, ErrNotLeader) && term.Err() == nil {
			t.Errorf("removed at %s: %v, want %v", m.name, err, ErrNotLeader)
		}
	}
	if _, err := lead.Propose(within(t, limit), make([]byte, maxEntry+1)); err == nil || !strings.Contains(err.Error(), "the limit is 1048576") {
		t.Errorf("an entry that is too long: %v", err)
	}
	propose(t, members, string(make([]byte, maxEntry)))
}

func TestLeaderIsCutOff(t *testing.T) {
	for _, h := range []how{silent, broken} {
		t.Run([]string{silent: "silent", broken: "broken"}[h], func(t *testing.T) {
			n := newNetwork(t)
			members := startMembers(t, n, "a", "b", "c")
			propose(t, members, "before")
			first, term := leader(t, members)
			n.isolate(t, first.name, h)
			began := time.Now()
			// One that it can't hand on: nobody may be told that it is done.
			lost := make(chan error, 1)
			go func() {
				_, err := first.Propose(within(t, limit), []byte("lost"))
				lost <- err
			}()
			ended(t, term)
			t.Logf("it has stopped %v after it was cut off", time.Since(began))
			if err := <-lost; !errors.Is(err, ErrLost) && !errors.Is(err, ErrNotLeader) {
				t.Errorf("proposed by a leader that is cut off: %v, want %v", err, ErrLost)
			}
			if cause := context.Cause(term); !errors.Is(cause, ErrNotLeader) {
				t.Errorf("the term has ended with %v, want %v", cause, ErrNotLeader)
			}
			second := propose(t, without(members, first.name), "between")
			t.Logf("another goes on %v after that", time.Since(began))
			same(t, 2, slice(without(members, first.name))...)
			if got := first.seq.distinct(); !slices.Equal(got, []string{"before"}) {
				t.Errorf("the member that is cut off has %q", got)
			}
			n.heal()
			propose(t, without(members, first.name), "after")
			same(t, 3, slice(members)...)
			if got := second.seq.distinct(); !slices.Equal(got, []string{"before", "between", "after"}) {
				t.Errorf("%q were applied", got)
			}
		})
	}
}

// TestGoesOnWithTheOneThatIsBack cuts a follower off for long enough that raft would look
// for it again only after seconds, and then lets the other one die.
func TestGoesOnWithTheOneThatIsBack(t *testing.T) {
	n := newNetwork(t)
	members := startMembers(t, n, "a", "b", "c")
	lead := propose(t, members, "0")
	followers := slice(without(members, lead.name))
	n.isolate(t, followers[0].name, broken)
	for i := range 20 {
		lead = propose(t, without(members, followers[0].name), fmt.Sprint(i+1))
	}
	eventually(t, "the leader has tried often enough", func() bool {
		r := n.between(t, lead.name, followers[0].name)
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.refused > 14
	})
	n.heal()
	began := time.Now()
	followers[0].seq.await(t, 21)
	t.Logf("the one that was cut off has all entries %v after it is back", time.Since(began))
	followers[1].stop(t)
	propose(t, without(members, followers[1].name), "21")
	same(t, 22, lead, followers[0])
}

// TestSlowMember holds one member's machine: the others don't wait for it.
func TestSlowMember(t *testing.T) {
	n := newNetwork(t)
	members := startMembers(t, n, "a", "b", "c")
	lead := propose(t, members, "0")
	slow := slice(without(members, lead.name))[0]
	gate := make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	defer open()
	slow.seq.mu.Lock()
	slow.seq.gate = gate
	slow.seq.mu.Unlock()
	n.between(t, lead.name, slow.name).slow(20 * time.Millisecond)
	for i := range 1000 {
		propose(t, without(members, slow.name), fmt.Sprint(i+1))
	}
	if got := len(slow.seq.all()); got > 1 {
		t.Errorf("the slow member has applied %d entries while it was held", got)
	}
	open()
	same(t, 1001, slice(members)...)
}

func TestTwoOfThreeAreDown(t *testing.T) {
	members := startMembers(t, newNetwork(t), "a", "b", "c")
	propose(t, members, "0")
	first, _ := leader(t, members)
	down := slice(without(members, first.name))[0]
	down.stop(t)
	delete(members, down.name)
	for i := range 10 {
		propose(t, members, fmt.Sprint(i+1))
	}
	lead, term := leader(t, members)
	slice(without(members, lead.name))[0].stop(t)
	if _, err := lead.Propose(within(t, time.Second), []byte("lost")); !errors.Is(err, ErrLost) && !errors.Is(err, ErrNotLeader) {
		t.Errorf("proposed by one of three: %v, want %v", err, ErrLost)
	}
	ended(t, term)
	if _, err := lead.Propose(within(t, limit), []byte("lost")); !errors.Is(err, ErrNotLeader) {
		t.Errorf("proposed by one of three that doesn't lead: %v, want %v", err, ErrNotLeader)
	}
	if _, err := lead.Lead(within(t, 100*time.Millisecond)); err == nil || !strings.Contains(err.Error(), "no answer within") {
		t.Errorf("waiting to lead without a majority: %v, want the context's cause", err)
	}
	if got := lead.seq.distinct(); len(got) != 11 || slices.Contains(got, "lost") {
		t.Errorf("%q were applied, want 0 to 10", got)
	}
}

// TestProposalEndsWithItsContext has a leader that can't hear the others.
func TestProposalEndsWithItsContext(t *testing.T) {
	n := newNetwork(t)
	members := startMembers(t, n, "a", "b", "c")
	lead := propose(t, members, "0")
	n.isolate(t, lead.name, silent)
	ctx, cancel := context.WithCancelCause(context.Background())
	cause := errors.New("no time left")
	done := make(chan error, 1)
	go func() {
		_, err := lead.Propose(ctx, []byte("lost"))
		done <- err
	}()
	cancel(cause)
	select {
	case err := <-done:
		if !errors.Is(err, cause) && !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrLost) {
			t.Errorf("%v, want %v", err, cause)
		}
	case <-time.After(limit):
		t.Errorf("still proposing after %v", limit)
	}
	if _, err := lead.Propose(ctx, []byte("x")); !errors.Is(err, cause) || errors.Is(err, ErrLost) {
		t.Errorf("with a context that has ended: %v, want only %v", err, cause)
	}
}

func TestCloseWhileProposing(t *testing.T) {
	members := startMembers(t, newNetwork(t), "a", "b", "c")
	lead, term := leader(t, members)
	var proposing sync.WaitGroup
	for c := range 16 {
		proposing.Go(func() {
			for i := 0; ; i++ {
				_, err := lead.Propose(within(t, limit), fmt.Appendf(nil, "%d-%d", c, i))
				if err == nil {
					continue
				}
				if !errors.Is(err, ErrClosed) && !errors.Is(err, ErrLost) && !errors.Is(err, ErrNotLeader) {
					t.Errorf("proposing while it is closed: %v", err)
				}
				if errors.Is(err, ErrClosed) || term.Err() != nil {
					return
				}
			}
		})
	}
	eventually(t, "it works", func() bool { return len(lead.seq.all()) > 100 || term.Err() != nil })
	began := time.Now()
	lead.stop(t)
	t.Logf("closed in %v", time.Since(began))
	proposing.Wait()
	if _, err := lead.Lead(within(t, limit)); !errors.Is(err, ErrClosed) {
		t.Errorf("waiting to lead when it is closed: %v, want %v", err, ErrClosed)
	}
	propose(t, without(members, lead.name), "after")
}

func TestGroupOfOne(t *testing.T) {
	seq := newSequence()
	g, err := Start(Config{Self: "a", Machine: seq})
	if err != nil {
		t.Fatal(err)
	}
	term, err := g.Lead(within(t, limit))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if r, err := g.Propose(within(t, limit), []byte("x")); err != nil || r != i+1 {
			t.Errorf("proposal %d: %v, %v", i, r, err)
		}
	}
	if g.Leader() != "a" || len(g.Members()) != 1 {
		t.Errorf("%q leads %v", g.Leader(), g.Members())
	}
	for _, err := range []error{g.Add(t.Context(), "b", "127.0.0.1:1"), g.Remove(t.Context(), "a"), g.Transfer(t.Context())} {
		if !errors.Is(err, errAlone) {
			t.Errorf("%v, want %v", err, errAlone)
		}
	}
	if err := errors.Join(g.Close(), g.Close()); err != nil {
		t.Error(err)
	}
	ended(t, term)
	if _, err := g.Propose(within(t, limit), []byte("x")); !errors.Is(err, ErrClosed) {
		t.Errorf("proposed when it is closed: %v, want %v", err, ErrClosed)
	}
}

func TestBadConfig(t *testing.T) {
	two := map[string]string{"a": "127.0.0.1:1", "b": "127.0.0.1:2"}
	good := Config{Self: "a", Members: two, Seed: testSeed, Machine: newSequence()}
	for want, change := range map[string]func(*Config){
		"a member needs a name":                                   func(c *Config) { c.Self = "" },
		"a member needs a machine":                                func(c *Config) { c.Machine = nil },
		`member "c" is not among the members`:                     func(c *Config) { c.Self = "c" },
		"seed of 3 bytes: it takes 32":                            func(c *Config) { c.Seed = []byte("abc") },
		`member "b" at "b:0": it takes a name and HOST:PORT`:      func(c *Config) { c.Members = map[string]string{"a": "a:1", "b": "b:0"} },
		`members "a" and "b" have the same address a:1`:           func(c *Config) { c.Members = map[string]string{"a": "a:1", "b": "a:1"} },
		`member "a" has 1 peers and no listener`:                  func(c *Config) { c.Listener = nil },
		`member "b" at "here": it takes a name and HOST:PORT`:     func(c *Config) { c.Members = map[string]string{"a": "a:1", "b": "here"} },
		`member "" at "127.0.0.1:2": it takes a name and HOST:PO`: func(c *Config) { c.Members = map[string]string{"a": "a:1", "": "127.0.0.1:2"} },
	} {
		c := good
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		c.Listener = l
		change(&c)
		g, err := Start(c)
		if err == nil {
			_ = g.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, want: %s", err, want)
		}
		if err := l.Close(); c.Listener != nil && !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: the listener is still open", want)
		}
	}
}
