// Package membership is hosts that see each other come, die and leave, by gossip.
package membership

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/gorun-ml/gorun/internal/rendezvous"
)

// Sighting is what this host's gossip says of another host. It is one observer's word: it
// suggests, others decide.
type Sighting struct {
	Host, Addr string
	State      rendezvous.State // Registered, Dead or Leaving
	Since      time.Time
	Meta       []byte // what it tells of itself, while it is Registered
}

// MaxMeta bounds what a host tells of itself, in bytes: with it go name and address, into
// one packet.
const MaxMeta = memberlist.MetaMaxSize

// Config is how a host takes part.
type Config struct {
	Group string    // whose members these are; gossip of another group is dropped
	Host  string    // this host's name, unique in the group
	Bind  string    // address, without a port
	Port  int       // 0 for any that is free
	Key   []byte    // encrypts the gossip (32 bytes: AES-256)
	Meta  []byte    // what this host tells of itself, see SetMeta
	Log   io.Writer // what the library has to say; nil for nothing
	// Patience is for how many probes, of 200 ms each and more with over 10 hosts, a host
	// may be silent until it is dead. 0 is 3: a crash is known to all in 0.9 to 1.6 s, and
	// one that is stopped for a second is as good as dead.
	Patience int
}

// Membership is the hosts that see each other. Nothing waits for it: who needs to know who
// is there asks the hosts themselves.
type Membership struct {
	self     string
	addr     string
	list     *memberlist.Memberlist
	observer *observer
	stop     context.CancelFunc
	settle   chan struct{} // one token if others were joined and not all they know has come
	joined   sync.WaitGroup
	closing  sync.Once
}

const (
	tellWithin  = 500 * time.Millisecond // for a word of this host to get out
	joinWithin  = 2 * time.Second        // for one host to answer
	settleAfter = time.Second            // from having joined until others are asked too
	settleHosts = 3                      // how many
)

var (
	// ErrNameTaken means that two hosts go by one name.
	ErrNameTaken = errors.New("host name is taken")
	// ErrStranger means that nobody there accepted this host's key.
	ErrStranger = errors.New("no agent there, or one that holds another key")
	// ErrMeta means that a host can't tell this of itself.
	ErrMeta = errors.New("not to be told by gossip")
)

// Start listens on the bind address. The membership is this host alone
// until it joins others or they join it.
func Start(cfg Config) (*Membership, error) {
	if cfg.Log == nil {
		cfg.Log = io.Discard
	}
	o := newObserver(cfg.Host)
	if err := o.tells(cfg.Meta); err != nil {
		return nil, err
	}
	c := memberlist.DefaultLANConfig()
	c.Name, c.Label = cfg.Host, cfg.Group
	c.BindAddr, c.BindPort, c.AdvertisePort = cfg.Bind, cfg.Port, cfg.Port
	c.SecretKey = cfg.Key
	c.Events, c.Merge, c.Conflict, c.Delegate, c.Ping = o, o, o, o, o
	c.Logger = log.New(cfg.Log, "", log.LstdFlags|log.Lmicroseconds)
	// With the defaults a crash is known to all after 5 to 8 s.
	c.ProbeInterval, c.ProbeTimeout = 200*time.Millisecond, 100*time.Millisecond
	c.SuspicionMult = 3
	if cfg.Patience > 0 {
		// A suspicion that nobody shares takes three times as long, no more: the suspicious
		// host may be the one that is too slow, and there may be nobody else to ask.
		c.SuspicionMult, c.SuspicionMaxTimeoutMult = cfg.Patience, 3
	}
	c.GossipInterval = 100 * time.Millisecond
	c.PushPullInterval = 5 * time.Second // heals what a partition or a lost packet left behind
	c.TCPTimeout = joinWithin
	c.EnableCompression = false             // it took a fifth of the processor's time and spares no packet
	c.DeadNodeReclaimTime = time.Nanosecond // a host that died may come back at another port
	list, err := create(c)
	if err != nil {
		return nil, fmt.Errorf("membership of host %s on %s: %w", cfg.Host, cfg.Bind, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	m := &Membership{self: cfg.Host, addr: list.LocalNode().Address(), list: list, observer: o, stop: stop, settle: make(chan struct{}, 1)}
	m.joined.Go(func() { o.deliver(ctx) })
	m.joined.Go(func() { m.settles(ctx) })
	return m, nil
}

// Addr is where other hosts join this one, as host:port.
func (m *Membership) Addr() string { return m.addr }

// Join meets the hosts at the given addresses, and through them all that they know. One
// that answers is enough.
func (m *Membership) Join(ctx context.Context, addrs ...string) error {
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
			select {
			case m.settle <- struct{}{}:
			default:
			}
			return nil
		}
		return fmt.Errorf("host %s joining %v: %w: %w", m.self, addrs, ErrStranger, err)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// settles asks a few others for all they know, once, a while after this host has joined.
// Hosts that join at the same time as it aren't known to whom it has joined, and the word
// that they are there is sent to few: one that misses it would wait for the next exchange
// of its own, which took up to 33 s.
func (m *Membership) settles(ctx context.Context) {
	for {
		select {
		case <-m.settle:
		case <-ctx.Done():
			return
		}
		timer := time.NewTimer(settleAfter)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		others := m.observer.others()
		rand.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
		for _, addr := range others[:min(len(others), settleHosts)] {
			if ctx.Err() == nil {
				_ = m.observer.refusal()           // of one who came here with this host's name
				_, _ = m.list.Join([]string{addr}) // who is gone has nothing to say
				m.observer.yields()
			}
		}
	}
}

// SetMeta changes what this host tells of itself: at most MaxMeta bytes. The others hear of
// it soon.
func (m *Membership) SetMeta(meta []byte) error {
	if err := m.observer.tells(meta); err != nil {
		return err
	}
	_ = m.list.UpdateNode(tellWithin) // else it is still on its way
	return nil
}

// RTT is how long the last probe of a host took there and back; 0 if there was none yet.
func (m *Membership) RTT(host string) time.Duration { return m.observer.roundTrip(host) }

// Conflict tells, at most once, that another host of this one's name has joined elsewhere at
// the same time, and that this host is the one to go.
func (m *Membership) Conflict() <-chan error { return m.observer.conflict }

// Sightings gives what changed since it was last looked at: the newest word on each host.
// It is closed by Close.
func (m *Membership) Sightings() <-chan Sighting { return m.observer.out }

// Close leaves the others, so that they know it was planned, and ends.
func (m *Membership) Close() error {
	return m.end(func() {
		// Nobody to tell, or nobody who answers, is no reason not to go.
		m.observer.leaves()
		_ = m.list.UpdateNode(tellWithin)
		_ = m.list.Leave(tellWithin)
	})
}

// crash ends without a word to the others.
func (m *Membership) crash() error { return m.end(func() {}) }

func (m *Membership) end(farewell func()) (err error) {
	m.closing.Do(func() {
		farewell()
		err = m.list.Shutdown()
		m.stop()
		m.joined.Wait()
	})
	return err
}
