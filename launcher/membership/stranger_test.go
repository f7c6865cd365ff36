package membership

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/gorun-ml/gorun/internal/rendezvous"
	"github.com/gorun-ml/gorun/internal/stranger"
)

// Strangers at the gossip's port change nothing for the hosts that see each other, and keep
// nobody from joining them.
func TestStrangers(t *testing.T) {
	a, b := startPatient(t, "h1"), startPatient(t, "h2")
	if err := b.Join(t.Context(), a.Addr()); err != nil {
		t.Fatal(err)
	}
	joined := 0
	member := func(addr string) (err error) {
		joined++
		host := fmt.Sprintf("guest%d", joined)
		m, err := Start(patient(host))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, m.Close()) }()
		if err := m.Join(t.Context(), addr); err != nil {
			return err
		}
		return sees(a, host)
	}
	label := append([]byte{244, 2}, "j1"...)            // the library's header for a group
	encrypted := append(append([]byte{}, label...), 10) // and for what only the key opens
	big := binary.BigEndian.AppendUint32(append([]byte{}, encrypted...), 20<<20)
	stranger.Attack(t, stranger.Port{
		Addr: a.Addr(), Member: member, Patience: joinWithin, Memory: 64 << 20,
		Openings: [][]byte{label, binary.BigEndian.AppendUint32(append([]byte{}, encrypted...), 1<<20)},
		Claims:   [][]byte{big, binary.BigEndian.AppendUint32(append([]byte{}, encrypted...), 1<<31)},
	})
	if err := errors.Join(sees(a, "h2"), sees(b, "h1")); err != nil {
		t.Error(err)
	}
}

// listener is a transport that keeps what is sent by UDP.
type listener struct {
	*memberlist.NetTransport
	mu   sync.Mutex
	sent [][]byte
}

func (l *listener) WriteToAddress(p []byte, to memberlist.Address) (time.Time, error) {
	l.mu.Lock()
	l.sent = append(l.sent, bytes.Clone(p))
	l.mu.Unlock()
	return l.NetTransport.WriteToAddress(p, to)
}

// overheard is the packets of a host that joins, is probed and leaves.
func overheard(t *testing.T, m *Membership) [][]byte {
	t.Helper()
	c := memberlist.DefaultLANConfig()
	c.Logger = log.New(io.Discard, "", 0)
	transport, err := memberlist.NewNetTransport(&memberlist.NetTransportConfig{BindAddrs: []string{"127.0.0.1"}, Logger: c.Logger})
	if err != nil {
		t.Fatal(err)
	}
	ear := &listener{NetTransport: transport}
	c.Name, c.Label, c.SecretKey, c.Transport = "ghost", "j1", patient("").Key, ear
	c.BindAddr, c.BindPort, c.AdvertisePort = "127.0.0.1", transport.GetAutoBindPort(), transport.GetAutoBindPort()
	c.EnableCompression = false
	ghost, err := memberlist.Create(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ghost.Join([]string{m.Addr()}); err != nil {
		t.Fatal(err)
	}
	if err := sees(m, "ghost"); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); m.RTT("ghost") == 0; <-tick.C {
		if time.Since(began) > 20*time.Second {
			t.Fatal("the host that is overheard is not probed within 20 s")
		}
	}
	if err := errors.Join(ghost.Leave(10*time.Second), ghost.Shutdown()); err != nil {
		t.Fatal(err)
	}
	ear.mu.Lock()
	defer ear.mu.Unlock()
	if len(ear.sent) == 0 {
		t.Fatal("nothing was overheard")
	}
	return ear.sent
}

// Nonsense by UDP, and packets that are sent again, change nothing either: a host that has
// left doesn't come back.
func TestStrangePackets(t *testing.T) {
	a, b := startPatient(t, "h1"), startPatient(t, "h2")
	if err := b.Join(t.Context(), a.Addr()); err != nil {
		t.Fatal(err)
	}
	packets := overheard(t, a)
	noise := make([]byte, 60<<10)
	_, _ = rand.Read(noise) // never fails
	for n := range 500 {
		packets = append(packets, noise[:n*n%len(noise)], append([]byte{244, 2, 'j', '1', 10, 1}, noise[:n]...))
	}
	for _, m := range []*Membership{a, b} {
		c, err := net.Dial("udp", m.Addr())
		if err != nil {
			t.Fatal(err)
		}
		for range 4 {
			for _, p := range packets {
				_, _ = c.Write(p) // the kernel drops what is too much
			}
		}
		_ = c.Close() // all was sent
	}
	late := startPatient(t, "h3")
	if err := late.Join(t.Context(), a.Addr()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(sees(a, "h3"), sees(b, "h3"), sees(late, "h1"), sees(late, "h2"), sees(a, "h2"), sees(b, "h1")); err != nil {
		t.Error(err)
	}
	for _, m := range []*Membership{a, b, late} {
		m.observer.mu.Lock()
		at, back := m.observer.alive["ghost"]
		m.observer.mu.Unlock()
		if back {
			t.Errorf("%s takes the host that has left for alive, at %s", m.self, at)
		}
	}
}

// patient is a host of a group whose members are not soon taken for dead: what is tested is
// not how fast this machine is.
func patient(host string) Config {
	return Config{Group: "j1", Host: host, Bind: "127.0.0.1", Key: append(make([]byte, 31), 1), Patience: 30}
}

func startPatient(t *testing.T, host string) *Membership {
	t.Helper()
	m, err := Start(patient(host))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// sees waits until a host takes another for alive, and fails where it has taken any for dead.
func sees(m *Membership, host string) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); time.Since(began) < 20*time.Second; <-tick.C {
		for news := true; news; {
			select {
			case s := <-m.Sightings():
				if s.State == rendezvous.Dead && s.Host != "ghost" { // which leaves without gorun's word for it
					return fmt.Errorf("%s takes %s for dead", m.self, s.Host)
				}
			default:
				news = false
			}
		}
		m.observer.mu.Lock()
		_, alive := m.observer.alive[host]
		m.observer.mu.Unlock()
		if alive {
			return nil
		}
	}
	return fmt.Errorf("%s has not seen %s after 20 s", m.self, host)
}
