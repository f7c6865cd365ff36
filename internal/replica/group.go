// Package replica is a small state machine kept on several hosts, by raft: all members apply
// the same entries in the same order, an entry is applied when a majority holds it, and as
// long as a majority lives the group goes on.
//
// Nothing goes to disk: a member lives as long as its process. So a member whose process has
// died is lost with all it has promised, and must not come back under its name: two members
// could lead at once if it voted again. It joins as a new one, by another name; Remove ends
// the old one's part in the majority.
//
// One member leads, and proposals are its to make. A leader that dies is replaced within
// about 0.9 s; one that is cut off from the majority stops after 0.65 s, before another can
// be elected. A member that stands still for 0.5 s changes nothing.
//
// Members speak TLS 1.3 with a key that all of them hold. Who doesn't hold it is turned out
// before raft reads a byte.
package replica

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"github.com/gorun-ml/gorun/internal/pinned"
)

var (
	// ErrNotLeader means that another member leads, or none, and that nothing was done.
	ErrNotLeader = errors.New("this member doesn't lead")
	// ErrLost means that it is not known whether it was done, or will be.
	ErrLost = errors.New("it is not known whether it was done")
	// ErrClosed means that the member was closed, and that nothing was done.
	ErrClosed = errors.New("this member is closed")
)

// Group is one member's part in it. Its methods may be called by several goroutines.
type Group struct {
	self  string
	addr  string
	alone *alone // without peers; then there is no raft
	terms *terms

	raft   *raft.Raft
	log    *raft.InmemStore
	wire   *transport
	stream *stream
	room   chan struct{} // a token for each proposal

	mu       sync.Mutex
	closed   bool
	calls    sync.WaitGroup // what waits for raft
	over     chan struct{}  // closed when everything has ended
	follower sync.WaitGroup // follow
}

// Start starts a member. A first leader is elected within about 0.3 s where a majority is
// there by then; a member without a listener leads at once.
func Start(cfg Config) (*Group, error) {
	if err := cfg.check(); err != nil {
		if cfg.Listener != nil {
			_ = cfg.Listener.Close() // the cause is what counts
		}
		return nil, err
	}
	g := &Group{self: cfg.Self, addr: cfg.Members[cfg.Self], terms: newTerms(), over: make(chan struct{})}
	if cfg.Listener == nil {
		g.alone = &alone{machine: cfg.Machine}
		g.terms.begin(g.terms.announce())
		return g, nil
	}
	logger := cfg.logger()
	if g.addr == "" {
		g.addr = cfg.Listener.Addr().String()
	}
	g.room = make(chan struct{}, maxProposals)
	g.stream = newStream(cfg.Listener, g.addr, pinned.New(cfg.Seed, protocol), refusal(logger))
	g.stream.route = cfg.route
	g.wire = newTransport(raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Logger: logger, Stream: g.stream, MaxPool: 2, Timeout: answer, MsgpackUseNewTimeFormat: true,
		// One after the other: each batch takes all that has come meanwhile, and where they
		// overlap raft takes a connection that breaks for a sign of life.
		MaxRPCsInFlight: 1,
	}))
	notify := make(chan bool, 1)
	if err := g.startRaft(cfg, logger, notify); err != nil {
		g.stream.cutOff()
		g.closeWire()
		return nil, fmt.Errorf("member %s: %w", cfg.Self, err)
	}
	g.follower.Go(func() { g.follow(notify) })
	return g, nil
}

func (g *Group) startRaft(cfg Config, logger hclog.Logger, notify chan<- bool) error {
	config, snaps := cfg.raft(logger, notify), &snapshots{}
	g.log = raft.NewInmemStore()
	if len(cfg.Members) > 0 {
		var first raft.Configuration
		for _, name := range slices.Sorted(maps.Keys(cfg.Members)) { // alike on all members
			first.Servers = append(first.Servers, raft.Server{ID: raft.ServerID(name), Address: raft.ServerAddress(cfg.Members[name])})
		}
		if err := raft.BootstrapCluster(config, g.log, g.log, snaps, g.wire, first); err != nil {
			return err
		}
	}
	var err error
	g.raft, err = raft.NewRaft(config, applier{cfg.Machine}, g.log, g.log, snaps, g.wire)
	return err
}

// refusal logs who was refused, at most once a minute.
func refusal(logger hclog.Logger) func(net.Addr, error) {
	var mu sync.Mutex
	var last time.Time
	return func(addr net.Addr, why error) {
		mu.Lock()
		defer mu.Unlock()
		if now := time.Now(); last.IsZero() || now.Sub(last) >= time.Minute {
			last = now
			logger.Warn("a stranger was refused", "address", addr.String(), "error", why)
		}
	}
}

// follow begins and ends terms as raft tells, and looks for the leader in time, until the
// group is closed. Raft stands still until it is heard.
func (g *Group) follow(notify <-chan bool) {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	w := newWatch(time.Now())
	for {
		select {
		case now := <-tick.C:
			if g.raft.State() == raft.Follower && w.due(now, g.raft.LastContact()) {
				look(g.raft)
			}
		case leads := <-notify:
			if !leads {
				g.wire.setPatient(false)
				g.terms.over(ErrNotLeader)
				continue
			}
			g.wire.beginTerm()
			number := g.terms.announce()
			if g.enter() {
				go func() {
					defer g.calls.Done()
					if g.barrier() {
						g.terms.begin(number)
					}
				}()
			}
		case <-g.over:
			return
		}
	}
}

// barrier waits until all that was proposed in earlier terms has been applied here. It
// returns false if this member leads no more.
func (g *Group) barrier() bool {
	retry := time.NewTicker(10 * time.Millisecond)
	defer retry.Stop()
	for {
		err := g.raft.Barrier(0).Error()
		if err != raft.ErrLeadershipTransferInProgress { // of an earlier term; it ends soon
			return err == nil
		}
		<-retry.C
	}
}

// enter begins something that waits for raft, unless the group is closed. It ends with
// g.calls.Done.
func (g *Group) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.calls.Add(1)
	}
	return !g.closed
}

// Propose adds an entry, and returns what this member's machine has made of it once a
// majority holds it. Only the leader can: elsewhere it returns ErrNotLeader. When it returns
// ErrLost the entry may be in force on all members, now, later or never. The entry, of 1 MiB
// at most, belongs to the group from now on. Entries that one goroutine proposes one after
// the other are applied in that order; many goroutines may propose at once, which takes
// hardly longer.
func (g *Group) Propose(ctx context.Context, entry []byte) (any, error) {
	if err := fits("entry", len(entry), maxEntry); err != nil {
		return nil, err
	}
	if g.alone != nil {
		return g.alone.propose(ctx, entry)
	}
	select {
	case g.room <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	var result any
	err := g.call(ctx, func() error {
		defer func() { <-g.room }()
		f := g.raft.Apply(entry, 0)
		err := f.Error()
		if err == nil {
			result = f.Response()
		}
		return err
	})
	if err != nil {
		return nil, err // what the call still does with the result is nobody's
	}
	return result, nil
}

// call runs something that waits for raft, and returns when it has ended or ctx has.
func (g *Group) call(ctx context.Context, f func() error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !g.enter() {
		return ErrClosed
	}
	done := make(chan error, 1)
	go func() {
		defer g.calls.Done()
		done <- verdict(f())
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrLost, context.Cause(ctx))
	}
}

// verdict is what raft says, as callers know it.
func verdict(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return ErrNotLeader
	case errors.Is(err, raft.ErrLeadershipLost):
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	return err
}

// Lead waits until this member leads and has applied all that came before, and returns the
// term: a context that ends when it leads no more, 0.65 s after it was cut off from the
// majority at the latest. A member whose process was stopped for longer notices when it goes
// on; whatever it proposes then is refused by the others.
func (g *Group) Lead(ctx context.Context) (term context.Context, err error) {
	return g.terms.wait(ctx)
}

// Leader returns the name of the member that leads as far as this one knows, or "".
func (g *Group) Leader() string {
	if g.alone != nil {
		return g.self
	}
	_, id := g.raft.LeaderWithID()
	return string(id)
}

// Members returns all members' addresses by name, as far as this one knows.
func (g *Group) Members() map[string]string {
	members := map[string]string{}
	if g.alone != nil {
		members[g.self] = g.addr
		return members
	}
	for _, s := range g.raft.GetConfiguration().Configuration().Servers {
		members[string(s.ID)] = string(s.Address)
	}
	return members
}

// Close ends this member's part. The others miss it as if it had died: a leader that leaves
// on purpose calls Transfer before, one that won't be back is removed. What waits returns
// ErrLost or ErrClosed. It takes 0.7 s at most, and as long as the machine needs for
// what it was given.
func (g *Group) Close() error {
	g.mu.Lock()
	first := !g.closed
	g.closed = true
	g.mu.Unlock()
	if !first {
		<-g.over
		return nil
	}
	g.terms.close(ErrClosed)
	if g.alone != nil {
		g.alone.close()
		close(g.over)
		return nil
	}
	// Raft forgets what it has not applied when it is shut down, and who waits for that
	// would wait for ever. So it is cut off first, and loses the lease.
	g.stream.cutOff()
	g.wire.endPatience()
	g.calls.Wait()
	err := g.raft.Shutdown().Error()
	g.closeWire()
	close(g.over)
	g.follower.Wait()
	return err
}

// closeWire ends raft's transport after the stream was cut off.
func (g *Group) closeWire() {
	_ = g.wire.Close()
	g.wire.CloseStreams()
	g.stream.join()
}
