// Package wiretap listens in on TCP connections, for tests of what can be read on the way.
package wiretap

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
)

// Tap stands between those who connect to it and an address, and keeps all that crosses.
type Tap struct {
	to       string
	listener net.Listener
	work     sync.WaitGroup

	mu     sync.Mutex
	closed bool
	open   []net.Conn
	heard  []*bytes.Buffer // one a direction of a connection
}

// Listen makes a tap on the way to an address.
func Listen(to string) (*Tap, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t := &Tap{to: to, listener: l}
	t.work.Go(t.accept)
	return t, nil
}

// Addr is where to connect instead.
func (t *Tap) Addr() string { return t.listener.Addr().String() }

func (t *Tap) accept() {
	for {
		c, err := t.listener.Accept()
		if err != nil {
			return
		}
		d, err := net.Dial("tcp", t.to)
		if err != nil {
			_ = c.Close()
			continue
		}
		t.work.Go(func() { t.relay(c, d) })
	}
}

// relay returns when both directions have ended.
func (t *Tap) relay(c, d net.Conn) {
	t.mu.Lock()
	t.open = append(t.open, c, d)
	if t.closed {
		_, _ = c.Close(), d.Close()
	}
	t.mu.Unlock()
	var directions sync.WaitGroup
	for _, way := range [][2]net.Conn{{c, d}, {d, c}} {
		directions.Go(func() {
			_, _ = io.Copy(way[1], io.TeeReader(way[0], t.hear())) // whoever ends it
			if w, ok := way[1].(*net.TCPConn); ok {
				_ = w.CloseWrite()
			}
		})
	}
	directions.Wait()
	_, _ = c.Close(), d.Close()
}

// ear is a direction's buffer.
type ear struct {
	t *Tap
	b *bytes.Buffer
}

func (t *Tap) hear() ear {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := new(bytes.Buffer)
	t.heard = append(t.heard, b)
	return ear{t, b}
}

func (e ear) Write(p []byte) (int, error) {
	e.t.mu.Lock()
	defer e.t.mu.Unlock()
	return e.b.Write(p)
}

// Heard says whether p has crossed in one piece.
func (t *Tap) Heard(p []byte) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, b := range t.heard {
		if bytes.Contains(b.Bytes(), p) {
			return true
		}
	}
	return false
}

// Bytes is how many have crossed.
func (t *Tap) Bytes() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, b := range t.heard {
		n += b.Len()
	}
	return n
}

// Close ends the tap and its connections, and returns when nothing of it runs any more.
func (t *Tap) Close() error {
	t.mu.Lock()
	t.closed = true
	for _, c := range t.open {
		_ = c.Close() // relay may have
	}
	t.mu.Unlock()
	err := t.listener.Close()
	t.work.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
