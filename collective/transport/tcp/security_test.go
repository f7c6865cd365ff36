package tcp

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/collective/transport"
)

// pair is two fabrics and what they are to each other.
func pair(t *testing.T, a, b Config) (fabrics []*Fabric, peers []transport.Peer) {
	t.Helper()
	for rank, c := range []Config{a, b} {
		f := listen(t, c)
		fabrics = append(fabrics, f)
		peers = append(peers, transport.Peer{Rank: rank, Host: "h", Addr: f.Addr()})
	}
	return fabrics, peers
}

// joinBoth joins generation gen on both, within a bound.
func joinBoth(t *testing.T, within time.Duration, gen uint64, fabrics []*Fabric, peers []transport.Peer) (meshes []transport.Mesh, errs []error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	t.Cleanup(cancel)
	meshes, errs = make([]transport.Mesh, 2), make([]error, 2)
	var ranks sync.WaitGroup
	for rank, f := range fabrics {
		ranks.Go(func() { meshes[rank], errs[rank] = f.Mesh(ctx, gen, rank, peers) })
	}
	ranks.Wait()
	return meshes, errs
}

func TestOtherSecret(t *testing.T) {
	t.Run("plain", func(t *testing.T) { testOtherSecret(t, testConfig()) })
	t.Run("encrypted", func(t *testing.T) { testOtherSecret(t, secretly(testConfig())) })
}

func testOtherSecret(t *testing.T, c Config) {
	a, b := c, c
	b.Secret[0]++
	fabrics, peers := pair(t, a, b)
	errs := joinApart(t, fabrics, peers)
	if !errors.Is(errs[1], transport.ErrAuth) {
		t.Errorf("rank 1 ends with %v, want that it can't prove itself", errs[1])
	}
	if !errors.Is(errs[0], context.Canceled) {
		t.Errorf("rank 0 ends with %v, want that it waits for rank 1: a stranger may not end a job", errs[0])
	} else if !strings.Contains(errs[0].Error(), transport.ErrAuth.Error()) {
		t.Errorf("%q does not say who was turned away", errs[0])
	}
}

// joinApart is a join of generation 1 that must fail: rank 1, which dials, ends by itself;
// rank 0 waits until rank 1 has ended and was turned away.
func joinApart(t *testing.T, fabrics []*Fabric, peers []transport.Peer) (errs [2]error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var other sync.WaitGroup
	other.Go(func() { _, errs[0] = fabrics[0].Mesh(ctx, 1, 0, peers) })
	bound, done := context.WithTimeout(t.Context(), 30*time.Second)
	defer done()
	_, errs[1] = fabrics[1].Mesh(bound, 1, 1, peers)
	for turned := error(nil); turned == nil && bound.Err() == nil; runtime.Gosched() {
		fabrics[0].mu.Lock()
		turned = fabrics[0].turned
		fabrics[0].mu.Unlock()
	}
	cancel()
	other.Wait()
	return errs
}

func TestOtherJob(t *testing.T) {
	a, b := testConfig(), testConfig()
	b.Job = "other"
	fabrics, peers := pair(t, a, b)
	_, errs := joinBoth(t, 500*time.Millisecond, 1, fabrics, peers)
	if !errors.Is(errs[1], transport.ErrAuth) {
		t.Errorf("rank 1 ends with %v, want that it can't prove itself", errs[1])
	}
}

func TestOtherVersion(t *testing.T) {
	a, b := testConfig(), testConfig()
	b.Version = "v2"
	fabrics, peers := pair(t, a, b)
	for range 2 { // whoever comes first
		_, errs := joinBoth(t, 10*time.Second, fabrics[0].newest+1, fabrics, peers)
		for rank, err := range errs {
			if rank == 0 && errors.Is(err, transport.ErrAborted) {
				continue
			}
			if !errors.Is(err, transport.ErrVersion) && !errors.Is(err, context.DeadlineExceeded) ||
				rank == 1 && (!strings.Contains(err.Error(), `"v1"`) || !strings.Contains(err.Error(), `"v2"`)) {
				t.Errorf("rank %d ends with %v, want both versions named", rank, err)
			}
		}
	}
	if _, err := Listen(Config{Version: strings.Repeat("x", 32)}); err == nil {
		t.Error("a version of 32 bytes is accepted")
	}
}

// An acceptor that knows nothing must not be taken for a peer.
func TestFalseAcceptor(t *testing.T) {
	f := listen(t, testConfig())
	stranger, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	go func() {
		c, err := stranger.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		var b [helloBytes]byte
		io.ReadFull(c, b[:])
		ch := challenge{version: "v1"}
		var out [challengeBytes]byte
		ch.encode(&out)
		c.Write(out[:])
		var proof [proofBytes]byte
		io.ReadFull(c, proof[:])
		verdict := make([]byte, verdictBytes)
		verdict[0] = byte(statusTaken)
		copy(verdict[16:], proof[:]) // reflected
		c.Write(verdict)
	}()
	peers := []transport.Peer{{Rank: 0, Addr: stranger.Addr().String()}, {Rank: 1, Addr: f.Addr()}}
	if _, err := f.Mesh(t.Context(), 1, 1, peers); !errors.Is(err, transport.ErrAuth) {
		t.Errorf("got %v, want a stranger refused", err)
	}
}

// recorder keeps what a connection has written.
type recorder struct {
	net.Conn
	wrote []byte
}

func (r *recorder) Write(p []byte) (int, error) {
	r.wrote = append(r.wrote, p...)
	return r.Conn.Write(p)
}

func TestReplay(t *testing.T) {
	refused := make(chan error, 1)
	c := testConfig()
	c.Refused = func(_ net.Addr, why error) { refused <- why }
	f := listen(t, c)

	first, err := net.Dial("tcp", f.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	r := &recorder{Conn: first}
	h := hello{gen: 7, from: 1, to: 0, lane: controlLane, version: "v1"}
	if _, _, err := greet(r, f.key, h); err != nil {
		t.Fatal(err)
	}
	if len(r.wrote) != helloBytes+proofBytes {
		t.Fatalf("recorded %d bytes", len(r.wrote))
	}

	second, err := net.Dial("tcp", f.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	second.Write(r.wrote)
	if why := <-refused; !errors.Is(why, transport.ErrAuth) {
		t.Errorf("a replayed handshake is refused with %v", why)
	}
	said, _ := io.ReadAll(second)
	if len(said) != challengeBytes+verdictBytes || said[challengeBytes] != byte(statusAuth) {
		t.Errorf("a replayed handshake is answered with %d bytes", len(said))
	}
}

// A proof for one thing is no proof for another.
func TestProofIsBound(t *testing.T) {
	key, err := jobKey([32]byte{1}, "job")
	if err != nil {
		t.Fatal(err)
	}
	base := hello{gen: 1, from: 2, to: 3, lane: 4, version: "v", nonce: [32]byte{5}}
	proof := func(h hello, ch challenge, key []byte) string {
		s := &transcript{key: key}
		h.encode(&s.hello)
		ch.encode(&s.challenge)
		return string(s.dialerProof())
	}
	s := &transcript{key: key}
	base.encode(&s.hello)
	(&challenge{}).encode(&s.challenge)
	other, err := jobKey([32]byte{1}, "job2")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{
		proof(base, challenge{}, key):                                           "the proof itself",
		string(s.acceptorProof(nil)):                                            "the other role",
		proof(base, challenge{}, other):                                         "another job",
		proof(base, challenge{nonce: [32]byte{1}}, key):                         "another challenge",
		proof(base, challenge{version: "w"}, key):                               "another version of the peer",
		proof(with(base, func(h *hello) { h.gen++ }), challenge{}, key):         "another generation",
		proof(with(base, func(h *hello) { h.from++ }), challenge{}, key):        "another rank",
		proof(with(base, func(h *hello) { h.to++ }), challenge{}, key):          "another peer",
		proof(with(base, func(h *hello) { h.lane++ }), challenge{}, key):        "another lane",
		proof(with(base, func(h *hello) { h.version = "w" }), challenge{}, key): "another version",
		proof(with(base, func(h *hello) { h.nonce[0]++ }), challenge{}, key):    "another nonce",
	}
	if len(seen) != 11 {
		t.Errorf("of 11 different proofs, these remain: %v", seen)
	}
}

func with(h hello, change func(*hello)) hello {
	change(&h)
	return h
}
