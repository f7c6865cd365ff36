package tcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/internal/stranger"
)

// Strangers at a rank's port don't disturb a job, whose next generation can be joined.
func TestStrangers(t *testing.T) {
	for name, encrypt := range map[string]bool{"plain": false, "encrypted": true} {
		t.Run(name, func(t *testing.T) { attack(t, encrypt) })
	}
}

func attack(t *testing.T, encrypt bool) {
	c := testConfig()
	c.Encrypt = encrypt
	fabrics, peers := pair(t, c, c)
	meshes, errs := joinBoth(t, 10*time.Second, 1, fabrics, peers)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	a, err := meshes[0].Conn(1, 0)
	if err != nil {
		t.Fatal(err)
	}
	b, err := meshes[1].Conn(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	sent := uint32(0)
	// A member proves the secret, though it asks for a generation that is over; those who
	// are there already exchange a message meanwhile.
	member := func(addr string) error {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(20 * time.Second))
		w, err := fabrics[0].wrap(t.Context(), c.(*net.TCPConn), true)
		if err != nil {
			return err
		}
		s, theirs, err := greet(w, fabrics[0].key, hello{gen: 0, from: 1, to: 0, lane: controlLane, version: "v1"})
		if err != nil {
			return err
		}
		if no, err := s.verdict(w, theirs); err != nil || no == nil || no.status != statusStale {
			return fmt.Errorf("it was answered %+v, %w", no, err)
		}
		p := make([]byte, 100)
		sent++
		if err := a.Send(transport.Tag{Seq: sent}, p); err != nil {
			return err
		}
		return b.Recv(transport.Tag{Seq: sent}, p, nil)
	}
	huge := binary.LittleEndian.AppendUint64([]byte(greeting), 1<<62)
	stranger.Attack(t, stranger.Port{
		Addr: fabrics[0].Addr(), Member: member, Patience: fabrics[0].c.Handshake, Memory: 64 << 20,
		Openings: [][]byte{[]byte(greeting), []byte("GET / HTTP/1.1\r\n"), {22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}},
		Claims:   [][]byte{huge, make([]byte, helloBytes), {22, 3, 1, 0x3f, 0xff, 1, 0xff, 0xff, 0xff}},
		Replayed: func(answer []byte) error {
			if !encrypt && (len(answer) != challengeBytes+verdictBytes || status(answer[challengeBytes]) != statusAuth) {
				return fmt.Errorf("is answered with %d bytes, want that its proof is wrong", len(answer))
			}
			return nil
		},
	})
	for _, m := range meshes {
		m.Close(nil)
	}
	meshes, errs = joinBoth(t, 10*time.Second, 2, fabrics, peers)
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	for _, m := range meshes {
		if m != nil {
			m.Close(nil)
		}
	}
}
