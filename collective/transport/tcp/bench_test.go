package tcp

import (
	"fmt"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/collective/transport"
)

// BenchmarkRoundTrip sends a frame there and back over loopback, with blocking calls and as
// one that drives its flows does.
func BenchmarkRoundTrip(b *testing.B) {
	for name, m := range map[string]struct {
		spin              time.Duration
		driven, encrypted bool
	}{
		"blocking": {}, "driven": {-1, true, false}, "spinning": {50 * time.Microsecond, true, false},
		"encrypted": {-1, true, true},
	} {
		for _, n := range []int{4, 4 << 10, 64 << 10, 1 << 20, 16 << 20} {
			b.Run(fmt.Sprintf("%s/bytes=%d", name, n), func(b *testing.B) { roundTrip(b, n, m.spin, m.driven, m.encrypted) })
		}
	}
}

func roundTrip(b *testing.B, n int, spin time.Duration, driven, encrypted bool) {
	var peers []transport.Peer
	var fabrics []*Fabric
	for rank := range 2 {
		c := testConfig()
		c.Spin, c.Encrypt = spin, encrypted
		f, err := Listen(c)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		fabrics = append(fabrics, f)
		peers = append(peers, transport.Peer{Rank: rank, Host: "h", Addr: f.Addr()})
	}
	echo := make(chan error, 1)
	go func() {
		m, err := fabrics[1].Mesh(b.Context(), 1, 1, peers)
		if err != nil {
			echo <- err
			return
		}
		defer m.Close(nil)
		c, err := m.Conn(0, 0)
		p := make([]byte, n)
		for i := 0; i < b.N && err == nil; i++ {
			err = turn(c, p, driven, false)
		}
		echo <- err
	}()
	m, err := fabrics[0].Mesh(b.Context(), 1, 0, peers)
	if err != nil {
		b.Fatal(err)
	}
	c, err := m.Conn(1, 0)
	if err != nil {
		b.Fatal(err)
	}
	p := make([]byte, n)
	b.SetBytes(int64(2 * n))
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if err := turn(c, p, driven, true); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	if err := <-echo; err != nil {
		b.Fatal(err)
	}
	m.Close(nil)
}

// turn sends p and receives it, or the other way round.
func turn(c transport.Conn, p []byte, driven, first bool) error {
	var idle transport.Waiting
	for _, sends := range []bool{first, !first} {
		if !driven {
			err := error(nil)
			if sends {
				err = c.Send(transport.Tag{}, p)
			} else {
				err = c.Recv(transport.Tag{}, p, nil)
			}
			if err != nil {
				return err
			}
			continue
		}
		l := c.(*lane)
		for done := false; !done; {
			var moved int
			var err error
			out, in := transport.Flow(l), transport.Flow(l)
			if sends {
				in = nil
				moved, done, err = l.Push(transport.Tag{}, p)
			} else {
				out = nil
				moved, done, err = l.Pull(transport.Tag{}, p, nil)
			}
			if err == nil && moved == 0 && !done {
				err = l.mesh.Wait(idle.Of(out, in))
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}
