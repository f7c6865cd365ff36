package launcher

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/internal/pinned"
	"github.com/gorun-ml/gorun/internal/rendezvous"
	"github.com/gorun-ml/gorun/internal/stranger"
)

// Strangers at the broker disturb neither ranks that are there nor those that come, also
// where there is not room for all of them.
func TestStrangersAtTheBroker(t *testing.T) {
	for name, most := range map[string]int{"with room for all": 0, "with room for 200": 200} {
		t.Run(name, func(t *testing.T) {
			secret := [control.SecretBytes]byte{1, 2, 3}
			o := brokerOptions("127.0.0.1", server.RANDOM_PORT, secret)
			if most > 0 {
				o.MaxConn = most
			}
			s, err := server.NewServer(o)
			if err != nil {
				t.Fatal(err)
			}
			s.Start()
			b := &broker{server: s, secret: secret}
			t.Cleanup(b.close)
			if !s.ReadyForConnections(brokerReady) {
				t.Fatal("the broker is not ready")
			}
			nc, err := b.connect()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(nc.Close)
			hub, err := control.NewHub(nc, "j1", rendezvous.NewMemory(), silent{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = hub.Close() })
			there, err := control.Dial(t.Context(), control.Env{Job: "j1", Broker: b.addr(), Member: "0.1"}, secret)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = there.Close() })
			member := func(addr string) error {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				if err := there.Say(ctx, "I am here"); err != nil {
					return fmt.Errorf("who was there before: %w", err)
				}
				c, err := control.Dial(ctx, control.Env{Job: "j1", Broker: addr, Member: "1.1"}, secret)
				if err != nil {
					return err
				}
				if err := c.Say(ctx, "so am I"); err != nil {
					return err
				}
				return c.Close()
			}
			hello := []byte{22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3} // the beginning of one of TLS
			stranger.Attack(t, stranger.Port{
				Addr: b.addr(), Member: member, Patience: strangerSeconds * time.Second, Memory: 64 << 20,
				Openings: [][]byte{hello, []byte("CONNECT {"), []byte("PUB job 1000\r\n")},
				Claims:   [][]byte{{22, 3, 1, 0x3f, 0xff, 1, 0xff, 0xff, 0xff}, []byte("PUB job 2000000000\r\n"), []byte("CONNECT ")},
			})
		})
	}
}

// Where a job has several brokers, they meet at a port of its own.
func TestStrangersAtTheBrokersOwnPort(t *testing.T) {
	secret := [control.SecretBytes]byte{1, 2, 3}
	ports, err := freePortsOn("127.0.0.1", 1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := startBrokerAmong(t.Context(), "127.0.0.1", server.RANDOM_PORT, secret, brokers{self: "a", port: ports[0]})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.close)
	ends := pinned.New(control.BrokersKey(secret), brokersProtocol)
	member := func(addr string) error { // one that is greeted, and goes
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		c, err := ends.Dial(ctx, addr)
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }() // all was said
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		line, err := bufio.NewReader(c).ReadString('\n')
		if err == nil && !strings.HasPrefix(line, "INFO ") {
			err = fmt.Errorf("it was greeted %.80q", line)
		}
		return err
	}
	hello := []byte{22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}
	stranger.Attack(t, stranger.Port{
		Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0])), Member: member, Patience: strangerSeconds * time.Second, Memory: 64 << 20,
		Openings: [][]byte{hello, []byte("CONNECT {")},
		Claims:   [][]byte{{22, 3, 1, 0x3f, 0xff, 1, 0xff, 0xff, 0xff}, []byte("RMSG job 2000000000\r\n")},
	})
}

func TestHalfOfTheFilesAreForTheBroker(t *testing.T) {
	for files, want := range map[uint64]int{0: mostConnections, 1024: 512, 1 << 40: mostConnections} {
		if got := connections(files); got != want {
			t.Errorf("of %d files %d are for connections, want %d", files, got, want)
		}
	}
}
