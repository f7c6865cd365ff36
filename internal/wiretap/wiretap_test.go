package wiretap

import (
	"io"
	"net"
	"testing"
)

func TestBothDirectionsAreHeard(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	tap, err := Listen(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan string, 1)
	go func() {
		defer close(asked)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		b := make([]byte, 8)
		if _, err := io.ReadFull(c, b); err != nil {
			return
		}
		asked <- string(b)
		_, _ = io.WriteString(c, "answer")
	}()
	c, err := net.Dial("tcp", tap.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, "question"); err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(c)
	if got := <-asked; err != nil || got != "question" || string(all) != "answer" {
		t.Errorf("%q was asked, %q answered: %v", got, all, err)
	}
	if err := tap.Close(); err != nil {
		t.Error(err)
	}
	if !tap.Heard([]byte("estio")) || !tap.Heard([]byte("answer")) || tap.Heard([]byte("questionanswer")) || tap.Bytes() != 14 {
		t.Errorf("of 14 bytes in two directions, %d were heard", tap.Bytes())
	}
}

func TestCloseEndsConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	tap, err := Listen(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", tap.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	d, err := l.Accept() // it has got through
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	if err := tap.Close(); err != nil {
		t.Error(err)
	}
	for name, end := range map[string]net.Conn{"dialer": c, "other": d} {
		if _, err := end.Read(make([]byte, 1)); err == nil {
			t.Errorf("the %s reads on", name)
		}
	}
}
