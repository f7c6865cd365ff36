package pinned

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

const limit = time.Minute // for what takes milliseconds where there is a core

// listen starts a listener whose connections are echoed.
func listen(t *testing.T, ends Ends, refused func(net.Addr, error)) *Listener {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := ends.Listen(tcp, refused)
	var echoing sync.WaitGroup
	echoing.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			echoing.Go(func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			})
		}
	})
	t.Cleanup(func() {
		if err := errors.Join(l.Close(), l.Close()); err != nil {
			t.Error(err)
		}
		echoing.Wait()
	})
	return l
}

// echo says whether a member is let in.
func echo(t *testing.T, ends Ends, l *Listener) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	c, err := ends.Dial(ctx, l.Addr().String())
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(limit))
	if _, err := c.Write([]byte("x")); err != nil {
		return err
	}
	_, err = io.ReadFull(c, make([]byte, 1))
	return err
}

func TestListenerTurnsStrangersOut(t *testing.T) {
	seed := bytes.Repeat([]byte{7}, 32)
	ends := New(seed, "test-1")
	why := make(chan error, 512)
	l := listen(t, ends, func(_ net.Addr, err error) { why <- err })
	if err := echo(t, ends, l); err != nil {
		t.Fatalf("a member: %v", err)
	}
	if err := echo(t, New(bytes.Repeat([]byte{8}, 32), "test-1"), l); !errors.Is(err, ErrOther) {
		t.Errorf("who holds another key: %v, want %v", err, ErrOther)
	}
	<-why
	if err := echo(t, New(seed, "test-2"), l); err == nil {
		t.Error("who speaks another protocol was let in")
	}
	<-why

	// A crowd that says nothing: a member doesn't wait for it, and it is turned out.
	var crowd []net.Conn
	for range 200 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		crowd = append(crowd, c)
	}
	if err := echo(t, ends, l); err != nil {
		t.Errorf("a member in a crowd: %v", err)
	}
	if n := l.gate.Waiting(); n > maxStrangers {
		t.Errorf("%d strangers at once, want at most %d", n, maxStrangers)
	}
	for _, c := range crowd {
		_ = c.SetReadDeadline(time.Now().Add(limit))
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("a stranger is still there after %v", limit)
		}
		_ = c.Close()
	}
	for range crowd {
		select {
		case err := <-why:
			if err == nil {
				t.Error("no reason was given")
			}
		case <-time.After(limit):
			t.Fatal("not all strangers were told of")
		}
	}
	if err := echo(t, ends, l); err != nil {
		t.Errorf("a member after the crowd: %v", err)
	}
}

func TestListenerClosesWithStrangersThere(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ends := New(bytes.Repeat([]byte{7}, 32), "test-1")
	l := ends.Listen(tcp, nil)
	silent, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	member, err := ends.Dial(t.Context(), l.Addr().String()) // that nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = member.Close() }()
	if err := l.Close(); err != nil { // returns when all have ended
		t.Error(err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept says %v, want %v", err, net.ErrClosed)
	}
	for _, c := range []net.Conn{silent, member} {
		_ = c.SetReadDeadline(time.Now().Add(limit))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a connection is still open: %v", err)
		}
	}
}
