package tcp

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/collective/transport"
)

// A rank that has many to dial begins few handshakes at once, with the next ones first.
func TestHandshakesAreBegunByAndBy(t *testing.T) {
	const ranks = 40
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := testConfig()
	c.Handshake = time.Minute
	f := listen(t, c)
	peers := make([]transport.Peer, ranks)
	for rank := range peers {
		peers[rank] = transport.Peer{Rank: rank, Host: "h", Addr: silent.Addr().String()}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	joined := make(chan error, 1)
	go func() {
		_, err := f.Mesh(ctx, 1, ranks-1, peers)
		joined <- err
	}()
	// Nobody is answered, so that those who come first stay for as long as they may.
	for range mostGreetings {
		c, err := silent.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		var b [helloBytes]byte
		if _, err := c.Read(b[:]); err != nil {
			t.Fatal(err)
		}
		var h hello
		if err := h.decode(&b); err != nil {
			t.Fatal(err)
		}
		if h.to < ranks-1-2*mostGreetings { // they start in order, and may overtake each other
			t.Errorf("rank %d is dialled among the first, want those next to rank %d", h.to, ranks-1)
		}
	}
	silent.(*net.TCPListener).SetDeadline(time.Now().Add(500 * time.Millisecond))
	if c, err := silent.Accept(); err == nil {
		c.Close()
		t.Errorf("more than %d handshakes at once", mostGreetings)
	}
	cancel()
	if err := <-joined; err == nil {
		t.Error("joined a generation of nobody else")
	}
	silent.Close()
}
