package tcp

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/collective/transport"
)

// flowing returns both ends of a lane between two ranks.
func flowing(t *testing.T, c Config) (ends [2]transport.Flow, meshes []transport.Mesh) {
	t.Helper()
	if !flows {
		t.Skip("this system's lanes are not flows")
	}
	fabrics, peers := pair(t, c, c)
	meshes, errs := joinBoth(t, 10*time.Second, 1, fabrics, peers)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for rank, m := range meshes {
		t.Cleanup(func() { m.Close(nil) })
		conn, err := m.Conn(1-rank, 0)
		if err != nil {
			t.Fatal(err)
		}
		ends[rank] = conn.(transport.Flow)
	}
	return ends, meshes
}

func noise(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 0))
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

func add(dst, src []byte) {
	for i := range dst {
		dst[i] += src[i]
	}
}

// One goroutine a rank sends and receives frames of all sizes at once.
func TestFlowBothWays(t *testing.T) {
	sizes := []int{
		0, 1, 27, smallBytes - 1, smallBytes, smallBytes + 1, 0, 3, inBytes, pieceBytes - 64,
		pieceBytes + 1, callBytes, 3<<20 + 5, 12, 2 << 20, 70_000, 5,
	}
	var frames [2][][]byte
	for rank := range frames {
		for i, n := range append(sizes, sizes...) { // each both ways of receiving
			frames[rank] = append(frames[rank], noise(uint64(2*i+rank), n))
		}
	}
	for name, change := range map[string]func(*Config){
		"plain":                  func(c *Config) { c.Checksum = Never },
		"summed":                 func(c *Config) { c.Checksum = Always },
		"spinning":               func(c *Config) { c.Spin = time.Millisecond },
		"polite":                 func(c *Config) { c.Spin = -1 },
		"encrypted":              func(c *Config) { c.Encrypt, c.Checksum = true, Never },
		"encrypted, polite, far": func(c *Config) { c.Encrypt, c.Checksum, c.Spin = true, Always, -1 },
	} {
		t.Run(name, func(t *testing.T) {
			c := testConfig()
			change(&c)
			ends, meshes := flowing(t, c)
			var ranks sync.WaitGroup
			for rank, end := range ends {
				w := meshes[rank].(transport.Waiter)
				ranks.Go(func() {
					if err := exchange(w, end, frames[rank], frames[1-rank]); err != nil {
						t.Errorf("rank %d: %v", rank, err)
						meshes[rank].Close(err)
					}
				})
			}
			ranks.Wait()
		})
	}
}

// exchange sends the frames out to the other rank while it receives what that sends, which
// must be want. Every other frame is folded.
func exchange(w transport.Waiter, end transport.Flow, out, want [][]byte) error {
	var got []byte
	var idle transport.Waiting
	sent, received := 0, 0
	for sent < len(out) || received < len(want) {
		moved := 0
		var to, from transport.Flow
		if sent < len(out) {
			n, done, err := end.Push(transport.Tag{Seq: uint32(sent)}, out[sent])
			if err != nil {
				return err
			}
			if moved += n; done {
				sent++
				continue
			}
			to = end
		}
		if received < len(want) {
			if got == nil {
				got = make([]byte, len(want[received]))
			}
			var fold transport.Fold
			if received%2 == 1 {
				fold = add
			}
			n, done, err := end.Pull(transport.Tag{Seq: uint32(received)}, got, fold)
			if err != nil {
				return err
			}
			if moved += n; done {
				if !bytes.Equal(got, want[received]) {
					return fmt.Errorf("frame %d differs", received)
				}
				received++
				got = nil
				continue
			}
			from = end
		}
		if moved == 0 {
			if err := w.Wait(idle.Of(to, from)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Frames may go either way in turns, and the first that is pushed finds a Recv under way.
func TestFlowBesideBlockingCalls(t *testing.T) {
	t.Run("plain", func(t *testing.T) { testFlowBesideBlockingCalls(t, testConfig()) })
	t.Run("encrypted", func(t *testing.T) {
		c := testConfig()
		c.Encrypt = true
		testFlowBesideBlockingCalls(t, c)
	})
}

func testFlowBesideBlockingCalls(t *testing.T, c Config) {
	ends, meshes := flowing(t, c)
	w := meshes[0].(transport.Waiter)
	big := noise(1, 1<<20)
	for turn := range 3 {
		var other sync.WaitGroup
		other.Go(func() {
			p := make([]byte, len(big))
			if err := errors.Join(ends[1].Recv(transport.Tag{}, p, nil), ends[1].Send(transport.Tag{}, p)); err != nil {
				t.Error(err)
			}
		})
		other.Go(func() {
			p := make([]byte, len(big))
			if err := ends[0].Recv(transport.Tag{}, p, nil); err != nil || !bytes.Equal(p, big) {
				t.Errorf("turn %d: what comes back differs, or %v", turn, err)
			}
		})
		if turn%2 == 1 {
			if err := ends[0].Send(transport.Tag{}, big); err != nil {
				t.Fatal(err)
			}
		} else if err := pushAll(w, ends[0], big); err != nil {
			t.Fatal(err)
		}
		other.Wait()
	}
}

func pushAll(w transport.Waiter, f transport.Flow, p []byte) error {
	var idle transport.Waiting
	for {
		moved, done, err := f.Push(transport.Tag{}, p)
		if done || err != nil {
			return err
		}
		if moved == 0 {
			if err := w.Wait(idle.Of(f, nil)); err != nil {
				return err
			}
		}
	}
}

// The end of the mesh ends all calls on flows with its cause, those that wait too.
func TestFlowsEndWithTheMesh(t *testing.T) {
	for _, spin := range []time.Duration{-1, time.Hour, -2} {
		c := testConfig()
		c.Spin, c.Encrypt = spin, spin == -2
		ends, meshes := flowing(t, c)
		why := errors.New("enough")
		var waiting sync.WaitGroup
		begun := make(chan struct{}, 4)
		results := make([]error, 4)
		wait := func(i, rank int, work func(transport.Waiter) error) {
			waiting.Go(func() { results[i] = work(meshes[rank].(transport.Waiter)) })
		}
		pull := func(end transport.Flow) func(transport.Waiter) error {
			return func(w transport.Waiter) error {
				var idle transport.Waiting
				p := make([]byte, 8)
				for first := true; ; first = false {
					if _, _, err := end.Pull(transport.Tag{}, p, nil); err != nil {
						return err
					}
					if first {
						begun <- struct{}{}
					}
					if err := w.Wait(idle.Of(nil, end)); err != nil {
						return err
					}
				}
			}
		}
		push := func(end transport.Flow) func(transport.Waiter) error {
			return func(w transport.Waiter) error {
				var idle transport.Waiting
				p := make([]byte, 256<<20)
				told := false
				for {
					moved, _, err := end.Push(transport.Tag{Kind: 9}, p)
					if err != nil {
						return err
					}
					if moved > 0 {
						continue
					}
					if !told {
						told = true
						begun <- struct{}{}
					}
					if err := w.Wait(idle.Of(end, nil)); err != nil {
						return err
					}
				}
			}
		}
		other := [2]transport.Flow{}
		for rank, m := range meshes {
			conn, err := m.Conn(1-rank, 1)
			if err != nil {
				t.Fatal(err)
			}
			other[rank] = conn.(transport.Flow)
		}
		wait(0, 0, pull(ends[0]))
		wait(1, 1, pull(ends[1]))
		wait(2, 0, push(other[0]))
		wait(3, 1, push(other[1]))
		for range 4 {
			<-begun
		}
		start := time.Now()
		meshes[0].Close(why)
		waiting.Wait()
		if took := time.Since(start); took > 500*time.Millisecond {
			t.Errorf("spin %v: calls ended after %v", spin, took)
		}
		for i, err := range results {
			if i%2 == 0 && err != why || i%2 == 1 && !errors.Is(err, transport.ErrAborted) {
				t.Errorf("spin %v: call %d of rank %d ends with %v", spin, i, i%2, err)
			}
		}
		for _, end := range ends {
			if _, _, err := end.Push(transport.Tag{}, nil); err == nil {
				t.Errorf("spin %v: a frame is pushed after the end", spin)
			}
			if _, _, err := end.Pull(transport.Tag{}, nil, nil); err == nil {
				t.Errorf("spin %v: a frame is pulled after the end", spin)
			}
		}
	}
}

// A lane can be waited for before it is used.
func TestWaitFirst(t *testing.T) {
	c := testConfig()
	c.Spin = -1
	ends, meshes := flowing(t, c)
	if err := meshes[0].(transport.Waiter).Wait(new(transport.Waiting).Of(ends[0], nil)); err != nil {
		t.Error(err)
	}
	if err := ends[0].Send(transport.Tag{}, []byte{1}); err != nil {
		t.Error(err)
	}
	if err := meshes[1].(transport.Waiter).Wait(new(transport.Waiting).Of(nil, ends[1])); err != nil {
		t.Error(err)
	}
	if err := ends[1].Recv(transport.Tag{}, make([]byte, 1), nil); err != nil {
		t.Error(err)
	}
}

// A connection that something is wrapped around offers blocking calls alone.
func TestWrappedLanesAreNoFlows(t *testing.T) {
	c := testConfig()
	c.Wrap = func(c net.Conn) net.Conn { return struct{ net.Conn }{c} }
	fabrics, peers := pair(t, c, c)
	meshes, errs := joinBoth(t, 10*time.Second, 1, fabrics, peers)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	conn, err := meshes[0].Conn(1, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := conn.(transport.Flow); ok {
		t.Error("a wrapped lane is a flow")
	}
	for _, m := range meshes {
		m.Close(nil)
	}
}
