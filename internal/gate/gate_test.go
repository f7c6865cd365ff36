package gate

import (
	"io"
	"net"
	"testing"
)

func TestTheOldestStrangerGivesWay(t *testing.T) {
	g := Gate{Strangers: 2, Members: 1}
	var near, far []net.Conn
	for range 4 {
		a, b := net.Pipe()
		near, far = append(near, a), append(far, b)
		t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	}
	g.Enter(near[0])
	g.Enter(near[1])
	if !g.Prove(near[0], true) || g.Waiting() != 1 {
		t.Fatalf("the first is not taken; %d wait", g.Waiting())
	}
	g.Enter(near[2])
	g.Enter(near[3]) // one too many
	if _, err := far[1].Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the oldest of three strangers reads %v, want the end", err)
	}
	if g.Waiting() != 2 {
		t.Errorf("%d wait, want 2", g.Waiting())
	}
	if g.Prove(near[1], false) || g.Prove(near[2], true) {
		t.Error("taken: who proved nothing, or one more member than there is room for")
	}
	g.Leave()
	if !g.Prove(near[3], true) {
		t.Error("there is room again, and it is not taken")
	}
	if g.Waiting() != 0 {
		t.Errorf("%d wait, want none", g.Waiting())
	}
}
