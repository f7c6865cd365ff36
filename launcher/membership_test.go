package launcher

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/internal/rendezvous"
)

func startTestMember(t *testing.T, host string, secret byte) *membership {
	t.Helper()
	m, err := startMembership(gossip{Job: "j1", Host: host, Bind: "127.0.0.1", Secret: [control.SecretBytes]byte{secret}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.close() })
	return m
}

// expect waits for the next sighting and checks it.
func expect(t *testing.T, m *membership, host string, state rendezvous.State) {
	t.Helper()
	select {
	case s := <-m.sightings():
		if s.Host != host || s.State != state {
			t.Fatalf("%s saw %s in state %d, want %s in state %d", m.self, s.Host, s.State, host, state)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("%s has not seen %s in state %d after 10 s", m.self, host, state)
	}
}

// nothing checks that there is no news.
func nothing(t *testing.T, m *membership) {
	t.Helper()
	select {
	case s := <-m.sightings():
		t.Errorf("%s saw %+v, want nothing", m.self, s)
	default:
	}
}

func TestMembershipSeesHostsComeDieAndLeave(t *testing.T) {
	a, b, c := startTestMember(t, "h1", 1), startTestMember(t, "h2", 1), startTestMember(t, "h3", 1)
	if err := b.join(t.Context(), a.addr()); err != nil {
		t.Fatal(err)
	}
	expect(t, a, "h2", rendezvous.Registered)
	expect(t, b, "h1", rendezvous.Registered)
	if err := c.join(t.Context(), a.addr()); err != nil {
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

	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	expect(t, a, "h3", rendezvous.Leaving)

	// The dead one's name may be used again, at another port.
	again := startTestMember(t, "h2", 1)
	if err := again.join(t.Context(), a.addr()); err != nil {
		t.Fatal(err)
	}
	expect(t, a, "h2", rendezvous.Registered)
}

func TestMembershipRefusesASecondOfOneName(t *testing.T) {
	a, b, twin := startTestMember(t, "h1", 1), startTestMember(t, "h2", 1), startTestMember(t, "h2", 1)
	if err := b.join(t.Context(), a.addr()); err != nil {
		t.Fatal(err)
	}
	expect(t, a, "h2", rendezvous.Registered)
	err := twin.join(t.Context(), a.addr())
	if !errors.Is(err, errNameTaken) {
		t.Fatalf("a second h2 joined: %v, want %v", err, errNameTaken)
	}
	for _, part := range []string{`"h2"`, b.addr(), twin.addr()} {
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
	if err := stranger.join(t.Context(), a.addr()); !errors.Is(err, errOtherJob) {
		t.Fatalf("a stranger joined: %v, want %v", err, errOtherJob)
	}
	if n := a.list.NumMembers(); n != 1 {
		t.Errorf("h1 knows %d members, want itself alone", n)
	}
	nothing(t, a)
}

func TestMembershipSaysWhereItCannotListen(t *testing.T) {
	_, err := startMembership(gossip{Job: "j1", Host: "h1", Bind: "192.0.2.1"})
	if err == nil || !strings.Contains(err.Error(), "192.0.2.1") {
		t.Errorf("on another host's address: %v", err)
	}
}
