// Package faulty makes transports fail on purpose, the same way for the same seed.
//
// Wrap does it to the frames of any transport, Stream to the bytes under one.
package faulty

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gorun-ml/gorun/collective/transport"
)

// Plan says what goes wrong with the frames of a rank. The zero Plan is a healthy rank.
type Plan struct {
	Seed           uint64
	Delay          time.Duration // a frame is held up for a random part of this
	BytesPerSecond float64       // a frame is held up as on a link of this speed
	ResetAfter     uint64        // frames that are sent before the connection breaks
	StallAfter     uint64        // frames that are sent before one is stuck
	StallFor       time.Duration // how long it is; until the mesh ends where this is 0

	// Window lets ranks reach each other's memory where the transport does. A tick is then a
	// frame of NoteBytes. Otherwise all that is sent is sent as frames.
	Window bool
}

// Wrap returns f with p's faults in what its rank sends.
func Wrap(f transport.Fabric, p Plan) transport.Fabric { return &fabric{Fabric: f, plan: p} }

type fabric struct {
	transport.Fabric
	plan Plan
	sent atomic.Uint64 // frames
}

type mesh struct {
	transport.Mesh
	fabric *fabric
	peers  []transport.Peer
}

type conn struct {
	transport.Conn
	mesh *mesh
	peer transport.Peer
}

// Kill ends the fabric as the death of its process would, where the transport can.
func (f *fabric) Kill() { f.Fabric.(interface{ Kill() }).Kill() }

func (f *fabric) Mesh(ctx context.Context, gen uint64, self int, peers []transport.Peer) (transport.Mesh, error) {
	m, err := f.Fabric.Mesh(ctx, gen, self, peers)
	if err != nil {
		return nil, err
	}
	wrapped := &mesh{Mesh: m, fabric: f, peers: peers}
	if reach, ok := m.(transport.Window); ok && f.plan.Window {
		return &window{mesh: wrapped, reach: reach, self: self}, nil
	}
	return wrapped, nil
}

// Done is closed when the mesh has ended.
func (m *mesh) Done() <-chan struct{} { return m.Mesh.(interface{ Done() <-chan struct{} }).Done() }

// Err returns why the mesh has ended.
func (m *mesh) Err() error { return m.Mesh.(interface{ Err() error }).Err() }

func (m *mesh) Conn(peer, lane int) (transport.Conn, error) {
	c, err := m.Mesh.Conn(peer, lane)
	if err != nil {
		return nil, err
	}
	return conn{Conn: c, mesh: m, peer: m.peer(peer)}, nil
}

func (m *mesh) peer(rank int) transport.Peer {
	return m.peers[slices.IndexFunc(m.peers, func(p transport.Peer) bool { return p.Rank == rank })]
}

// Unwrap is the connection without faults.
func (c conn) Unwrap() transport.Conn { return c.Conn }

// Send sends a frame when the plan lets it.
func (c conn) Send(tag transport.Tag, p []byte) error {
	if err := c.mesh.hold(c.peer, len(p)); err != nil {
		return err
	}
	return c.Conn.Send(tag, p)
}

// hold returns when the plan lets a frame to peer go, or breaks the connection.
func (m *mesh) hold(peer transport.Peer, bytes int) error {
	plan := &m.fabric.plan
	n := m.fabric.sent.Add(1)
	if plan.ResetAfter > 0 && n > plan.ResetAfter {
		m.Close(&transport.PeerError{Rank: peer.Rank, Host: peer.Host, Err: transport.ErrLost})
		return m.Err()
	}
	var held time.Duration
	if plan.BytesPerSecond > 0 {
		held = time.Duration(float64(bytes) / plan.BytesPerSecond * float64(time.Second))
	}
	if plan.Delay > 0 {
		held += time.Duration(mix(plan.Seed+n) % uint64(plan.Delay))
	}
	if plan.StallAfter > 0 && n == plan.StallAfter+1 {
		held += plan.StallFor
		if plan.StallFor == 0 {
			<-m.Done()
		}
	}
	if held > 0 {
		timer := time.NewTimer(held)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-m.Done():
		}
	}
	return nil
}

// mix is the finish of splitmix64: a random number for every x.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
