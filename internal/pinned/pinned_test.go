package pinned

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"testing"
)

// shake is what both sides of a handshake say to it.
func shake(t *testing.T, server, client *tls.Config) (atServer, atClient error) {
	t.Helper()
	a, b := net.Pipe()
	done := make(chan error, 1)
	go func() {
		defer func() { _ = a.Close() }()
		s := tls.Server(a, server)
		err := s.HandshakeContext(t.Context())
		if err == nil {
			_, err = s.Write([]byte("x")) // a client hears of a refusal with the first bytes
		}
		done <- err
	}()
	c := tls.Client(b, client)
	atClient = c.HandshakeContext(t.Context())
	if atClient == nil {
		_, atClient = c.Read(make([]byte, 1))
	}
	_ = b.Close()
	return <-done, atClient
}

func TestWhoHoldsTheKeyIsLetIn(t *testing.T) {
	seed := bytes.Repeat([]byte{7}, 32)
	one, other := New(seed, "test-1"), New(seed, "test-1")
	if s, c := shake(t, one.Server, other.Client); s != nil || c != nil {
		t.Errorf("same key: the server says %v, the client %v", s, c)
	}
	stranger := New(bytes.Repeat([]byte{8}, 32), "test-1")
	for name, ends := range map[string][2]*tls.Config{
		"strange client": {one.Server, stranger.Client},
		"strange server": {stranger.Server, one.Client},
		"no certificate": {one.Server, {InsecureSkipVerify: true, NextProtos: []string{"test-1"}}},
	} {
		s, c := shake(t, ends[0], ends[1])
		if s == nil || c == nil {
			t.Errorf("%s: let in: the server says %v, the client %v", name, s, c)
		}
		if name == "strange server" && !errors.Is(c, ErrOther) {
			t.Errorf("%s: the client says %v, want %v", name, c, ErrOther)
		}
	}
	if s, c := shake(t, one.Server, New(seed, "test-2").Client); s == nil || c == nil {
		t.Errorf("another protocol: let in: the server says %v, the client %v", s, c)
	}
}
