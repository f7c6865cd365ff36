package replica

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
)

// TestMembersComeAndGo begins with one member, adds others late, so that they need a
// snapshot, and replaces one that has died.
func TestMembersComeAndGo(t *testing.T) {
	n := newNetwork(t)
	members := startMembers(t, n, "a")
	a := members["a"]
	propose(t, members, "first")
	var proposing sync.WaitGroup
	for c := range 64 {
		proposing.Go(func() {
			for i := range 100 {
				if _, err := a.Propose(within(t, limit), fmt.Appendf(nil, "%d-%d", c, i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	proposing.Wait()
	eventually(t, "the log is cut", func() bool {
		first, last := firstLast(t, a)
		return first > 1 && last-first < 6401
	})
	for _, name := range []string{"b", "c"} {
		l := n.listen(t, name)
		m := startMember(t, n, Config{Self: name, Listener: l})
		add(t, members, name, l.Addr().String())
		add(t, members, name, l.Addr().String()) // which is nothing
		members[name] = m
	}
	same(t, 6401, slice(members)...)
	for _, name := range []string{"b", "c"} {
		if members[name].seq.restores() == 0 {
			t.Errorf("%s has restored no snapshot", name)
		}
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = free.Close()
	lead, term := leader(t, members)
	if err := lead.Add(within(t, limit), "c", "127.0.0.1:1"); !says(err, "a new one needs a name of its own") && term.Err() == nil {
		t.Errorf("another member of the same name: %v", err)
	}
	if err := lead.Add(within(t, limit), "d", free.Addr().String()); !says(err, `member "d" can't be reached`) && term.Err() == nil {
		t.Errorf("a member that doesn't answer: %v", err)
	}
	if err := lead.Remove(within(t, limit), "nobody"); err != nil && term.Err() == nil {
		t.Errorf("removing who isn't there: %v", err)
	}

	members["b"].stop(t)
	delete(members, "b")
	propose(t, members, "without b")
	remove(t, members, "b")
	l := n.listen(t, "d")
	d := startMember(t, n, Config{Self: "d", Listener: l})
	add(t, members, "d", l.Addr().String())
	members["d"] = d
	want := slices.Sorted(maps.Keys(members))
	for _, m := range members {
		eventually(t, m.name+" knows all members", func() bool {
			return slices.Equal(slices.Sorted(maps.Keys(m.Members())), want)
		})
	}

	// A planned leave: another leads at once, and the one that has left may end.
	handOver(t, members)
	lead, _ = leader(t, members)
	remove(t, members, lead.name) // itself
	lead.stop(t)
	delete(members, lead.name)
	propose(t, members, "two are left")
	same(t, 6403, slice(members)...)
}

// handOver has whoever leads hand over.
func handOver(t *testing.T, members map[string]*member) {
	t.Helper()
	lead, term := leader(t, members)
	change(t, members, "it is handed over", func(now *member) error {
		if now != lead {
			return nil
		}
		return lead.Transfer(within(t, limit))
	})
	ended(t, term)
}

// says says whether an error has the text in it.
func says(err error, text string) bool { return err != nil && strings.Contains(err.Error(), text) }

func firstLast(t *testing.T, m *member) (first, last uint64) {
	t.Helper()
	first, err := m.log.FirstIndex()
	if err != nil {
		t.Fatal(err)
	}
	last, err = m.log.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	return first, last
}

// TestTransferPassesOverTheDead hands over while one of the others is down.
func TestTransferPassesOverTheDead(t *testing.T) {
	members := startMembers(t, newNetwork(t), "a", "b", "c")
	lead := propose(t, members, "0")
	down := slice(without(members, lead.name))[0]
	down.stop(t)
	delete(members, down.name)
	handOver(t, members)
	propose(t, members, "1")
	same(t, 2, slice(members)...)
}
