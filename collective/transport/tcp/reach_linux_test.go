package tcp

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/collective/transport"
)

// deaf is an address that answers no connection: its queue is full, and nobody empties it.
func deaf(t *testing.T) string {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(at.(*syscall.SockaddrInet4).Port))
	for range 8 {
		c, err := net.DialTimeout("tcp", addr, 200*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Skip("this kernel's queues don't fill")
	return ""
}

// TestOutOfReach has a rank join whose peer doesn't answer at all: that is known long before
// the time for joining is over, and names the peer.
func TestOutOfReach(t *testing.T) {
	c := testConfig()
	c.Handshake = 100 * time.Millisecond
	f := listen(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	m, err := f.Mesh(ctx, 1, 1, []transport.Peer{{Rank: 0, Host: "far", Addr: deaf(t)}, {Rank: 1, Host: "h", Addr: f.Addr()}})
	if err == nil {
		_ = m.Close(nil)
		t.Fatal("it has joined")
	}
	peer, ok := errors.AsType[*transport.PeerError](err)
	if !ok || peer.Rank != 0 || !errors.Is(err, transport.ErrLost) || !strings.Contains(err.Error(), "doesn't answer") {
		t.Errorf("%v, want rank 0 to be lost, which doesn't answer", err)
	}
	if ctx.Err() != nil {
		t.Error("it waited until the time was over")
	}
}
