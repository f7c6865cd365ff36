package control

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/gorun-ml/gorun/internal/wiretap"
)

// tapped listens in on the way to a broker.
func tapped(t *testing.T, addr string) *wiretap.Tap {
	t.Helper()
	tap, err := wiretap.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tap.Close() })
	return tap
}

// Whoever listens in between a rank and the launcher reads nothing.
func TestControlIsSecret(t *testing.T) {
	j := startJob(t)
	tap := tapped(t, j.addr)
	c, err := Dial(t.Context(), Env{Job: "j1", Broker: tap.Addr(), Member: "member of rank 0"}, j.secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.Say(t.Context(), "a line for the user"), c.Close()); err != nil {
		t.Fatal(err)
	}
	if err := tap.Close(); err != nil {
		t.Error(err)
	}
	if tap.Bytes() < 1000 {
		t.Fatalf("only %d bytes were heard", tap.Bytes())
	}
	for _, text := range []string{"a line for the user", "member of rank 0", "gorun.j1", "INFO", "CONNECT", BrokerUser(j.secret), string(j.secret[:])} {
		if tap.Heard([]byte(text)) {
			t.Errorf("%q was heard", text)
		}
	}
}

// Without TLS they would: what the test above looks for is there to be found.
func TestPlainControlIsHeard(t *testing.T) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(s.Shutdown)
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("broker is not ready after 10 s")
	}
	tap := tapped(t, s.Addr().String())
	nc, err := nats.Connect("nats://"+tap.Addr(), nats.Name("member of rank 0"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := errors.Join(nc.Publish("gorun.j1.up.say", []byte("a line for the user")), nc.FlushTimeout(10*time.Second)); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"a line for the user", "member of rank 0", "gorun.j1", "INFO", "CONNECT"} {
		if !tap.Heard([]byte(text)) {
			t.Errorf("%q was not heard", text)
		}
	}
}

// A seed that is none is an error, not a panic.
func TestLoginWithABadSeed(t *testing.T) {
	for _, seed := range []string{"", "S", "SUA", BrokerSeed([SecretBytes]byte{})[:20], BrokerUser([SecretBytes]byte{})} {
		if nc, err := nats.Connect("nats://127.0.0.1:1", Login(seed)); err == nil || errors.Is(err, nats.ErrNoServers) {
			t.Errorf("seed %q: %v, want that it is refused", seed, err)
			nc.Close()
		}
	}
}
