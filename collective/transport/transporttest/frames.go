package transporttest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"unsafe"

	"github.com/gorun-ml/gorun/collective/transport"
)

// sizes are around every border that a transport may have.
var sizes = []int{
	0, 1, 3, 8, 27, 28, 29, 63, 64, 65, 1000, 4096, 8191, 8192, 8193, 16<<10 - 36, 16 << 10, 16<<10 + 1,
	64<<10 - 1, 64 << 10, 128<<10 - 1, 128 << 10, 128<<10 + 1, 1<<20 + 3, 5 << 20,
}

func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	r.Read(b)
	return b
}

func tag(seq int) transport.Tag { return transport.Tag{Seq: uint32(seq), Step: 3, Kind: 1, Bytes: 12} }

// adder is a fold of bytes that checks what it is given.
func adder(t *testing.T, total int) transport.Fold {
	seen := 0
	return func(dst, src []byte) {
		if len(dst) != len(src) || len(dst) == 0 {
			t.Errorf("fold of %d bytes into %d", len(src), len(dst))
			return
		}
		if off := uintptr(unsafe.Pointer(unsafe.SliceData(src))) % 8; off != 0 {
			t.Errorf("fold of %d bytes from memory %d bytes past a multiple of 8", len(src), off)
		}
		if seen += len(src); seen%64 != 0 && seen != total {
			t.Errorf("a fold ends at byte %d of %d", seen, total)
		}
		for i, v := range src {
			dst[i] += v
		}
	}
}

func testFrames(t *testing.T, s setup) {
	w := joined(t, s, 2)
	defer w.close()
	w.each(func(rank int) error {
		c := w.conn(rank, 1-rank, 0)
		for i, n := range sizes {
			for j, fold := range []bool{false, true} {
				sent := noise(uint64(i), n)
				if rank == 0 {
					if err := c.Send(tag(2*i+j), sent); err != nil {
						return err
					}
					continue
				}
				got := noise(99, n)
				want := sent
				var f transport.Fold
				if fold {
					f = adder(t, n)
					want = noise(99, n)
					for k := range want {
						want[k] += sent[k]
					}
				}
				if err := c.Recv(tag(2*i+j), got, f); err != nil {
					return fmt.Errorf("%d bytes, fold %v: %w", n, fold, err)
				}
				if !bytes.Equal(got, want) {
					return fmt.Errorf("%d bytes, fold %v: other bytes arrived than were sent", n, fold)
				}
			}
		}
		return nil
	})
}

func testEager(t *testing.T, s setup) {
	w := joined(t, s, 2)
	defer w.close()
	w.each(func(rank int) error {
		c := w.conn(rank, 1-rank, 0)
		p := make([]byte, transport.EagerBytes)
		for round := range 20 {
			for i := range transport.EagerFrames {
				if err := c.Send(tag(round+i), p); err != nil {
					return err
				}
			}
			for i := range transport.EagerFrames {
				if err := c.Recv(tag(round+i), p, nil); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// exchange sends and receives n bytes at once.
func exchange(c transport.Conn, seq int, out, in []byte) error {
	sent := make(chan error, 1)
	go func() { sent <- c.Send(tag(seq), out) }()
	err := c.Recv(tag(seq), in, nil)
	if e := <-sent; err == nil {
		err = e
	}
	return err
}

func testDuplex(t *testing.T, s setup) {
	w := joined(t, s, 2)
	defer w.close()
	const n = 12<<20 + 5
	w.each(func(rank int) error {
		in := make([]byte, n)
		for round := range 3 {
			if err := exchange(w.conn(rank, 1-rank, 0), round, noise(uint64(10*round+rank), n), in); err != nil {
				return err
			}
			if !bytes.Equal(in, noise(uint64(10*round+1-rank), n)) {
				return fmt.Errorf("round %d: other bytes arrived than were sent", round)
			}
		}
		return nil
	})
}

func testLanes(t *testing.T, s setup) {
	const n, lanes, rounds = 3, 6, 12
	w := joined(t, s, n)
	defer w.close()
	w.each(func(rank int) error {
		var work sync.WaitGroup
		for peer := range n {
			for lane := range lanes {
				if peer == rank {
					continue
				}
				work.Go(func() {
					c := w.conn(rank, peer, lane)
					if again := w.conn(rank, peer, lane); again != c {
						t.Errorf("rank %d: lane %d to rank %d is another the second time", rank, lane, peer)
					}
					for round := range rounds {
						size := 1 + (lane+1)*round*round*700
						out, in := make([]byte, size+8), make([]byte, size+8)
						binary.LittleEndian.PutUint64(out, uint64(rank*1000000+peer*10000+lane*100+round))
						if err := exchange(c, round, out, in); err != nil {
							t.Errorf("rank %d, lane %d to rank %d: %v", rank, lane, peer, err)
							return
						}
						if got, want := binary.LittleEndian.Uint64(in), uint64(peer*1000000+rank*10000+lane*100+round); got != want {
							t.Errorf("rank %d, lane %d, round %d: got frame %d, want %d", rank, lane, round, got, want)
						}
					}
				})
			}
		}
		work.Wait()
		return nil
	})
}

func testWrongLane(t *testing.T, s setup) {
	w := joined(t, s, 2)
	defer w.close()
	for _, c := range []struct{ peer, lane int }{{1, -1}, {1, transport.MaxLanes}, {2, 0}, {-1, 0}, {0, 0}} {
		if _, err := w.meshes[0].Conn(c.peer, c.lane); err == nil {
			t.Errorf("rank 0 has got lane %d to rank %d", c.lane, c.peer)
		}
	}
	w.conn(0, 1, transport.MaxLanes-1)
}

func testAllocations(t *testing.T, s setup) {
	w := joined(t, s, 2)
	defer w.close()
	for _, n := range []int{4, transport.EagerBytes, 1 << 20} {
		for _, f := range []transport.Fold{nil, func(dst, src []byte) {}} {
			const rounds = 50
			a, b := w.conn(0, 1, 0), w.conn(1, 0, 0)
			there, back := make([]byte, n), make([]byte, n)
			var echo sync.WaitGroup
			echo.Go(func() {
				for range 10 + rounds + 1 {
					if b.Recv(tag(1), back, f) != nil || b.Send(tag(2), back) != nil {
						return
					}
				}
			})
			round := func() {
				if err := a.Send(tag(1), there); err != nil {
					t.Error(err)
				}
				if err := a.Recv(tag(2), there, f); err != nil {
					t.Error(err)
				}
			}
			for range 10 {
				round()
			}
			if got := testing.AllocsPerRun(rounds, round); got != 0 {
				t.Errorf("%d bytes, fold %v: %v allocations there and back, want none", n, f != nil, got)
			}
			wait(t, &echo)
		}
	}
}
