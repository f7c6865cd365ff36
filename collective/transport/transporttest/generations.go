package transporttest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/collective/transport"
)

// ring passes a frame around.
func (w *world) ring() {
	w.t.Helper()
	n := len(w.fabrics)
	w.each(func(rank int) error {
		right, left := w.conn(rank, (rank+1)%n, 0), w.conn(rank, (rank+n-1)%n, 0)
		in := make([]byte, 1)
		if err := right.Send(tag(1), []byte{byte(rank)}); err != nil {
			return err
		}
		if err := left.Recv(tag(1), in, nil); err != nil {
			return err
		}
		if int(in[0]) != (rank+n-1)%n {
			return fmt.Errorf("got rank %d's frame from the left", in[0])
		}
		return nil
	})
}

func testMissing(t *testing.T, s setup) {
	w := newWorld(t, s, 4)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("waited long enough")
	here := make(chan error, 2)
	for _, rank := range []int{0, 2} {
		go func() {
			_, err := w.fabrics[rank].Mesh(ctx, 1, rank, w.peers)
			here <- err
		}()
	}
	cancel(why)
	for range 2 {
		err := <-here
		join, ok := errors.AsType[*transport.JoinError](err)
		if !ok && (errors.Is(err, transport.ErrAborted) || errors.Is(err, transport.ErrStale)) {
			continue // the other rank's wait ended first, or before this one had met it
		}
		if !ok || !errors.Is(err, why) || join.Generation != 1 {
			t.Errorf("got %v, want to read who is missing", err)
			continue
		}
		var missing []int
		for _, p := range join.Missing {
			missing = append(missing, p.Rank)
		}
		if !slices.Contains(missing, 1) || !slices.Contains(missing, 3) || !strings.Contains(err.Error(), w.peers[3].Addr) {
			t.Errorf("%v: ranks 1 and 3 are missing", err)
		}
	}
}

func testEarly(t *testing.T, s setup) {
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 0, 2}} {
		w := newWorld(t, s, 3)
		w.meshes = make([]transport.Mesh, 3)
		started := []chan struct{}{make(chan struct{}), make(chan struct{}), make(chan struct{})}
		w.each(func(rank int) error {
			if at := slices.Index(order, rank); at > 0 {
				<-started[order[at-1]]
			}
			ctx := &observed{Context: t.Context(), seen: started[rank]}
			var err error
			w.meshes[rank], err = w.fabrics[rank].Mesh(ctx, 1, rank, w.peers)
			return err
		})
		w.ring()
		w.close()
	}
}

// observed is a context that says when somebody has begun to wait for it.
type observed struct {
	context.Context
	seen chan struct{}
}

func (o *observed) Done() <-chan struct{} {
	select {
	case <-o.seen:
	default:
		close(o.seen)
	}
	return o.Context.Done()
}

func testStale(t *testing.T, s setup) {
	w := newWorld(t, s, 3)
	all := w.fabrics
	w.fabrics, w.peers = all[:2], w.peersOf(all[:2]...)
	w.join(t.Context(), 5)
	w.close()

	late := all[2]
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := late.Mesh(ctx, 3, 1, w.peersOf(all[0], late))
	if !errors.Is(err, transport.ErrStale) || !strings.Contains(err.Error(), "generation 3 is over, this is 5") || blames(err) != 0 {
		t.Errorf("got %v, want to be told by rank 0 that generation 3 is over and this is 5", err)
	}
	w.fabrics, w.peers = []transport.Fabric{all[0], late}, w.peersOf(all[0], late)
	w.join(t.Context(), 6)
	w.ring()
	w.close()
	w.fabrics = all
}

func testTwice(t *testing.T, s setup) {
	w := joined(t, s, 2)
	w.close()
	for _, gen := range []uint64{0, 1} {
		if _, err := w.fabrics[0].Mesh(t.Context(), gen, 0, w.peers); !errors.Is(err, transport.ErrStale) {
			t.Errorf("joining generation %d after 1: got %v, want it to be stale", gen, err)
		}
	}
}

func testGenerations(t *testing.T, s setup) {
	w := newWorld(t, s, 3)
	for gen := uint64(1); gen < 10; gen++ {
		w.join(t.Context(), gen)
		w.ring()
		if gen%2 == 0 { // ended by a failure that one rank has seen, the next follows at once
			b := w.block(0, 1, 2)
			w.meshes[gen%3].Close(errors.New("try again"))
			b.wait()
		}
		w.close()
	}
}

func testLeaks(t *testing.T, s setup) {
	const generations = 100
	w := newWorld(t, s, 3)
	goroutines, descriptors := 0, 0
	for gen := range uint64(generations) {
		ctx, cancel := context.WithCancel(t.Context())
		w.join(ctx, gen+1)
		w.ring()
		if gen%10 == 9 {
			w.meshes[1].Close(errors.New("try again"))
		}
		w.close()
		cancel()
		if gen == 4 {
			goroutines, descriptors = runtime.NumGoroutine(), openDescriptors()
		}
	}
	// A context's functions may outlive its end by a moment.
	for start := time.Now(); runtime.NumGoroutine() > goroutines && time.Since(start) < patience; {
		runtime.Gosched()
	}
	if n := runtime.NumGoroutine(); n > goroutines {
		buf := make([]byte, 1<<20)
		t.Errorf("%d goroutines after 5 generations, %d after %d:\n%s", goroutines, n, generations, buf[:runtime.Stack(buf, true)])
	}
	if n := openDescriptors(); n > descriptors {
		t.Errorf("%d descriptors after 5 generations, %d after %d", descriptors, n, generations)
	}
}

// openDescriptors counts the open descriptors of this process, where the system tells.
func openDescriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}
