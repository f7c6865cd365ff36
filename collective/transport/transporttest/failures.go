package transporttest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/collective/transport"
)

// soon is how long a failure may take to reach all ranks of one host.
const soon = 100 * time.Millisecond

// blocked is ranks that wait for data that does not come, on several lanes.
type blocked struct {
	w     *world
	calls sync.WaitGroup
	mu    sync.Mutex
	errs  map[int][]error
}

// block lets every rank wait for its left neighbour on two lanes and, on a third, send to
// its right more than fits anywhere. It returns when all lanes are made.
func (w *world) block(ranks ...int) *blocked {
	w.t.Helper()
	b := &blocked{w: w, errs: map[int][]error{}}
	n := len(w.fabrics)
	conns := make([][]transport.Conn, n)
	w.each(func(rank int) error {
		for lane := range 3 {
			conns[rank] = append(conns[rank], w.conn(rank, (rank+1)%n, lane), w.conn(rank, (rank+n-1)%n, lane))
		}
		return nil
	})
	large := make([]byte, 32<<20) // only read
	for _, rank := range ranks {
		for lane := range 3 {
			b.calls.Go(func() {
				var err error
				if lane < 2 {
					err = conns[rank][2*lane+1].Recv(tag(1), make([]byte, 100), nil)
				} else {
					err = conns[rank][2*lane].Send(tag(1), large)
				}
				b.mu.Lock()
				defer b.mu.Unlock()
				b.errs[rank] = append(b.errs[rank], err)
			})
		}
	}
	return b
}

// wait waits for the calls and returns one error a rank, which all its calls must share.
func (b *blocked) wait() map[int]error {
	b.w.t.Helper()
	start := time.Now()
	wait(b.w.t, &b.calls)
	if took := time.Since(start); took > soon {
		b.w.t.Errorf("the failure took %v to reach all calls, want %v at most", took, soon)
	}
	one := map[int]error{}
	for rank, errs := range b.errs {
		for _, err := range errs {
			if err == nil {
				b.w.t.Errorf("rank %d: a call succeeded without its data", rank)
			} else if err != errs[0] {
				b.w.t.Errorf("rank %d: its calls fail with %q and %q, want the same", rank, errs[0], err)
			}
		}
		one[rank] = errs[0]
	}
	return one
}

// blames returns the rank that an error is about, -1 where it is about none.
func blames(err error) int {
	if abort, ok := errors.AsType[*transport.AbortError](err); ok {
		return abort.Rank
	}
	if peer, ok := errors.AsType[*transport.PeerError](err); ok {
		return peer.Rank
	}
	return -1
}

func testTagMismatch(t *testing.T, s setup) {
	testMismatch(t, s, func(c transport.Conn, rank int) (send, recv error) {
		mine := transport.Tag{Seq: 1, Kind: uint8(1 + rank)}
		send = c.Send(mine, make([]byte, 64))
		return send, c.Recv(mine, make([]byte, 64), nil)
	})
}

func testLengthMismatch(t *testing.T, s setup) {
	testMismatch(t, s, func(c transport.Conn, rank int) (send, recv error) {
		send = c.Send(tag(1), make([]byte, 64+rank))
		return send, c.Recv(tag(1), make([]byte, 64+rank), nil)
	})
}

func testMismatch(t *testing.T, s setup, call func(c transport.Conn, rank int) (send, recv error)) {
	w := joined(t, s, 3)
	conns := []transport.Conn{w.conn(0, 1, 0), w.conn(1, 0, 0), w.conn(2, 0, 0)}
	w.each(func(rank int) error {
		if rank == 2 { // an onlooker learns of it too
			return mismatch(conns[2].Recv(tag(1), make([]byte, 8), nil))
		}
		_, err := call(conns[rank], rank)
		return mismatch(err)
	})
	w.close()
}

func mismatch(err error) error {
	if !errors.Is(err, transport.ErrMismatch) {
		return fmt.Errorf("got %v, want a mismatch", err)
	}
	if s := err.Error(); !strings.Contains(s, "rank 0") || !strings.Contains(s, "rank 1") {
		return fmt.Errorf("%q does not name both ranks", s)
	}
	if a, ok := errors.AsType[*transport.AbortError](err); ok {
		if m := a.Mismatch; m == nil || m.Self != a.By || m.Self+m.Peer != 1 || m.Want == m.Got && m.WantBytes == m.GotBytes {
			return fmt.Errorf("rank %d reports the mismatch %+v", a.By, m)
		}
	}
	return nil
}

func testAbort(t *testing.T, s setup) {
	w := joined(t, s, 4)
	b := w.block(0, 1, 2, 3)
	cause := errors.New("the loss is not a number")
	if err := w.meshes[1].Close(cause); err != nil {
		t.Error(err)
	}
	for rank, err := range b.wait() {
		if rank == 1 {
			if err != cause {
				t.Errorf("rank 1 closed with %q and its calls fail with %q", cause, err)
			}
			continue
		}
		if blames(err) != 1 || !errors.Is(err, transport.ErrAborted) || !strings.Contains(err.Error(), cause.Error()) {
			t.Errorf("rank %d: got %v, want rank 1's abort with its cause", rank, err)
		}
	}
	w.close()
}

func testAbortPassedOn(t *testing.T, s setup) {
	w := joined(t, s, 3)
	b := w.block(0, 2)
	lost := fmt.Errorf("all-reduce 17: %w", &transport.PeerError{Rank: 7, Host: "far", Err: transport.ErrLost})
	w.meshes[1].Close(lost)
	for rank, err := range b.wait() {
		if blames(err) != 7 || !errors.Is(err, transport.ErrLost) {
			t.Errorf("rank %d: got %v, want rank 7 to be lost", rank, err)
		}
	}
	w.close()
}

func testContext(t *testing.T, s setup) {
	w := newWorld(t, s, 3)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	w.join(ctx, 1)
	b := w.block(0, 1, 2)
	cause := errors.New("generation 2 was committed")
	cancel(cause)
	for rank, err := range b.wait() {
		if !errors.Is(err, cause) && !strings.Contains(err.Error(), cause.Error()) {
			t.Errorf("rank %d: got %v, want the context's cause", rank, err)
		}
	}
	w.close()
}

func testLost(t *testing.T, s setup) {
	w := joined(t, s, 5)
	b := w.block(0, 1, 3, 4)
	w.fabrics[2].(Killer).Kill()
	for rank, err := range b.wait() {
		if blames(err) != 2 || !errors.Is(err, transport.ErrLost) {
			t.Errorf("rank %d: got %v, want rank 2 to be lost", rank, err)
		}
	}
	w.close()

	// The others go on without it.
	w.fabrics = append(w.fabrics[:2], w.fabrics[3:]...)
	w.peers = w.peersOf(w.fabrics...)
	w.join(t.Context(), 2)
	w.ring()
	w.close()
}

func testLeft(t *testing.T, s setup) {
	w := joined(t, s, 3)
	for rank := range 3 {
		w.conn(rank, (rank+1)%3, 0)
	}
	b := w.block(0) // on its left, 2, and sending to its right, 1
	w.meshes[1].Close(nil)
	left := func(what string, err error) {
		if blames(err) != 1 || !errors.Is(err, transport.ErrLost) || !strings.Contains(err.Error(), "left") {
			t.Errorf("%s rank 1, which has left: got %v", what, err)
		}
	}
	left("waiting for", w.conn(0, 1, 0).Recv(tag(1), make([]byte, 1), nil))
	left("sending to", w.conn(2, 1, 0).Send(tag(1), make([]byte, 32<<20)))
	start := time.Now()
	c, err := w.meshes[0].Conn(1, 7)
	if err == nil {
		err = c.Recv(tag(1), make([]byte, 1), nil)
	}
	left("a new lane to", err)
	if took := time.Since(start); took > patience/4 {
		t.Errorf("a new lane to a rank that has left failed after %v", took)
	}

	// Who does not need it goes on.
	a, z := w.conn(0, 2, 5), w.conn(2, 0, 5)
	if err := errors.Join(a.Send(tag(1), []byte{1}), z.Recv(tag(1), []byte{1}, nil)); err != nil {
		t.Errorf("ranks 0 and 2 can't go on when rank 1 has left: %v", err)
	}
	w.meshes[0].Close(errors.New("enough"))
	wait(t, &b.calls)
	w.close()
}

func testSentBeforeLeaving(t *testing.T, s setup) {
	for range 10 {
		w := joined(t, s, 2)
		w.conn(1, 0, 0)
		if err := w.conn(0, 1, 0).Send(tag(1), []byte{42}); err != nil {
			t.Fatal(err)
		}
		w.meshes[0].Close(nil)
		got := make([]byte, 1)
		if err := w.conn(1, 0, 0).Recv(tag(1), got, nil); err != nil || got[0] != 42 {
			t.Errorf("got %v and %v, want what was sent", got, err)
		}
		w.close()
	}
}
