package pinned

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/gorun-ml/gorun/internal/gate"
)

const (
	maxStrangers   = 64              // connections that have not proved anything yet
	handshakeBound = 2 * time.Second // for a stranger to prove the key
	acceptPause    = 50 * time.Millisecond
)

// keepAlive makes a connection whose other end is gone without a word break in 3.5 s.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second, Count: 3}

// Listener is a net.Listener that hands out only connections whose peers have proved the
// key. Who has not is a stranger, and turned out after 2 s; there are 64 of them at most.
// One too many turns out the one that has been there for longest: a member needs a few
// milliseconds, so that a crowd of silent ones can't keep it out.
type Listener struct {
	net.Listener
	server  *tls.Config
	refused func(net.Addr, error)

	ctx      context.Context // ends with the listener
	end      context.CancelFunc
	admitted chan net.Conn
	running  sync.WaitGroup

	gate gate.Gate
}

// Listen takes over a listener. What it hands out is an accepted *tls.Conn. If refused is
// not nil, it is called for each stranger that was turned out, from several goroutines.
func (e Ends) Listen(l net.Listener, refused func(addr net.Addr, why error)) *Listener {
	if refused == nil {
		refused = func(net.Addr, error) {}
	}
	p := &Listener{Listener: l, server: e.Server, refused: refused, admitted: make(chan net.Conn), gate: gate.Gate{Strangers: maxStrangers}}
	p.ctx, p.end = context.WithCancel(context.Background())
	p.running.Go(p.accept)
	return p
}

// Accept returns the next connection whose peer holds the key.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.admitted:
		return c, nil
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close ends the listener and what it has not handed out, and returns when all of it has
// ended.
func (l *Listener) Close() error {
	l.end()
	err := l.Listener.Close()
	l.running.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// accept takes connections until the listener is closed.
func (l *Listener) accept() {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			if l.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				l.end()
				return
			}
			pause := time.NewTimer(acceptPause) // no descriptors, or one that has gone again
			select {
			case <-pause.C:
			case <-l.ctx.Done():
			}
			pause.Stop()
			continue
		}
		l.gate.Enter(c)
		l.running.Go(func() {
			t, err := l.admit(c)
			if !l.gate.Prove(c, err == nil) {
				_ = c.Close()
				if l.ctx.Err() == nil {
					l.refused(c.RemoteAddr(), err)
				}
				return
			}
			select {
			case l.admitted <- t:
			case <-l.ctx.Done():
				_ = c.Close()
			}
		})
	}
}

// admit makes a stranger a member, or fails within the bound.
func (l *Listener) admit(c net.Conn) (*tls.Conn, error) {
	if t, ok := c.(*net.TCPConn); ok {
		if err := t.SetKeepAliveConfig(keepAlive); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeoutCause(l.ctx, handshakeBound,
		fmt.Errorf("it has not proved the key within %v", handshakeBound))
	defer cancel()
	t := tls.Server(c, l.server)
	if err := t.HandshakeContext(ctx); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	if p := t.ConnectionState().NegotiatedProtocol; !slices.Contains(l.server.NextProtos, p) {
		return nil, fmt.Errorf("it speaks %q, not %s", p, l.server.NextProtos[0])
	}
	return t, nil
}

// Dial connects to a Listener of the same key.
func (e Ends) Dial(ctx context.Context, addr string) (*tls.Conn, error) {
	d := net.Dialer{KeepAliveConfig: keepAlive}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	t := tls.Client(c, e.Client)
	if err := t.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		return nil, err
	}
	return t, nil
}
