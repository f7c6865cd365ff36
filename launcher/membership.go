package launcher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/internal/rendezvous"
)

// hostSighting is what this agent's gossip says of another host. It is one observer's word:
// it suggests, rendezvous.Next decides.
type hostSighting struct {
	Host, Addr string
	State      rendezvous.State // Registered, Dead or Leaving
	Since      time.Time
}

// gossip is how an agent takes part in its job's membership.
type gossip struct {
	Job    string
	Host   string // this agent's name, unique in the job
	Bind   string // address, without a port
	Secret [control.SecretBytes]byte
	Log    io.Writer // what the library has to say; nil for nothing
}

// membership is the agents that see each other, by gossip. Nothing waits for it: a start
// that needs to know who is there asks the agents themselves.
type membership struct {
	self     string
	list     *memberlist.Memberlist
	observer *observer
	stop     context.CancelFunc
	joined   sync.WaitGroup
	closing  sync.Once
}

const (
	leaveWithin = 500 * time.Millisecond // for the word that this agent leaves to get out
	joinWithin  = 2 * time.Second        // for one agent to answer
)

var (
	// errNameTaken means that two agents go by one name.
	errNameTaken = errors.New("host name is taken")
	// errOtherJob means that an agent didn't accept this job's secret.
	errOtherJob = errors.New("no agent there, or one of another job, whose secret differs")
)

// startMembership listens on any free port of the bind address. Its membership is this
// agent alone until it joins others or they join it.
func startMembership(g gossip) (*membership, error) {
	if g.Log == nil {
		g.Log = io.Discard
	}
	o := newObserver(g.Host)
	c := memberlist.DefaultLANConfig()
	c.Name, c.Label = g.Host, "gorun "+g.Job
	c.BindAddr, c.BindPort, c.AdvertisePort = g.Bind, 0, 0
	c.SecretKey = control.GossipKey(g.Secret)
	c.Events, c.Merge, c.Conflict, c.Delegate = o, o, o, o
	c.Logger = log.New(g.Log, "", log.LstdFlags|log.Lmicroseconds)
	// A crash is known to all in 0.9 to 1.6 s, where the defaults take 5 to 8 s.
	c.ProbeInterval, c.ProbeTimeout, c.SuspicionMult = 200*time.Millisecond, 100*time.Millisecond, 3
	c.GossipInterval = 100 * time.Millisecond
	c.PushPullInterval = 5 * time.Second // heals what a partition or a lost packet left behind
	c.TCPTimeout = joinWithin
	c.DeadNodeReclaimTime = time.Nanosecond // a host that died may come back at another port
	list, err := memberlist.Create(c)
	if err != nil {
		return nil, fmt.Errorf("membership of host %s on %s: %w", g.Host, g.Bind, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	m := &membership{self: g.Host, list: list, observer: o, stop: stop}
	m.joined.Go(func() { o.deliver(ctx) })
	return m, nil
}

// addr is where other agents join this one, as host:port.
func (m *membership) addr() string { return m.list.LocalNode().Address() }

// join meets the agents at the given addresses, and through them all that they know. One
// that answers is enough.
func (m *membership) join(ctx context.Context, addrs ...string) error {
	_ = m.observer.refusal() // of an earlier attempt
	result := make(chan error, 1)
	m.joined.Go(func() { // bounded by joinWithin for each address
		_, err := m.list.Join(addrs)
		result <- err
	})
	select {
	case err := <-result:
		if taken := m.observer.refusal(); taken != nil {
			return taken
		}
		if err == nil {
			return nil
		}
		return fmt.Errorf("host %s joining %v: %w: %w", m.self, addrs, errOtherJob, err)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// sightings gives what changed since it was last looked at: the newest word on each host.
// It is closed by close.
func (m *membership) sightings() <-chan hostSighting { return m.observer.out }

// close leaves the others, so that they know it was planned, and ends.
func (m *membership) close() error {
	return m.end(func() {
		// Nobody to tell, or nobody who answers, is no reason not to go.
		m.observer.leaves()
		_ = m.list.UpdateNode(leaveWithin)
		_ = m.list.Leave(leaveWithin)
	})
}

// crash ends without a word to the others.
func (m *membership) crash() error { return m.end(func() {}) }

func (m *membership) end(farewell func()) (err error) {
	m.closing.Do(func() {
		farewell()
		err = m.list.Shutdown()
		m.stop()
		m.joined.Wait()
	})
	return err
}
