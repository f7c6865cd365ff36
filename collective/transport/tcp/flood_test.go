package tcp

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/collective/transport"
)

// Strangers who connect and say nothing, little, or nonsense do not disturb a job.
func TestFlood(t *testing.T) {
	t.Run("plain", func(t *testing.T) { testFlood(t, testConfig()) })
	t.Run("encrypted", func(t *testing.T) { testFlood(t, secretly(testConfig())) })
}

func testFlood(t *testing.T, c Config) {
	hurried := c
	hurried.Handshake = 300 * time.Millisecond
	fabrics, peers := pair(t, hurried, c)
	meshes, errs := joinBoth(t, 10*time.Second, 1, fabrics, peers)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	a, err := meshes[0].Conn(1, 0)
	if err != nil {
		t.Fatal(err)
	}
	b, err := meshes[1].Conn(0, 0)
	if err != nil {
		t.Fatal(err)
	}

	var strangers []net.Conn
	for i := range 200 {
		s, err := net.Dial("tcp", fabrics[0].Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		switch i % 4 {
		case 1:
			s.Write([]byte(greeting[:3]))
		case 2:
			s.Write([]byte(strings.Repeat("GET / HTTP/1.1\r\n", 10)))
		case 3:
			s.Write([]byte("\x16\x03\x01\x3f\xff\x01\xff\xff\xff")) // a TLS greeting of 16 MiB
		}
		strangers = append(strangers, s)
	}
	fabrics[0].mu.Lock()
	young := len(fabrics[0].young)
	fabrics[0].mu.Unlock()
	if young > maxYoung {
		t.Errorf("%d connections wait for their handshake, want %d at most", young, maxYoung)
	}

	p := make([]byte, 100)
	for i := range 100 {
		if err := a.Send(transport.Tag{Seq: uint32(i)}, p); err != nil {
			t.Fatal(err)
		}
		if err := b.Recv(transport.Tag{Seq: uint32(i)}, p, nil); err != nil {
			t.Fatal(err)
		}
	}
	// A new lane and a new generation come through the flood as well.
	if _, err := meshes[1].Conn(0, 1); err != nil {
		t.Error(err)
	}
	for _, m := range meshes {
		m.Close(nil)
	}
	meshes, errs = joinBoth(t, 10*time.Second, 2, fabrics, peers)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for _, m := range meshes {
		m.Close(nil)
	}

	start := time.Now()
	for _, s := range strangers {
		s.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := s.Read(make([]byte, 1)); errors.Is(err, context.DeadlineExceeded) || err == nil {
			t.Errorf("a stranger was not sent away: %v", err)
		}
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v to send all strangers away", took)
	}
}

// drip writes a byte at a time, slower than the handshake's bound allows.
func TestSlowLoris(t *testing.T) {
	t.Run("plain", func(t *testing.T) { testSlowLoris(t, testConfig(), greeting) })
	t.Run("encrypted", func(t *testing.T) { testSlowLoris(t, secretly(testConfig()), "\x16\x03\x01\x10\x00") })
}

func testSlowLoris(t *testing.T, c Config, greeting string) {
	c.Handshake = 200 * time.Millisecond
	f := listen(t, c)
	s, err := net.Dial("tcp", f.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	start := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		<-tick.C
		if _, err := s.Write([]byte{greeting[i%len(greeting)]}); err != nil {
			break
		}
		if time.Since(start) > 10*time.Second {
			t.Fatal("a stranger may drip for 10 s")
		}
	}
}

// A peer that has proved itself and then claims a huge frame gets no memory for it.
func TestHugeFrames(t *testing.T) {
	for _, kind := range []uint8{kindData, kindAbort, kindBye, 77} {
		f := listen(t, testConfig())
		joined := make(chan error, 1)
		peers := []transport.Peer{{Rank: 0, Host: "h", Addr: f.Addr()}, {Rank: 1, Host: "h", Addr: "127.0.0.1:1"}}
		meshes := make(chan transport.Mesh, 1)
		go func() {
			m, err := f.Mesh(t.Context(), 1, 0, peers)
			meshes <- m
			joined <- err
		}()
		c := enter(t, f, controlLane)
		m := <-meshes
		if err := <-joined; err != nil {
			t.Fatal(err)
		}
		var b [headerBytes]byte
		h := header{kind: kind, flags: flagSum, length: 1 << 62}
		h.encode(&b)
		c.Write(b[:])
		<-m.(*Mesh).Done()
		if err := m.(*Mesh).Err(); !errors.Is(err, transport.ErrCorrupt) {
			t.Errorf("frame of kind %d with 4 EiB: the mesh ends with %v", kind, err)
		}
		m.Close(nil)
	}
}

// enter does the handshake as rank 1 of generation 1.
func enter(t *testing.T, f *Fabric, lane uint16) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", f.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	s, theirs, err := greet(c, f.key, hello{gen: 1, from: 1, to: 0, lane: lane, version: "v1"})
	if err != nil {
		t.Fatal(err)
	}
	if no, err := s.verdict(c, theirs); err != nil || no != nil {
		t.Fatal(no, err)
	}
	return c
}

func TestParkingIsBounded(t *testing.T) {
	c := testConfig()
	refused := make(chan error, 1)
	c.Refused = func(_ net.Addr, why error) { refused <- why }
	f := listen(t, c)
	for rank := range maxParked + 1 {
		c, err := net.Dial("tcp", f.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, _, err := greet(c, f.key, hello{gen: 9, from: uint32(rank), lane: controlLane, version: "v1"}); err != nil {
			t.Fatal(err)
		}
	}
	if why := <-refused; !strings.Contains(why.Error(), "too early") {
		t.Errorf("one more is refused with %v", why)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.parked) != maxParked {
		t.Errorf("%d connections are parked, want %d", len(f.parked), maxParked)
	}
}
