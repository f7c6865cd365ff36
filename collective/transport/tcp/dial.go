package tcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/gorun-ml/gorun/collective/transport"
)

const (
	// A peer that refuses connections for this long has gone: it listened before its
	// address became known.
	refusedFor = time.Second
	// A peer that leaves so many connections in a row unanswered, each for as long as a
	// handshake may take, is out of reach: its host's kernel would answer for it.
	unanswered = 4
	// How long a lane may take to be made. The peer lives and needs to do nothing for it.
	laneWithin = 10 * time.Second
	// How many handshakes a rank begins at once. With all of them at once, those of 64 ranks
	// on two cores keep each other from ending within their bound.
	mostGreetings = 8
)

// dial connects to a peer for a lane or as control connection, and tries again until ctx
// ends where that may help. It returns a PeerError of what doesn't get better. The caller has
// its turn for the first handshake.
func (m *Mesh) dial(ctx context.Context, peer transport.Peer, lane uint16) (*wire, error) {
	var refused time.Time // since when
	silent := 0           // in a row
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		c, again, err := m.try(ctx, peer, lane)
		if err == nil {
			return c, nil
		}
		if !again {
			return nil, &transport.PeerError{Rank: peer.Rank, Host: peer.Host, Err: err}
		}
		if ctx.Err() != nil {
			return nil, err
		}
		m.mu.Lock()
		m.last[peer.Rank] = err
		m.mu.Unlock()
		if silent++; !outOfReach(err) {
			silent = 0
		}
		switch {
		case silent >= unanswered:
			return nil, &transport.PeerError{Rank: peer.Rank, Host: peer.Host, Err: fmt.Errorf(
				"%w: %s doesn't answer: %s", transport.ErrLost, peer.Addr, reason(err))}
		case !errors.Is(err, syscall.ECONNREFUSED):
			refused = time.Time{}
		case refused.IsZero():
			refused = time.Now()
		case time.Since(refused) > refusedFor:
			return nil, &transport.PeerError{Rank: peer.Rank, Host: peer.Host, Err: fmt.Errorf(
				"%w: nobody listens at %s any more", transport.ErrLost, peer.Addr)}
		}
		pause(ctx, wait)
		if err := m.turn(ctx); err != nil {
			return nil, err
		}
	}
}

// outOfReach says whether a connection was not answered at all, for as long as it might have
// been.
func outOfReach(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial" && op.Timeout()
}

// turn waits until this rank may begin another handshake.
func (m *Mesh) turn(ctx context.Context) error {
	select {
	case m.greetings <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// try connects once. It is its turn, which it gives back. again says whether a failure may pass.
func (m *Mesh) try(ctx context.Context, peer transport.Peer, lane uint16) (conn *wire, again bool, err error) {
	greeted := sync.OnceFunc(func() { <-m.greetings })
	defer greeted()
	f := m.fabric
	dialer := net.Dialer{Timeout: f.c.Handshake}
	dialled, err := dialer.DialContext(ctx, "tcp", peer.Addr)
	if err != nil {
		return nil, true, err
	}
	c := dialled.(*net.TCPConn)
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer func() {
		if !stop() || err != nil {
			c.Close()
			conn = nil
			if err == nil {
				again, err = true, context.Cause(ctx)
			}
		}
	}()

	c.SetDeadline(time.Now().Add(f.c.Handshake))
	w, err := f.wrap(ctx, c, true)
	if err != nil {
		return nil, !errors.Is(err, transport.ErrVersion) && !errors.Is(err, transport.ErrAuth), err
	}
	script, theirs, err := greet(w, f.key, hello{
		gen: m.gen, from: uint32(m.self), to: uint32(peer.Rank), lane: lane, version: f.c.Version,
	})
	if err != nil {
		return nil, !errors.Is(err, transport.ErrVersion), err
	}
	if err := tune(c, lane == controlLane, f.c.Silence); err != nil {
		return nil, false, err
	}
	greeted()
	c.SetDeadline(time.Time{}) // the peer answers when it joins the generation
	no, err := script.verdict(w, theirs)
	switch {
	case errors.Is(err, transport.ErrAuth):
		return nil, false, err
	case err != nil:
		return nil, true, err
	case no == nil:
		return w, false, nil
	}
	switch no.status {
	case statusVersion:
		return nil, false, versionError(f.c.Version, no.theirs)
	case statusStale:
		return nil, false, staleError(m.gen, no.newest)
	case statusBusy:
		return nil, true, fmt.Errorf("rank %d has no room for early connections", peer.Rank)
	default:
		return nil, false, fmt.Errorf("%w: %s is not rank %d of generation %d, or has rank %d already",
			transport.ErrLost, peer.Addr, peer.Rank, m.gen, m.self)
	}
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
