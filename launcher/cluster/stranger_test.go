package cluster

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// footing is what strangers could use up.
type footing struct {
	goroutines, files int
	heap              uint64
}

func measure(t *testing.T) footing {
	t.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first finalized
	runtime.ReadMemStats(&m)
	return footing{runtime.NumGoroutine(), len(files), m.HeapAlloc}
}

// recorder keeps what a client sends, to send it again.
type recorder struct {
	net.Conn
	mu   sync.Mutex
	sent bytes.Buffer
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	r.sent.Write(p)
	r.mu.Unlock()
	return r.Conn.Write(p)
}

func TestStrangersChangeNothing(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("counts descriptors in /proc")
	}
	d := start(t, options("h1", "127.0.0.1"))
	addr := d.controlAddr()
	dialRaw := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	// closed waits until the daemon has closed the connection, and returns how long it took.
	closed := func(c net.Conn) time.Duration {
		t.Helper()
		began := time.Now()
		_ = c.SetReadDeadline(began.Add(10 * time.Second))
		_, err := io.Copy(io.Discard, c)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("still connected after 10 s")
		}
		_ = c.Close()
		return time.Since(began)
	}
	member := func() {
		t.Helper()
		began := time.Now()
		if hosts := find(t, d.Addr()).Hosts(); len(hosts) != 1 || hosts[0].Free != 4 || hosts[0].Jobs != 0 {
			t.Errorf("a member sees %+v", hosts)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("a member had to wait for %v", took)
		}
	}
	member()
	before := measure(t)

	t.Run("random bytes", func(t *testing.T) {
		for n := range 64 {
			c := dialRaw()
			noise := make([]byte, 1<<(n%14))
			_, _ = rand.Read(noise)
			_, _ = c.Write(noise)
			_ = c.(*net.TCPConn).CloseWrite()
			closed(c)
		}
	})
	t.Run("an oversized frame", func(t *testing.T) {
		c := dialRaw() // of TLS: a record of 64 KiB that begins a handshake of 16 MiB
		_, _ = c.Write(append([]byte{22, 3, 1, 0xff, 0xff, 1, 0xff, 0xff, 0xff}, make([]byte, 64<<10)...))
		closed(c)
		// Of a member, before memory is allocated.
		m, err := dialControl(t.Context(), addr, d.creds)
		if err != nil {
			t.Fatal(err)
		}
		if err := binary.Write(m, binary.BigEndian, uint32(1<<31)); err != nil {
			t.Fatal(err)
		}
		a, err := readFrame[answer](m)
		if err != nil || a.Refused == nil {
			t.Errorf("a frame of 2 GiB: %+v (%v), want a refusal", a, err)
		}
		closed(m)
	})
	t.Run("a replayed handshake", func(t *testing.T) {
		r := &recorder{Conn: dialRaw()}
		m := tls.Client(r, d.creds.client)
		if err := writeFrame(m, request{Start: &startRequest{Letter: []byte("{}"), Slots: 1, Digest: "0"}}); err != nil {
			t.Fatal(err)
		}
		if a, err := readFrame[answer](m); err != nil || a.Refused == nil {
			t.Fatalf("%+v (%v)", a, err)
		}
		_ = m.Close()
		c := dialRaw()
		_, _ = c.Write(r.sent.Bytes())
		closed(c)
	})
	t.Run("no certificate, and another's", func(t *testing.T) {
		for _, config := range []*tls.Config{{}, newCredentials(Key{9}).client} {
			config = config.Clone()
			config.InsecureSkipVerify, config.VerifyConnection = true, nil // it takes any daemon
			config.NextProtos = []string{protocol}
			m := tls.Client(dialRaw(), config)
			if err := writeFrame(m, request{Status: true}); err == nil {
				if a, err := readFrame[answer](m); err == nil {
					t.Errorf("a stranger was answered %+v", a)
				}
			}
			closed(m.NetConn())
		}
	})
	t.Run("slow-loris", func(t *testing.T) {
		c := dialRaw()
		began := time.Now()
		hello := []byte{22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for i := 0; time.Since(began) < 10*time.Second; i++ {
			if _, err := c.Write(hello[i%len(hello) : i%len(hello)+1]); err != nil {
				break
			}
			<-tick.C
		}
		took := time.Since(began)
		_ = c.Close()
		t.Logf("turned out after %v", took)
		if took > handshakeBound+time.Second {
			t.Errorf("turned out after %v, want %v", took, handshakeBound)
		}
	})
	t.Run("1,000 connections", func(t *testing.T) {
		var crowd []net.Conn
		for range 1000 {
			crowd = append(crowd, dialRaw())
		}
		member() // who does not have to wait for them
		d.gate.mu.Lock()
		n := len(d.gate.strangers)
		d.gate.mu.Unlock()
		if n > maxStrangers {
			t.Errorf("%d strangers at once, want at most %d", n, maxStrangers)
		}
		for _, c := range crowd {
			closed(c)
		}
	})

	var after footing
	eventually(t, 10*time.Second, "all is as it was", func() bool {
		after = measure(t)
		return after.goroutines <= before.goroutines && after.files <= before.files && after.heap < before.heap+1<<20
	})
	t.Logf("goroutines %d → %d, descriptors %d → %d, heap %d KiB → %d KiB", before.goroutines, after.goroutines, before.files, after.files, before.heap>>10, after.heap>>10)
	member()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.logs) != 2 || !strings.Contains(d.logs[1], "a stranger at 127.0.0.1 was refused: ") {
		t.Errorf("want one line in the log about the strangers at one address: %q", d.logs)
	}
}

func TestLogIsQuietAboutStrangers(t *testing.T) {
	var q quiet
	now := time.Unix(1000, 0)
	if !q.may("a", now) || q.may("a", now.Add(59*time.Second)) || !q.may("b", now) || !q.may("a", now.Add(61*time.Second)) {
		t.Error("want a line an address a minute")
	}
	for i := range 2 * quietEntries {
		q.may(fmt.Sprint(i), now.Add(61*time.Second))
	}
	if len(q.said) > quietEntries {
		t.Errorf("%d addresses remembered, want at most %d", len(q.said), quietEntries)
	}
	if !q.may("c", now.Add(3*time.Minute)) {
		t.Error("no line once the others are old")
	}
}
