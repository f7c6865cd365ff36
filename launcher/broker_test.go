package launcher

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/internal/rendezvous"
	"github.com/gorun-ml/gorun/launcher/membership"
)

func TestBrokerCarriesTheControlPlane(t *testing.T) {
	secret := [control.SecretBytes]byte{1, 2, 3}
	started := time.Now()
	b, err := startBroker(t.Context(), "127.0.0.1", secret)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.close)
	t.Logf("started in %v", time.Since(started))
	if host, port, err := net.SplitHostPort(b.addr()); err != nil || host != "127.0.0.1" || port == "0" {
		t.Fatalf("address is %q (%v), want a port of 127.0.0.1", b.addr(), err)
	}
	nc, err := b.connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	store := rendezvous.NewMemory()
	hub, err := control.NewHub(nc, "j1", store, silent{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hub.Close() })

	worker, err := control.Dial(t.Context(), control.Env{Job: "j1", Broker: b.addr(), Member: "0.1"}, secret)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = worker.Close() }()
	if err := store.Commit(t.Context(), 0, rendezvous.Generation{ID: 1}); err != nil {
		t.Fatal(err)
	}
	if g, err := worker.Watch(t.Context(), 0); err != nil || g.ID != 1 {
		t.Fatalf("watch returned generation %d (%v), want 1", g.ID, err)
	}
}

// silent is a handler for tests that aren't about what workers say.
type silent struct{}

func (silent) Registered(rendezvous.Member) error { return nil }
func (silent) Reported(control.Report)            {}
func (silent) Failed(control.Failure) error       { return nil }
func (silent) Finished(control.Finish) error      { return nil }
func (silent) Saved(control.Saved) error          { return nil }
func (silent) Stranded(control.Stranded) error    { return nil }
func (silent) Pulsed(control.Pulse)               {}
func (silent) Said(string, string) error          { return nil }

func TestBrokerRefusesStrangers(t *testing.T) {
	b, err := startBroker(t.Context(), "127.0.0.1", [control.SecretBytes]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.close)
	for name, options := range map[string][]nats.Option{
		"in plain":    {nats.Timeout(100 * time.Millisecond)}, // it hears nothing
		"without key": {nats.Secure(&tls.Config{InsecureSkipVerify: true, NextProtos: []string{"gorun-control-1"}}), nats.TLSHandshakeFirst()},
	} {
		if nc, err := nats.Connect("nats://"+b.addr(), options...); err == nil {
			t.Errorf("%s: let in", name)
			nc.Close()
		}
	}
	_, err = control.Dial(t.Context(), control.Env{Job: "j1", Broker: b.addr()}, [control.SecretBytes]byte{2})
	if !errors.Is(err, control.ErrAuth) {
		t.Errorf("with another job's secret: %v, want %v", err, control.ErrAuth)
	}
}

func TestBrokerSaysWhyItCannotStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	port := taken.Addr().(*net.TCPAddr).Port
	if _, err := startBrokerOn(t.Context(), "127.0.0.1", port, [control.SecretBytes]byte{}); err == nil || !strings.Contains(err.Error(), "is in use") {
		t.Errorf("on a taken port: %v", err)
	}
	if _, err := startBroker(t.Context(), "192.0.2.1", [control.SecretBytes]byte{}); err == nil || !strings.Contains(err.Error(), "192.0.2.1") {
		t.Errorf("on another host's address: %v", err)
	}
	ended, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("interrupted")
	cancel(stop)
	if _, err := startBroker(ended, "127.0.0.1", [control.SecretBytes]byte{}); !errors.Is(err, stop) {
		t.Errorf("after the context's end: %v, want %v", err, stop)
	}
}

// What is closed leaves no goroutine behind. The libraries don't wait for all of theirs.
func TestBrokerAndMembershipLeaveNothingRunning(t *testing.T) {
	b, err := startBroker(t.Context(), "127.0.0.1", [control.SecretBytes]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	nc, err := b.connect()
	if err != nil {
		t.Fatal(err)
	}
	m, err := membership.Start(membership.Config{Group: "j1", Host: "h1", Bind: "127.0.0.1", Key: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	b.close()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); ; <-tick.C {
		left, buf := "", make([]byte, 1<<20)
		for _, stack := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(stack, "nats-io/") || strings.Contains(stack, "hashicorp/memberlist") {
				left = stack
			}
		}
		if left == "" {
			return
		}
		if time.Since(began) > 5*time.Second {
			t.Fatalf("still running:\n%s", left)
		}
	}
}
