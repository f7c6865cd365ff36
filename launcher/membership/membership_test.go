package membership

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/internal/rendezvous"
)

func startTestMember(t *testing.T, host string, secret byte) *Membership {
	t.Helper()
	key := make([]byte, 32)
	key[0] = secret
	m, err := Start(Config{Group: "j1", Host: host, Bind: "127.0.0.1", Key: key})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// expect waits for the next sighting and checks it.
func expect(t *testing.T, m *Membership, host string, state rendezvous.State) {
	t.Helper()
	select {
	case s := <-m.Sightings():
		if s.Host != host || s.State != state {
			t.Fatalf("%s saw %s in state %d, want %s in state %d", m.self, s.Host, s.State, host, state)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("%s has not seen %s in state %d after 10 s", m.self, host, state)
	}
}

// nothing checks that there is no news.
func nothing(t *testing.T, m *Membership) {
	t.Helper()
	select {
	case s := <-m.Sightings():
		t.Errorf("%s saw %+v, want nothing", m.self, s)
	default:
	}
}

func TestMembershipSeesHostsComeDieAndLeave(t *testing.T) {
	a, b, c := startTestMember(t, "h1", 1), startTestMember(t, "h2", 1), startTestMember(t, "h3", 1)
	if err := b.Join(t.Context(), a.Addr()); err != nil {
		t.Fatal(err)
	}
	expect(t, a, "h2", rendezvous.Registered)
	expect(t, b, "h1", rendezvous.Registered)
	if err := c.Join(t.Context(), a.Addr()); err != nil {
		t.Fatal(err)
	}
	expect(t, a, "h3", rendezvous.Registered)
	expect(t, b, "h3", rendezvous.Registered)

	// A crash: the sockets close and nobody is told.
	died := time.Now()
	if err := b.crash(); err != nil {
		t.Fatal(err)
	}
	expect(t, a, "h2", rendezvous.Dead)
	took := time.Since(died)
	t.Logf("death seen after %v", took)
	if took > 3*time.Second {
		t.Errorf("a death was seen after %v, want under 3 s", took)
	}

	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	expect(t, a, "h3", rendezvous.Leaving)

	// The dead one's name may be used again, at another port.
	again := startTestMember(t, "h2", 1)
	if err := again.Join(t.Context(), a.Addr()); err != nil {
		t.Fatal(err)
	}
	expect(t, a, "h2", rendezvous.Registered)
}

func TestMembershipRefusesASecondOfOneName(t *testing.T) {
	a, b, twin := startTestMember(t, "h1", 1), startTestMember(t, "h2", 1), startTestMember(t, "h2", 1)
	if err := b.Join(t.Context(), a.Addr()); err != nil {
		t.Fatal(err)
	}
	expect(t, a, "h2", rendezvous.Registered)
	err := twin.Join(t.Context(), a.Addr())
	if !errors.Is(err, ErrNameTaken) {
		t.Fatalf("a second h2 joined: %v, want %v", err, ErrNameTaken)
	}
	for _, part := range []string{`"h2"`, b.Addr(), twin.Addr()} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q doesn't name %s", err, part)
		}
	}
	nothing(t, a)
	// The first is untouched.
	if n := a.list.NumMembers(); n != 2 {
		t.Errorf("h1 knows %d members, want 2", n)
	}
}

func TestMembershipRefusesAnotherJobsSecret(t *testing.T) {
	a, stranger := startTestMember(t, "h1", 1), startTestMember(t, "h2", 2)
	if err := stranger.Join(t.Context(), a.Addr()); !errors.Is(err, ErrStranger) {
		t.Fatalf("a stranger joined: %v, want %v", err, ErrStranger)
	}
	if n := a.list.NumMembers(); n != 1 {
		t.Errorf("h1 knows %d members, want itself alone", n)
	}
	nothing(t, a)
}

func TestMembershipSaysWhereItCannotListen(t *testing.T) {
	_, err := Start(Config{Group: "j1", Host: "h1", Bind: "192.0.2.1", Key: make([]byte, 32)})
	if err == nil || !strings.Contains(err.Error(), "192.0.2.1") {
		t.Errorf("on another host's address: %v", err)
	}
}

func TestMembershipTellsWhatHostsSayOfThemselves(t *testing.T) {
	a, b := startTestMember(t, "h1", 1), startTestMember(t, "h2", 1)
	if err := b.SetMeta([]byte("4 slots")); err != nil {
		t.Fatal(err)
	}
	if err := b.Join(t.Context(), a.Addr()); err != nil {
		t.Fatal(err)
	}
	expectMeta(t, a, "h2", "4 slots")
	if err := b.SetMeta(bytes.Repeat([]byte("x"), MaxMeta)); err != nil {
		t.Fatal(err)
	}
	expectMeta(t, a, "h2", strings.Repeat("x", MaxMeta))
	for _, bad := range []string{strings.Repeat("x", MaxMeta+1), leavingMeta} {
		if err := b.SetMeta([]byte(bad)); !errors.Is(err, ErrMeta) {
			t.Errorf("%d bytes to be told: %v, want %v", len(bad), err, ErrMeta)
		}
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); a.RTT("h2") <= 0; <-tick.C {
		if time.Since(began) > 10*time.Second {
			t.Fatal("h1 has not measured the way to h2 after 10 s")
		}
	}
}

// expectMeta waits for the sighting that tells what a host says of itself.
func expectMeta(t *testing.T, m *Membership, host, meta string) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		select {
		case s := <-m.Sightings():
			if s.Host == host && s.State == rendezvous.Registered && string(s.Meta) == meta {
				return
			}
		case <-deadline:
			t.Fatalf("%s has not heard %q of %s after 10 s", m.self, meta, host)
		}
	}
}

// Two hosts of one name that join different others at the same time: nobody who lets one in
// knows of the other yet.
func TestMembershipFindsOutAboutASecondOfOneName(t *testing.T) {
	a, b := startTestMember(t, "h1", 1), startTestMember(t, "h2", 1)
	if err := b.Join(t.Context(), a.Addr()); err != nil {
		t.Fatal(err)
	}
	twins := []*Membership{startTestMember(t, "twin", 1), startTestMember(t, "twin", 1)}
	if twins[0].Addr() > twins[1].Addr() {
		twins[0], twins[1] = twins[1], twins[0]
	}
	refused := make([]error, 2)
	var joining sync.WaitGroup
	for i, seed := range []*Membership{a, b} {
		joining.Go(func() { refused[i] = twins[i].Join(t.Context(), seed.Addr()) })
	}
	joining.Wait()
	if refused[0] != nil || refused[1] != nil {
		return // one came late enough to be told at once
	}
	select {
	case err := <-twins[1].Conflict():
		if !errors.Is(err, ErrNameTaken) {
			t.Errorf("the second was told: %v, want %v", err, ErrNameTaken)
		}
	case <-time.After(15 * time.Second):
		t.Fatal("the second was not told after 15 s")
	}
	select {
	case err := <-twins[0].Conflict():
		t.Errorf("the first was told too: %v", err)
	default:
	}
}
