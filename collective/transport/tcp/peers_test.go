package tcp

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/collective/transport"
)

// beside joins generation 1 as rank 0 beside a rank 1 that the test plays.
func beside(t *testing.T) (*Fabric, *Mesh, net.Conn) {
	t.Helper()
	f := listen(t, testConfig())
	peers := threePeers(f.Addr(), "127.0.0.1:1")
	joined := make(chan error, 1)
	var m transport.Mesh
	go func() {
		var err error
		m, err = f.Mesh(t.Context(), 1, 0, peers)
		joined <- err
	}()
	c := enter(t, f, controlLane)
	if err := <-joined; err != nil {
		t.Fatal(err)
	}
	return f, m.(*Mesh), c
}

// A peer that is stopped, and so never takes the abort, holds Close up for a bounded time.
func TestStoppedPeer(t *testing.T) {
	_, m, c := beside(t)
	start := time.Now()
	m.Close(errors.New("no progress"))
	if took := time.Since(start); took < 200*time.Millisecond || took > time.Second {
		t.Errorf("closing beside a peer that does not react took %v, want the 200 ms that it is given", took)
	}
	h, body, err := readMessage(c)
	if err != nil || h.kind != kindAbort {
		t.Fatalf("got a message of kind %d and %v, want the abort", h.kind, err)
	}
	if a, err := decodeAbort(body); err != nil || a.Rank != 0 || a.Cause != "no progress" {
		t.Errorf("the abort says %v, %v", a, err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != io.EOF {
		t.Errorf("after the abort: %v, want the end", err)
	}
}

// The second that claims to be a rank is refused, the first is left alone.
func TestDuplicateRank(t *testing.T) {
	f, m, first := beside(t)
	for _, lane := range []uint16{controlLane, 5} {
		if lane != controlLane {
			enter(t, f, lane)
		}
		second, err := net.Dial("tcp", f.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer second.Close()
		s, theirs, err := greet(second, f.key, hello{gen: 1, from: 1, to: 0, lane: lane, version: "v1"})
		if err != nil {
			t.Fatal(err)
		}
		no, err := s.verdict(second, theirs)
		if err != nil || no == nil || no.status != statusRank {
			t.Errorf("lane %d: a second rank 1 is answered with %+v, %v", lane, no, err)
		}
	}
	if err := m.Err(); err != nil {
		t.Errorf("the mesh ended with %v", err)
	}
	m.Close(nil)
	if h, _, err := readMessage(first); err != nil || h.kind != kindBye {
		t.Errorf("rank 1 hears a message of kind %d and %v, want a goodbye", h.kind, err)
	}
}

// Who is of this generation but asks for what cannot be is sent away.
func TestWrongGuests(t *testing.T) {
	f, m, _ := beside(t)
	for name, h := range map[string]hello{
		"a lane too many": {gen: 1, from: 1, to: 0, lane: transport.MaxLanes},
		"unknown rank":    {gen: 1, from: 7, to: 0, lane: controlLane},
		"another's peer":  {gen: 1, from: 1, to: 3, lane: controlLane},
		"itself":          {gen: 1, from: 0, to: 0, lane: controlLane},
		"past generation": {gen: 0, from: 1, to: 0, lane: controlLane},
		"early lane":      {gen: 2, from: 1, to: 0, lane: 1},
	} {
		c, err := net.Dial("tcp", f.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		h.version = "v1"
		s, theirs, err := greet(c, f.key, h)
		if err != nil {
			t.Fatal(err)
		}
		if no, err := s.verdict(c, theirs); err != nil || no == nil {
			t.Errorf("%s: answered with %+v, %v", name, no, err)
		}
	}
	if err := m.Err(); err != nil {
		t.Errorf("the mesh ended with %v", err)
	}
}
