// Package stranger attacks a port as somebody does who reaches it and holds no key. The
// tests of all that listens call it.
package stranger

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// Port is what is attacked. Whoever listens there is part of this process: what strangers
// use up is measured here.
type Port struct {
	Addr string // TCP, host:port
	// Member comes to an address as one who belongs there does, is served, and leaves
	// without a trace. It is called before, amid and after strangers.
	Member func(addr string) error
	// Patience is how long a stranger may stay, whatever it does.
	Patience time.Duration
	// Openings are beginnings of what a member says. Nonsense follows, or nothing.
	Openings [][]byte
	// Claims are messages that say that there are many bytes to come. Some do.
	Claims [][]byte
	// Memory is what all strangers together may use up, in bytes.
	Memory uint64
	// Replayed judges what comes back where a member's words are said again; nil takes
	// anything.
	Replayed func(answer []byte) error
}

const (
	crowd    = 1000
	slack    = 10 * time.Second // for a machine that has other things to do
	sendMost = 32 << 20
)

// Attack tries all it knows, and fails the test where a member is not served any more, a
// stranger stays, or something stays behind.
func Attack(t *testing.T, p Port) {
	p.member(t, "at first")
	before := measure(t)
	t.Run("random bytes", p.noise)
	t.Run("claims of many bytes", p.claims)
	t.Run("replayed words", p.replay)
	t.Run("slow-loris", p.drip)
	t.Run("1,000 connections", p.crowd)
	p.member(t, "at last")
	before.returns(t)
}

func (p Port) member(t *testing.T, when string) {
	t.Helper()
	if err := p.Member(p.Addr); err != nil {
		t.Errorf("a member that came %s: %v", when, err)
	}
}

func (p Port) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// closed waits until the other side has closed the connection, and returns what it said.
func (p Port) closed(t *testing.T, c net.Conn) []byte {
	t.Helper()
	bound := p.Patience + slack
	_ = c.SetReadDeadline(time.Now().Add(bound))
	said, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a stranger is still connected after %v", bound)
	}
	_ = c.Close() // it is of no use any more
	return said
}

func (p Port) noise(t *testing.T) {
	for n := range 64 {
		c := p.dial(t)
		if n > 0 && len(p.Openings) > 0 {
			_, _ = c.Write(p.Openings[n%len(p.Openings)]) // it may be sent away at once
		}
		noise := make([]byte, 1<<(n%14))
		_, _ = rand.Read(noise) // never fails
		_, _ = c.Write(noise)
		_ = c.(*net.TCPConn).CloseWrite()
		p.closed(t, c)
	}
	p.member(t, "after noise")
}

func (p Port) claims(t *testing.T) {
	most := p.most(func() {
		var all sync.WaitGroup
		defer all.Wait()
		for range 16 {
			for _, claim := range p.Claims {
				c := p.dial(t)
				all.Go(func() {
					_, err := c.Write(claim)
					chunk := make([]byte, 64<<10)
					_ = c.SetWriteDeadline(time.Now().Add(p.Patience + slack))
					for sent := 0; err == nil && sent < sendMost; sent += len(chunk) {
						_, err = c.Write(chunk)
					}
					p.closed(t, c)
				})
			}
		}
	})
	t.Logf("%d KiB at most", most>>10)
	if most > p.Memory {
		t.Errorf("strangers had %d KiB, want at most %d", most>>10, p.Memory>>10)
	}
	p.member(t, "after claims")
}

// replay says again what members have said, to whom they have said it.
func (p Port) replay(t *testing.T) {
	words, err := record(p.Addr, p.Member)
	if err != nil {
		t.Fatalf("a member whose words are recorded: %v", err)
	}
	for _, w := range words {
		c := p.dial(t)
		_, _ = c.Write(w) // it may be sent away at once
		_ = c.(*net.TCPConn).CloseWrite()
		answer := p.closed(t, c)
		if p.Replayed == nil {
			continue
		}
		if err := p.Replayed(answer); err != nil {
			t.Errorf("who says again what a member has said: %v", err)
		}
	}
	p.member(t, "after a replay")
}

// drip says a byte at a time, so that there is always something to wait for.
func (p Port) drip(t *testing.T) {
	var all sync.WaitGroup
	defer all.Wait()
	for _, opening := range append([][]byte{{0}}, p.Openings...) {
		c := p.dial(t)
		all.Go(func() { p.dripInto(t, c, opening) })
	}
}

func (p Port) dripInto(t *testing.T, c net.Conn, opening []byte) {
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = io.Copy(io.Discard, c) // until it is sent away
	}()
	defer func() {
		_ = c.Close() // so that who reads ends
		<-gone
	}()
	began, bound := time.Now(), p.Patience+slack
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for i := 0; time.Since(began) < bound; i++ {
		select {
		case <-tick.C:
			_, _ = c.Write(opening[i%len(opening) : i%len(opening)+1]) // it may be sent away just now
		case <-gone:
			t.Logf("turned out after %v", time.Since(began).Round(time.Millisecond))
			return
		}
	}
	t.Errorf("a stranger that says a byte of %.20q at a time is still connected after %v", opening, bound)
}

func (p Port) crowd(t *testing.T) {
	var all []net.Conn
	most := p.most(func() {
		for n := range crowd {
			c := p.dial(t)
			all = append(all, c)
			if len(p.Openings) > 0 && n%2 == 1 {
				_, _ = c.Write(p.Openings[n%len(p.Openings)])
			}
		}
		p.member(t, fmt.Sprintf("amid %d strangers", crowd))
	})
	for _, c := range all {
		p.closed(t, c)
	}
	t.Logf("%d KiB at most", most>>10)
	if most > p.Memory {
		t.Errorf("%d strangers had %d KiB, want at most %d", crowd, most>>10, p.Memory>>10)
	}
}

// record lets a member come by way of a proxy, and returns what it has said on each of its
// connections.
func record(addr string, member func(addr string) error) ([][]byte, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var words []*bytes.Buffer
	var busy sync.WaitGroup
	busy.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			said := &bytes.Buffer{}
			mu.Lock()
			words = append(words, said)
			mu.Unlock()
			busy.Go(func() { relay(c, addr, said) })
		}
	})
	err = member(ln.Addr().String())
	_ = ln.Close() // nobody else is to come
	busy.Wait()
	var all [][]byte
	for _, w := range words {
		all = append(all, w.Bytes())
	}
	return all, err
}

// relay passes a connection on until both sides have ended.
func relay(c net.Conn, addr string, said *bytes.Buffer) {
	defer func() { _ = c.Close() }() // all was passed on
	far, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(c, far)
		_ = c.(*net.TCPConn).CloseWrite()
	})
	_, _ = io.Copy(io.MultiWriter(far, said), c)
	_ = far.(*net.TCPConn).CloseWrite()
	back.Wait()
	_ = far.Close() // all was passed on
}
