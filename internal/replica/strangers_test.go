package replica

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/gorun-ml/gorun/internal/pinned"
)

// TestStrangersChangeNothing lets those who lack the key, and one who has it and talks
// nonsense, at a member of a group that goes on meanwhile.
func TestStrangersChangeNothing(t *testing.T) {
	members := startMembers(t, newNetwork(t), "a", "b", "c")
	lead := propose(t, members, "0")
	addr := lead.Members()[lead.name]
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	// closed waits until the member has closed the connection, and returns what came.
	closed := func(c net.Conn) []byte {
		t.Helper()
		_ = c.SetReadDeadline(time.Now().Add(limit))
		came, err := io.ReadAll(c)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("still connected after %v", limit)
		}
		_ = c.Close()
		return came
	}
	before := runtime.NumGoroutine()

	t.Run("no TLS", func(t *testing.T) {
		for n := range 16 {
			c := dial()
			noise := make([]byte, 1<<n)
			_, _ = rand.Read(noise)
			_, _ = c.Write(noise)
			_ = c.(*net.TCPConn).CloseWrite()
			closed(c)
		}
	})
	t.Run("another key", func(t *testing.T) {
		stranger := pinned.New(bytes.Repeat([]byte{8}, 32), protocol).Client
		stranger.VerifyConnection = nil // it takes any member
		for _, config := range []*tls.Config{stranger, {InsecureSkipVerify: true, NextProtos: []string{protocol}}, pinned.New(testSeed, "gorun-replica-0").Client} {
			c := tls.Client(dial(), config)
			_, _ = c.Write([]byte{0})
			if came := closed(c); len(came) > 0 {
				t.Errorf("a stranger was answered %q", came)
			}
			_ = c.NetConn().Close()
		}
	})
	t.Run("slow-loris and 200 connections", func(t *testing.T) {
		var crowd []net.Conn
		for range 200 {
			c := dial()
			_, _ = c.Write([]byte{22, 3, 1})
			crowd = append(crowd, c)
		}
		for _, c := range crowd {
			closed(c)
		}
	})
	t.Run("a member that talks nonsense", func(t *testing.T) {
		ends := pinned.New(testSeed, protocol)
		noise := make([]byte, 4096)
		_, _ = rand.Read(noise)
		huge := []byte{0, 0x81, 0xa7, 'E', 'n', 't', 'r', 'i', 'e', 's', 0xdd, 0xff, 0xff, 0xff, 0xff} // 4 Gi entries
		long := append([]byte{0, 0x81, 0xa6, 'L', 'e', 'a', 'd', 'e', 'r', 0xc6, 0xff, 0xff, 0xff, 0xff}, make([]byte, 1<<20)...)
		for name, frame := range map[string][]byte{"noise": append([]byte{77}, noise...), "many": huge, "long": long} {
			c, err := ends.Dial(within(t, limit), addr)
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				_, _ = c.Write(frame)
				_ = c.CloseWrite()
			}()
			if came := closed(c); len(came) > 0 {
				t.Errorf("%s was answered %q", name, came)
			}
		}
	})
	propose(t, members, "1")
	same(t, 2, slice(members)...)
	// Connections among members come and go; those of 200 strangers would be seen.
	eventually(t, "strangers have left nothing", func() bool { return runtime.NumGoroutine() < before+50 })
}

// TestFramesAreBounded has a member send more than a frame may have.
func TestFramesAreBounded(t *testing.T) {
	a, b := net.Pipe()
	s := &stream{links: map[*link]struct{}{}}
	l := &link{Conn: a, stream: s}
	go func() {
		chunk := make([]byte, 1<<20)
		for {
			if _, err := b.Write(chunk); err != nil {
				return
			}
		}
	}()
	defer func() { _, _ = a.Close(), b.Close() }()
	buf := make([]byte, 1<<20)
	read := func() (n int, err error) {
		for n < 2*maxFrame && err == nil {
			var m int
			m, err = l.Read(buf)
			n += m
		}
		return n, err
	}
	if n, err := read(); err == nil || n > maxFrame {
		t.Errorf("%d bytes were read: %v", n, err)
	}
}

// TestPatience fails what is sent to a member until a heartbeat gets through.
func TestPatience(t *testing.T) {
	w := newTransport(nil)
	failed := errors.New("refused")
	sent := 0
	send := func() error {
		sent++
		if sent == 1 {
			return failed
		}
		return nil
	}
	if err := w.insist("b", send); err != failed || sent != 1 {
		t.Errorf("while it doesn't lead: %v after %d tries", err, sent)
	}
	w.setPatient(true)
	sent = 0
	done := make(chan error, 1)
	go func() { done <- w.insist("b", send) }()
	waits := func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.beat["b"] != nil
	}
	eventually(t, "it waits", waits)
	w.reached("a") // another
	if !waits() {
		t.Error("it doesn't wait for b any more")
	}
	w.reached("b")
	if err := <-done; err != nil || sent != 2 {
		t.Errorf("after a heartbeat: %v after %d tries", err, sent)
	}
	for _, end := range []struct {
		what string
		do   func()
	}{
		{"it leads no more", func() { w.setPatient(false) }},
		{"the member is removed", func() { w.setGone("b", true) }},
		{"it is closed", func() { w.endPatience() }},
	} {
		w.setGone("b", false)
		w.setPatient(true)
		sent = 0
		go func() { done <- w.insist("b", send) }()
		eventually(t, "it waits", waits)
		end.do()
		if err := <-done; err != failed || sent != 1 {
			t.Errorf("%s: %v after %d tries", end.what, err, sent)
		}
	}
	w.setPatient(true)
	if err := w.insist("b", func() error { return failed }); err != failed {
		t.Errorf("when it is closed: %v", err)
	}
}

// TestSnapshotIsSeenWhenItIsWhole, and never replaces a newer one.
func TestSnapshotIsSeenWhenItIsWhole(t *testing.T) {
	s := &snapshots{}
	write := func(index uint64, text string) func() {
		sink, err := s.Create(1, index, 1, raft.Configuration{}, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(sink, text); err != nil {
			t.Fatal(err)
		}
		return func() { _ = sink.Close() }
	}
	old, newer := write(5, "old"), write(7, "newer")
	if list, _ := s.List(); len(list) != 0 {
		t.Errorf("%d snapshots before one is whole", len(list))
	}
	newer()
	old()
	list, _ := s.List()
	if len(list) != 1 || list[0].Index != 7 || list[0].Size != 5 {
		t.Fatalf("%+v, want the one of 7", list)
	}
	_, r, err := s.Open(list[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(r); err != nil || string(text) != "newer" {
		t.Errorf("%q (%v), want newer", text, err)
	}
	if _, _, err := s.Open("1-5"); err == nil {
		t.Error("the old one can be opened")
	}
	sink, _ := s.Create(1, 9, 1, raft.Configuration{}, 1, nil)
	if _, err := sink.Write(make([]byte, maxSnapshot+1)); err == nil {
		t.Error("a snapshot that is too long was taken")
	}
	_ = sink.Cancel()
}
