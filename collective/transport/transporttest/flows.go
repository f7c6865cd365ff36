package transporttest

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/gorun-ml/gorun/collective/transport"
)

// RunFlows runs the suite for meshes whose lanes are Flows, with every rank on a host of its
// own, all on one, or two on each.
func RunFlows(t *testing.T, open Make) {
	for _, s := range []setup{{open, func(rank int) string { return fmt.Sprint("h", rank) }}, near(open), pairs(open)} {
		t.Run(s.host(2), func(t *testing.T) {
			s.run(t, []testCase{
				{"frames cross each other on one goroutine", testFlow},
				{"flows take turns with calls", testTurns},
				{"tags of flows differ", testFlowMismatch},
				{"an abort ends a wait", testFlowAbort},
				{"a rank that has left is not waited for", testFlowLeft},
				{"flows allocate nothing", testFlowAllocations},
			})
		})
	}
}

// cross sends and receives a frame at once. Either flow may be nil.
func cross(m transport.Mesh, to, from transport.Flow, seq int, out, in []byte, fold transport.Fold) error {
	return crossWith(new(transport.Waiting), m, to, from, seq, out, in, fold)
}

// crossWith is cross for who keeps w.
func crossWith(w *transport.Waiting, m transport.Mesh, to, from transport.Flow, seq int, out, in []byte, fold transport.Fold) error {
	for sent, got := to == nil, from == nil; !sent || !got; {
		var moved, n int
		var err error
		if !sent {
			if n, sent, err = to.Push(tag(seq), out); err != nil {
				return err
			}
			moved += n
		}
		if !got {
			if n, got, err = from.Pull(tag(seq), in, fold); err != nil {
				return err
			}
			moved += n
		}
		if moved > 0 || sent && got {
			w.Tries = 0
			continue
		}
		o, i := to, from
		if sent {
			o = nil
		}
		if got {
			i = nil
		}
		if err := m.(transport.Waiter).Wait(w.Of(o, i)); err != nil {
			return err
		}
	}
	return nil
}

func testFlow(t *testing.T, s setup) {
	const n = 3
	w := joined(t, s, n)
	defer w.close()
	w.each(func(rank int) error {
		next, last := (rank+1)%n, (rank+n-1)%n
		to, from := w.conn(rank, next, 0).(transport.Flow), w.conn(rank, last, 0).(transport.Flow)
		for i, size := range sizes {
			for _, folds := range []bool{false, true} {
				out, in, want := noise(uint64(i*n+rank), size), noise(77, size), noise(uint64(i*n+last), size)
				var f transport.Fold
				if folds {
					f = adder(t, size)
					for k, v := range noise(77, size) {
						want[k] += v
					}
				}
				if err := cross(w.meshes[rank], to, from, i, out, in, f); err != nil {
					return fmt.Errorf("%d bytes: %w", size, err)
				}
				if !bytes.Equal(in, want) {
					return fmt.Errorf("%d bytes, fold %v: other bytes arrived than were sent", size, folds)
				}
			}
		}
		return nil
	})
}

func testTurns(t *testing.T, s setup) {
	w := joined(t, s, 2)
	defer w.close()
	w.each(func(rank int) error {
		c := w.conn(rank, 1-rank, 0)
		f := c.(transport.Flow)
		for i, size := range sizes {
			out, in := noise(uint64(i), size), make([]byte, size)
			var err error
			switch {
			case i%2 == rank && i%4 < 2:
				err = errors.Join(c.Send(tag(i), out), cross(w.meshes[rank], nil, f, i, nil, in, nil))
			case i%2 == rank:
				err = errors.Join(cross(w.meshes[rank], f, nil, i, out, nil, nil), c.Recv(tag(i), in, nil))
			default:
				err = errors.Join(c.Recv(tag(i), in, nil), cross(w.meshes[rank], f, nil, i, in, nil, nil))
			}
			if err != nil {
				return fmt.Errorf("%d bytes: %w", size, err)
			}
			if !bytes.Equal(in, out) {
				return fmt.Errorf("%d bytes: others arrived", size)
			}
		}
		return nil
	})
}

func testFlowMismatch(t *testing.T, s setup) {
	w := joined(t, s, 2)
	w.each(func(rank int) error {
		f := w.conn(rank, 1-rank, 0).(transport.Flow)
		return mismatch(cross(w.meshes[rank], f, f, 1+rank, make([]byte, 64), make([]byte, 64), nil))
	})
	w.close()
}

// lanesTo makes lane 0 of one rank to all others.
func (w *world) lanesTo(one int) {
	w.t.Helper()
	w.each(func(rank int) error {
		for peer := range w.fabrics {
			if peer != rank && (peer == one || rank == one) {
				w.conn(rank, peer, 0)
			}
		}
		return nil
	})
}

// flowsTo is lane 0 to a peer from each rank, had before anything can end them.
func (w *world) flowsTo(peer int) map[int]transport.Flow {
	w.t.Helper()
	flows := map[int]transport.Flow{}
	for rank := range w.fabrics {
		if rank != peer {
			flows[rank] = w.conn(rank, peer, 0).(transport.Flow)
		}
	}
	return flows
}

func testFlowAbort(t *testing.T, s setup) {
	w := joined(t, s, 3)
	cause := errors.New("the loss is not a number")
	w.lanesTo(1)
	flows := w.flowsTo(1)
	w.each(func(rank int) error {
		if rank == 1 {
			return w.meshes[1].Close(cause)
		}
		c := flows[rank]
		err := cross(w.meshes[rank], c, c, 1, make([]byte, 32<<20), make([]byte, 1), nil)
		if blames(err) != 1 || !errors.Is(err, transport.ErrAborted) {
			return fmt.Errorf("got %v, want rank 1's abort", err)
		}
		return nil
	})
	w.close()
}

func testFlowLeft(t *testing.T, s setup) {
	w := joined(t, s, 3)
	w.lanesTo(1)
	flows := w.flowsTo(1)
	w.each(func(rank int) error {
		if rank == 1 {
			return w.meshes[1].Close(nil)
		}
		c := flows[rank]
		err := cross(w.meshes[rank], nil, c, 1, nil, make([]byte, 1), nil)
		if blames(err) != 1 || !errors.Is(err, transport.ErrLost) {
			return fmt.Errorf("got %v, want to hear that rank 1 has left", err)
		}
		return nil
	})
	w.close()
}

func testFlowAllocations(t *testing.T, s setup) {
	w := joined(t, s, 2)
	defer w.close()
	a, b := w.conn(0, 1, 0).(transport.Flow), w.conn(1, 0, 0).(transport.Flow)
	const rounds = 30
	large := [][]byte{make([]byte, 1<<20), make([]byte, 1<<20), make([]byte, 1<<20), make([]byte, 1<<20)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var wait transport.Waiting
		for range rounds + 2 {
			if err := crossWith(&wait, w.meshes[1], b, b, 1, large[0], large[1], nil); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	var wait transport.Waiting
	round := func() {
		if err := crossWith(&wait, w.meshes[0], a, a, 1, large[2], large[3], nil); err != nil {
			t.Error(err)
		}
	}
	round()
	if got := testing.AllocsPerRun(rounds, round); got != 0 {
		t.Errorf("%v allocations an exchange, want none", got)
	}
	<-done
}
