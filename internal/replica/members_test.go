package replica

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

var testSeed = bytes.Repeat([]byte{7}, 32)

// limit is what a test waits for something that takes a second where there is a core.
const limit = time.Minute

// sequence is a Machine that keeps what it was given, in its order.
type sequence struct {
	mu       sync.Mutex
	entries  []string
	changed  chan struct{} // closed with the next entry
	restored int
	gate     chan struct{} // if not nil, Apply waits until it is closed
}

func newSequence() *sequence { return &sequence{changed: make(chan struct{})} }

// Apply returns how many entries there are.
func (s *sequence) Apply(_ uint64, entry []byte) any {
	s.mu.Lock()
	gate := s.gate
	s.mu.Unlock()
	if gate != nil {
		<-gate
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries = append(s.entries, string(entry))
	s.wake()
	return len(s.entries)
}

func (s *sequence) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *sequence) Snapshot() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return json.Marshal(s.entries)
}

func (s *sequence) Restore(snapshot []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries = nil
	s.restored++
	defer s.wake()
	return json.Unmarshal(snapshot, &s.entries)
}

func (s *sequence) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.entries)
}

func (s *sequence) restores() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.restored
}

// distinct are the entries without repeats: what may have been lost is proposed again.
func (s *sequence) distinct() []string { return slices.Compact(s.all()) }

// await waits until there are n distinct entries.
func (s *sequence) await(t testing.TB, n int) {
	t.Helper()
	timeout := time.After(limit)
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		have := len(s.distinct())
		if have >= n {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("%d entries after %v, want %d", have, limit, n)
		}
	}
}

// member is one of a test.
type member struct {
	*Group
	name string
	seq  *sequence
}

// logs is where raft's words go while a test runs.
type logs struct {
	mu   sync.Mutex
	t    testing.TB
	name string
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.t != nil {
		l.t.Logf("%s: %s", l.name, bytes.TrimSpace(p))
	}
	return len(p), nil
}

func (l *logs) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.t = nil
}

// startMembers starts a group.
func startMembers(t testing.TB, n *network, names ...string) map[string]*member {
	t.Helper()
	configs := map[string]Config{}
	for _, name := range names {
		configs[name] = Config{Self: name, Listener: n.listen(t, name)}
	}
	all := n.members(names...)
	members := map[string]*member{}
	for _, name := range names {
		c := configs[name]
		c.Members = all
		members[name] = startMember(t, n, c)
	}
	return members
}

// startMember starts a member that is closed with the test.
func startMember(t testing.TB, n *network, c Config) *member {
	t.Helper()
	m := &member{name: c.Self, seq: newSequence()}
	c.Seed, c.Machine, c.route = testSeed, m.seq, n.route(t, c.Self)
	l := &logs{t: t, name: c.Self}
	if testing.Verbose() {
		c.Log = l
	}
	var err error
	if m.Group, err = Start(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.stop(t)
		l.stop()
	})
	return m
}

// stop closes the member, which must not take long.
func (m *member) stop(t testing.TB) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- m.Close() }()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	case <-time.After(limit):
		t.Errorf("%s is not closed after %v", m.name, limit)
	}
}

// leader waits until one of the members leads, and returns it with its term.
func leader(t testing.TB, members map[string]*member) (*member, context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	type found struct {
		m    *member
		term context.Context
	}
	first := make(chan found, len(members))
	var waiting sync.WaitGroup
	for _, m := range members {
		waiting.Go(func() {
			if term, err := m.Lead(ctx); err == nil {
				first <- found{m, term}
			}
		})
	}
	defer waiting.Wait()
	select {
	case f := <-first:
		cancel()
		return f.m, f.term
	case <-ctx.Done():
		t.Fatalf("nobody leads after %v", limit)
		return nil, nil
	}
}

// propose proposes an entry wherever one leads, until it is done. One that may have been
// lost is proposed again.
func propose(t testing.TB, members map[string]*member, entry string) *member {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for {
		m, term := leader(t, members)
		_, err := m.Propose(ctx, []byte(entry))
		if err == nil {
			return m
		}
		if !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrLost) {
			t.Fatalf("%s: %v", m.name, err)
		}
		select {
		case <-term.Done():
		case <-time.After(10 * time.Millisecond): // a hand-over that goes on
		}
		if ctx.Err() != nil {
			t.Fatalf("not proposed after %v: %v", limit, err)
		}
	}
}

// same checks that members have applied the same n distinct entries.
func same(t testing.TB, n int, members ...*member) {
	t.Helper()
	for _, m := range members {
		m.seq.await(t, n)
	}
	want := members[0].seq.distinct()
	for _, m := range members {
		if got := m.seq.distinct(); !slices.Equal(got, want) {
			for i := range max(len(got), len(want)) {
				if i >= len(got) || i >= len(want) || got[i] != want[i] {
					t.Fatalf("%s and %s differ from entry %d on, of %d and %d", m.name, members[0].name, i, len(got), len(want))
				}
			}
		}
	}
}

// without returns the members that are not those.
func without[M any](members map[string]M, names ...string) map[string]M {
	left := map[string]M{}
	for name, m := range members {
		if !slices.Contains(names, name) {
			left[name] = m
		}
	}
	return left
}

// slice returns them in the order of their names.
func slice(members map[string]*member) []*member {
	var all []*member
	for _, m := range members {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b *member) int { return bytes.Compare([]byte(a.name), []byte(b.name)) })
	return all
}

// eventually waits until something is the case.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); !is(); <-tick.C {
		if time.Since(began) > limit {
			t.Fatalf("after %v it isn't so that %s", limit, what)
		}
	}
}

// ended waits for the end of a term.
func ended(t testing.TB, term context.Context) {
	t.Helper()
	select {
	case <-term.Done():
	case <-time.After(limit):
		t.Fatalf("it still leads after %v", limit)
	}
}

// within is a context for a call that must not hang.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeoutCause(context.Background(), d, fmt.Errorf("no answer within %v", d))
	t.Cleanup(cancel)
	return ctx
}

// remove removes a member, by whoever leads.
func remove(t testing.TB, members map[string]*member, name string) {
	t.Helper()
	change(t, members, name+" is removed", func(lead *member) error { return lead.Remove(within(t, limit), name) })
}

// add adds a member, by whoever leads.
func add(t testing.TB, members map[string]*member, name, addr string) {
	t.Helper()
	change(t, members, name+" is added", func(lead *member) error { return lead.Add(within(t, limit), name, addr) })
}

func change(t testing.TB, members map[string]*member, what string, by func(*member) error) {
	t.Helper()
	eventually(t, what, func() bool {
		lead, _ := leader(t, members)
		err := by(lead)
		if err != nil && !errors.Is(err, ErrNotLeader) {
			t.Logf("%s, not yet: %v", what, err)
		}
		return err == nil
	})
}
