package launcher

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/internal/pinned"
)

// brokerReady bounds the start of a broker. It takes milliseconds on an idle machine.
const brokerReady = 10 * time.Second

// broker carries a job's control plane: a NATS server inside the launcher, on a port of its
// own, that knows one user, by the job's key. It keeps nothing: what must survive is
// state that its clients ask for again.
type broker struct {
	server *server.Server
	secret [control.SecretBytes]byte
}

// startBroker starts a broker on any free port of the bind address.
func startBroker(ctx context.Context, bind string, secret [control.SecretBytes]byte) (*broker, error) {
	return startBrokerOn(ctx, bind, server.RANDOM_PORT, secret)
}

func startBrokerOn(ctx context.Context, bind string, port int, secret [control.SecretBytes]byte) (*broker, error) {
	return startBrokerAmong(ctx, bind, port, secret, brokers{})
}

// brokers are the others of a job that has several: what one is told, all tell.
type brokers struct {
	self   string // name of this one; "" for one that is alone
	port   int    // that others connect to
	others []string
}

// routes is how brokers of a job meet: those that hold its secret, by TLS.
func (o brokers) routes(secret [control.SecretBytes]byte, bind string) (c server.ClusterOpts, routes []*url.URL) {
	ends := pinned.New(control.BrokersKey(secret), brokersProtocol)
	config := ends.Server.Clone() // both ends, for the library: either side may connect
	config.InsecureSkipVerify = true
	for _, addr := range o.others {
		routes = append(routes, &url.URL{Scheme: "nats-route", Host: addr})
	}
	return server.ClusterOpts{
		Name: "gorun", Host: bind, Port: o.port, TLSConfig: config, TLSTimeout: 2, NoAdvertise: true,
		ConnectRetries: -1, PoolSize: -1,
	}, routes
}

// brokersProtocol is the version of what brokers of a job say to each other.
const brokersProtocol = "gorun-brokers-1"

// startBrokerAmong starts one of several brokers of a job.
func startBrokerAmong(ctx context.Context, bind string, port int, secret [control.SecretBytes]byte, others brokers) (*broker, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := canListen(ctx, bind, max(port, 0)); err != nil {
		return nil, err
	}
	options := brokerOptions(bind, port, secret)
	options.ServerName = strings.Join(strings.Fields("gorun "+others.self), "-") // different from the others'
	if others.self != "" {
		if err := canListen(ctx, bind, others.port); err != nil {
			return nil, err
		}
		options.Cluster, options.Routes = others.routes(secret, bind)
	}
	s, err := server.NewServer(options)
	if err != nil {
		return nil, fmt.Errorf("control plane on %s: %w", bind, err)
	}
	s.Start()
	b := &broker{server: s, secret: secret}
	if !s.ReadyForConnections(brokerReady) {
		b.close()
		return nil, fmt.Errorf("control plane on %s: not ready after %v: is the machine overloaded?", bind, brokerReady)
	}
	return b, nil
}

const (
	strangerSeconds = 2        // for a connection to prove the job's key
	mostConnections = 16 << 10 // of members, and of strangers until they are sent away
)

// connections is how many the broker takes, where this process may open so many files: half
// of them remain for the launcher's own, and members that find no room try again for longer
// than strangers may stay.
func connections(files uint64) int {
	if files == 0 {
		return mostConnections
	}
	return int(min(mostConnections, files/2))
}

func brokerOptions(bind string, port int, secret [control.SecretBytes]byte) *server.Options {
	return &server.Options{
		Host:        bind,
		Port:        port,
		Nkeys:       []*server.NkeyUser{{Nkey: control.BrokerUser(secret)}},
		AuthTimeout: strangerSeconds,
		MaxConn:     connections(thisMachine().files),
		// All is said in TLS, from the first byte on: ranks and agents may be anywhere.
		TLSConfig:         control.BrokerTLS(secret),
		TLSHandshakeFirst: true,
		MaxPayload:        control.MaxMessage,
		PingInterval:      2 * time.Second, // a dead host's connection is closed after two without an answer
		MaxPingsOut:       2,
		// A stopped worker must not hold up the others: its connection is closed when it
		// doesn't read for so long, or when so much is waiting for it.
		WriteDeadline:    2 * time.Second,
		MaxPending:       16 << 20,
		NoLog:            true,
		NoSigs:           true,
		NoSystemAccount:  true,
		MaxSubTokens:     16,
		MaxClosedClients: 16,
	}
}

// canListen says why an address can't be listened on. The server itself would only log it.
func canListen(ctx context.Context, bind string, port int) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(bind, fmt.Sprint(port)))
	switch {
	case err == nil:
		return l.Close()
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("control plane: port %d on %s is in use by another program: choose another one", port, bind)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("control plane: this host has no address %s: %w", bind, err)
	}
	return fmt.Errorf("control plane on %s: %w", bind, err)
}

// addr is where workers reach the broker, as host:port.
func (b *broker) addr() string { return b.server.Addr().String() }

// connect returns a connection for the launcher's own use. It is one as all others have: over
// a pipe in the process the server would speak in plain to a client that is slow to begin.
func (b *broker) connect() (*nats.Conn, error) {
	for began := time.Now(); ; {
		nc, err := nats.Connect("nats://"+b.addr(), nats.Name("launcher"),
			control.Login(control.BrokerSeed(b.secret)),
			nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond), nats.ReconnectJitter(0, 0),
			nats.NoCallbacksAfterClientClose(),
			nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
		switch {
		case err == nil:
			return nc, nil
		case time.Since(began) > brokerReady: // each attempt has a bound of its own
			return nil, fmt.Errorf("control plane: the launcher's own connection: %w: is the machine overloaded?", err)
		}
	}
}

// close ends the broker and its connections, and returns when its goroutines have ended.
func (b *broker) close() {
	b.server.Shutdown()
	b.server.WaitForShutdown()
}
