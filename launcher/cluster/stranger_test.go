package cluster

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/internal/stranger"
)

func TestStrangersChangeNothing(t *testing.T) {
	d := start(t, options("h1", "127.0.0.1"))
	member := func(addr string) error {
		m, err := dialControl(t.Context(), addr, d.creds)
		if err != nil {
			return err
		}
		s, err := query(t.Context(), m)
		if err != nil {
			return err
		}
		if len(s.Hosts) != 1 || s.Hosts[0].Free != 4 || s.Hosts[0].Jobs != 0 {
			return fmt.Errorf("sees %+v", s.Hosts)
		}
		return nil
	}
	hello := []byte{22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}
	stranger.Attack(t, stranger.Port{
		Addr: d.controlAddr(), Member: member, Patience: handshakeBound, Memory: 32 << 20,
		Openings: [][]byte{hello},
		// Of TLS: a record of 64 KiB that begins a handshake of 16 MiB.
		Claims: [][]byte{{22, 3, 1, 0xff, 0xff, 1, 0xff, 0xff, 0xff}, {22, 3, 1, 0x3f, 0xff, 1, 0xff, 0xff, 0xff}},
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.logs) != 2 || !strings.Contains(d.logs[1], "a stranger at 127.0.0.1 was refused: ") {
		t.Errorf("want one line in the log about the strangers at one address: %q", d.logs)
	}
}

// Who has proved the key may still go wrong: a frame is bounded before memory is taken.
func TestAnOversizedFrameOfAMemberIsRefused(t *testing.T) {
	d := start(t, options("h1", "127.0.0.1"))
	m, err := dialControl(t.Context(), d.controlAddr(), d.creds)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }() // the daemon has
	if err := binary.Write(m, binary.BigEndian, uint32(1<<31)); err != nil {
		t.Fatal(err)
	}
	if a, err := readFrame[answer](m); err != nil || a.Refused == nil {
		t.Errorf("a frame of 2 GiB: %+v (%v), want a refusal", a, err)
	}
}

func TestNoCertificateOrAnothersIsRefused(t *testing.T) {
	d := start(t, options("h1", "127.0.0.1"))
	for _, config := range []*tls.Config{{}, newCredentials(Key{9}).client} {
		config = config.Clone()
		config.InsecureSkipVerify, config.VerifyConnection = true, nil // it takes any daemon
		config.NextProtos = []string{protocol}
		c, err := net.Dial("tcp", d.controlAddr())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
		m := tls.Client(c, config)
		if err := writeFrame(m, request{Status: true}); err == nil {
			if a, err := readFrame[answer](m); err == nil {
				t.Errorf("a stranger was answered %+v", a)
			}
		}
		_ = c.Close() // the daemon has
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
