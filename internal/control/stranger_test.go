package control

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/internal/stranger"
)

// Strangers at rank 0's port don't disturb a job whose ranks have still to come.
func TestStrangersAtTheBareRendezvous(t *testing.T) {
	port := freePort(t)
	rank0 := enter(t, 0, 3, port)
	if rank0 == nil {
		t.FailNow()
	}
	defer func() { _ = rank0.Close() }() // the job is over
	// One that is no rank yet: it says hello, hears the secret, and leaves before it is one.
	hear := func(addr string) error {
		raw, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		defer func() { _ = raw.Close() }() // all was said
		w, err := greet(newLineConn(raw), hello{Rank: 1, Size: 3})
		if err == nil && w.Job != rank0.Job() {
			err = fmt.Errorf("it was welcomed to job %s, want %s", w.Job, rank0.Job())
		}
		return err
	}
	// That the last one has left may not be known yet.
	member := func(addr string) error {
		again := time.NewTicker(10 * time.Millisecond)
		defer again.Stop()
		for began := time.Now(); ; <-again.C {
			err := hear(addr)
			if err == nil || !strings.Contains(err.Error(), "is there already") || time.Since(began) > 10*time.Second {
				return err
			}
		}
	}
	stranger.Attack(t, stranger.Port{
		Addr: fmt.Sprintf("127.0.0.1:%d", port), Member: member, Patience: helloWithin, Memory: 16 << 20,
		Openings: [][]byte{[]byte(`{"id":1,"op":"hello","body":{"rank":`), []byte(`{"id":1,"op":"register","body":{}}` + "\n")},
		Claims:   [][]byte{[]byte(`{"id":1,"op":"hello","body":"`)},
	})
	rank1, rank2 := enter(t, 1, 3, port), enter(t, 2, 3, port)
	for rank, b := range []*Bare{rank0, rank1, rank2} {
		if b == nil {
			t.FailNow()
		}
		if g, err := b.Watch(t.Context(), 0); err != nil || len(g.Members) != 3 {
			t.Errorf("rank %d: the first generation is %+v (%v)", rank, g, err)
		}
	}
	for _, b := range []*Bare{rank1, rank2} {
		_ = b.Close() // the job is over
	}
}
