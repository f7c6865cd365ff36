package transporttest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/gorun-ml/gorun/collective/transport"
)

// RunWindows runs the suite for meshes that are Windows, of ranks that all share memory.
func RunWindows(t *testing.T, open Make) {
	near(open).run(t, []testCase{
		{"all share", testSharing},
		{"notes and areas come with the tick", testBoard},
		{"clocks go round", testCircle},
		{"a board waits in both ways", testPace},
		{"boards of lanes are independent", testBoards},
		{"memory is reached", testReach},
		{"memory is used again", testReuse},
		{"a wild place is an error", testWild},
		{"an abort ends a board's calls", testBoardAbort},
		{"the context ends a board's calls", testBoardContext},
		{"a lost rank ends a board's calls", testBoardLost},
		{"a rank that has left is not waited for", testBoardLeft},
		{"a board allocates nothing", testBoardAllocations},
		{"generations begin at 0", testBoardGenerations},
	})
}

func (w *world) window(rank int) transport.Window { return w.meshes[rank].(transport.Window) }

func (w *world) board(rank, lane int) transport.Board {
	w.t.Helper()
	b, err := w.window(rank).Board(lane)
	if err != nil {
		w.t.Errorf("rank %d: board of lane %d: %v", rank, lane, err)
		panic(err)
	}
	return b
}

func testSharing(t *testing.T, s setup) {
	w := joined(t, s, 3)
	defer w.close()
	for rank := range 3 {
		if got := w.window(rank).Sharing(); !slices.Equal(got, []int{0, 1, 2}) {
			t.Errorf("rank %d shares with %v, want all", rank, got)
		}
		for _, lane := range []int{-1, transport.MaxLanes} {
			if _, err := w.window(rank).Board(lane); err == nil {
				t.Errorf("rank %d has got the board of lane %d", rank, lane)
			}
		}
		if w.board(rank, 5) != w.board(rank, 5) {
			t.Error("a board is another the second time")
		}
	}
}

// round lets a rank say something with a tick and checks what the others say with it.
func (w *world) round(b transport.Board, rank int, tick uint32) error {
	n := len(w.fabrics)
	say := func(r int) []byte { return fmt.Appendf(nil, "rank %d at %d", r, tick) }
	place := int(tick%7) * 4096
	copy(b.Note(rank, tick), say(rank))
	copy(b.Area(rank)[place:], say(rank))
	b.Publish(tick)
	for r := range n {
		if err := b.Await(r, tick); err != nil {
			return fmt.Errorf("waiting for rank %d at %d: %w", r, tick, err)
		}
		want := say(r)
		if got := b.Note(r, tick)[:len(want)]; !bytes.Equal(got, want) {
			return fmt.Errorf("the note is %q, want %q", got, want)
		}
		if got := b.Area(r)[place : place+len(want)]; !bytes.Equal(got, want) {
			return fmt.Errorf("the area says %q, want %q", got, want)
		}
	}
	return nil
}

func testBoard(t *testing.T, s setup) {
	w := joined(t, s, 4)
	defer w.close()
	w.each(func(rank int) error {
		b := w.board(rank, 0)
		if n := len(b.Area(rank)); n != transport.AreaBytes {
			return fmt.Errorf("the area has %d bytes", n)
		}
		if n := len(b.Note(rank, 1)); n != transport.NoteBytes {
			return fmt.Errorf("the note has %d bytes", n)
		}
		if err := b.Await((rank+1)%4, 0); err != nil {
			return fmt.Errorf("clocks do not stand at 0: %w", err)
		}
		for tick := uint32(1); tick < 500; tick++ {
			if err := w.round(b, rank, tick); err != nil {
				return err
			}
		}
		return nil
	})
}

func testCircle(t *testing.T, s setup) {
	w := joined(t, s, 2)
	defer w.close()
	w.each(func(rank int) error {
		b := w.board(rank, 0)
		for _, from := range []uint32{0x3fffffff, 0x7ffffff1, 0xb0000001, 0xfffffff1} {
			for tick := from; tick != from+32; tick++ {
				if err := w.round(b, rank, tick); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// testPace has one rank late by far more than any other waits awake.
func testPace(t *testing.T, s setup) {
	w := joined(t, s, 3)
	defer w.close()
	w.each(func(rank int) error {
		b := w.board(rank, 0)
		for tick := uint32(1); tick < 20; tick++ {
			if int(tick)%3 == rank {
				<-time.After(5 * time.Millisecond)
			}
			if err := w.round(b, rank, tick); err != nil {
				return err
			}
		}
		return nil
	})
}

func testBoards(t *testing.T, s setup) {
	w := joined(t, s, 3)
	defer w.close()
	w.each(func(rank int) error {
		var lanes sync.WaitGroup
		for _, lane := range []int{0, 1, 17, transport.MaxLanes - 1} {
			lanes.Go(func() {
				b := w.board(rank, lane)
				for tick := uint32(1); tick < uint32(100+lane); tick++ {
					if err := w.round(b, rank, tick); err != nil {
						t.Errorf("rank %d, lane %d: %v", rank, lane, err)
						return
					}
				}
			})
		}
		lanes.Wait()
		return nil
	})
}

// testReach has every rank read the memory of the next, and write to it.
func testReach(t *testing.T, s setup) {
	const n, size = 3, 1<<20 + 100
	w := joined(t, s, n)
	defer w.close()
	w.each(func(rank int) error {
		win, b := w.window(rank), w.board(rank, 0)
		p, err := win.Alloc(size)
		if err != nil {
			return err
		}
		copy(p, noise(uint64(rank), size))
		part := p[1000 : size-1000]
		at, ok := win.Place(part)
		if !ok {
			return errors.New("what was allocated has no place")
		}
		binary.LittleEndian.PutUint64(b.Note(rank, 1), at)
		b.Publish(1)
		next := (rank + 1) % n
		if err := b.Await(next, 1); err != nil {
			return err
		}
		far, err := win.Memory(next, binary.LittleEndian.Uint64(b.Note(next, 1)), len(part))
		if err != nil {
			return err
		}
		if !bytes.Equal(far, noise(uint64(next), size)[1000:size-1000]) {
			return fmt.Errorf("rank %d's memory holds something else", next)
		}
		for i := range far {
			far[i] += 3
		}
		b.Publish(2)
		for r := range n {
			if err := b.Await(r, 2); err != nil {
				return err
			}
		}
		want := noise(uint64(rank), size)
		for i := range want[1000 : size-1000] {
			want[1000+i] += 3
		}
		if !bytes.Equal(p, want) {
			return errors.New("what another rank wrote is not there, or elsewhere")
		}
		return win.Free(p)
	})
}

func testReuse(t *testing.T, s setup) {
	w := joined(t, s, 2)
	defer w.close()
	w.each(func(rank int) error {
		f := w.window(rank)
		var held [][]byte
		for round := range 60 {
			size := 1 + round*round*3000
			p, err := f.Alloc(size)
			if err != nil {
				return err
			}
			if len(p) != size || cap(p) != size || uintptr(unsafe.Pointer(unsafe.SliceData(p)))%4096 != 0 {
				return fmt.Errorf("asked for %d bytes at a page, got %d of %d at %p", size, len(p), cap(p), p)
			}
			if n := bytes.Count(p, []byte{0}); n != size {
				return fmt.Errorf("%d bytes of %d are not zero", size-n, size)
			}
			copy(p, bytes.Repeat([]byte{byte(round + 1)}, size))
			held = append(held, p)
			if round%3 != 2 {
				continue
			}
			i := round / 2 % len(held)
			if bytes.Count(held[i], held[i][:1]) != len(held[i]) {
				return errors.New("memory is used twice")
			}
			if err := f.Free(held[i]); err != nil {
				return err
			}
			if _, ok := f.Place(held[i]); ok {
				return errors.New("freed memory has a place")
			}
			held = slices.Delete(held, i, i+1)
		}
		for _, p := range held {
			if err := f.Free(p); err != nil {
				return err
			}
		}
		if p, err := f.Alloc(0); err != nil || len(p) != 0 || f.Free(p) != nil {
			return fmt.Errorf("no bytes: got %d and %v", len(p), err)
		}
		if _, err := f.Alloc(-1); err == nil {
			return errors.New("-1 bytes were allocated")
		}
		return nil
	})
}

func testWild(t *testing.T, s setup) {
	w := joined(t, s, 2)
	defer w.close()
	a, b := w.window(0), w.window(1)
	p, err := a.Alloc(100_000)
	if err != nil {
		t.Fatal(err)
	}
	at, _ := a.Place(p)
	for _, c := range []struct {
		rank int
		at   uint64
		n    int
	}{
		{0, at, 0},
		{0, at, -1},
		{0, at, 200_000},
		{0, at - 8192, 100},
		{0, at - 8192, 10_000},
		{0, at + 1<<20, 1},
		{0, 0, 1},
		{0, 1 << 63, 1},
		{0, ^uint64(0), 1},
		{0, ^uint64(0) - 4, 100},
		{0, at, int(^uint(0) >> 1)},
		{2, at, 1},
		{-1, at, 1},
	} {
		if got, err := b.Memory(c.rank, c.at, c.n); err == nil {
			t.Errorf("rank 1 has got %d bytes at %#x of rank %d, where %d were allocated at %#x", len(got), c.at, c.rank, len(p), at)
		}
	}
	for _, q := range [][]byte{nil, {}, make([]byte, 10), p[:0]} {
		if _, ok := a.Place(q); ok {
			t.Errorf("%d bytes that are not shared memory have a place", len(q))
		}
	}
	if _, ok := b.Place(p); ok {
		t.Error("rank 0's memory has a place in rank 1's")
	}
	for _, q := range [][]byte{p[1:], p[:10], make([]byte, 10)} {
		if a.Free(q) == nil {
			t.Errorf("%d bytes were freed that Alloc has not returned", len(q))
		}
	}
	if err := a.Free(p); err != nil {
		t.Error(err)
	}
	if _, err := b.Memory(0, at, 1); err == nil {
		t.Error("freed memory can be reached")
	}
}

// stuck has ranks wait for a tick, on two lanes, that rank silent does not publish.
func (w *world) stuck(tick uint32, silent int, ranks ...int) *blocked {
	w.t.Helper()
	b := &blocked{w: w, errs: map[int][]error{}}
	var waiting sync.WaitGroup
	for _, rank := range ranks {
		for lane := range 2 {
			board := w.board(rank, lane)
			if rank != silent {
				board.Publish(tick)
			}
			waiting.Add(1)
			b.calls.Go(func() {
				waiting.Done()
				err := board.Await(silent, tick)
				b.mu.Lock()
				defer b.mu.Unlock()
				b.errs[rank] = append(b.errs[rank], err)
			})
		}
	}
	waiting.Wait()
	<-time.After(2 * time.Millisecond) // most of them sleep by now
	return b
}

func testBoardAbort(t *testing.T, s setup) {
	w := joined(t, s, 4)
	b := w.stuck(1, 1, 0, 1, 2, 3)
	cause := errors.New("the loss is not a number")
	w.meshes[1].Close(cause)
	for rank, err := range b.wait() {
		if rank == 1 {
			if err != cause {
				t.Errorf("rank 1 closed with %q and its calls fail with %q", cause, err)
			}
		} else if blames(err) != 1 || !errors.Is(err, transport.ErrAborted) || !strings.Contains(err.Error(), cause.Error()) {
			t.Errorf("rank %d: got %v, want rank 1's abort with its cause", rank, err)
		}
		if again := w.board(rank, 0).Await(rank, 1); again != err {
			t.Errorf("rank %d: once the mesh has ended, a call returns %v, want %v", rank, again, err)
		}
	}
	w.close()
}

func testBoardContext(t *testing.T, s setup) {
	w := newWorld(t, s, 3)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	w.join(ctx, 1)
	b := w.stuck(1, 1, 0, 2)
	cause := errors.New("generation 2 was committed")
	cancel(cause)
	for rank, err := range b.wait() {
		if !errors.Is(err, cause) && !strings.Contains(err.Error(), cause.Error()) {
			t.Errorf("rank %d: got %v, want the context's cause", rank, err)
		}
	}
	w.close()
}

func testBoardLost(t *testing.T, s setup) {
	w := joined(t, s, 5)
	b := w.stuck(1, 2, 0, 1, 3, 4)
	w.fabrics[2].(Killer).Kill()
	for rank, err := range b.wait() {
		if blames(err) != 2 || !errors.Is(err, transport.ErrLost) {
			t.Errorf("rank %d: got %v, want rank 2 to be lost", rank, err)
		}
	}
	w.close()

	// The others go on without it, and keep what they have.
	w.fabrics = append(w.fabrics[:2], w.fabrics[3:]...)
	w.peers = w.peersOf(w.fabrics...)
	kept := make([][]byte, len(w.fabrics))
	for i, f := range w.fabrics {
		p, err := f.Alloc(1 << 20)
		if err != nil {
			t.Fatal(err)
		}
		kept[i] = p
		copy(p, noise(uint64(i), len(p)))
	}
	w.join(t.Context(), 2)
	w.each(func(rank int) error {
		if !bytes.Equal(kept[rank], noise(uint64(rank), 1<<20)) {
			return errors.New("its memory has changed")
		}
		return w.round(w.board(rank, 0), rank, 1)
	})
	w.close()
}

func testBoardLeft(t *testing.T, s setup) {
	w := joined(t, s, 3)
	w.board(1, 0).Publish(1)
	b := w.stuck(1, 2, 0) // which will not leave
	var last sync.WaitGroup
	last.Go(func() {
		err := w.board(2, 3).Await(1, 1) // which will
		if blames(err) != 1 || !errors.Is(err, transport.ErrLost) || !strings.Contains(err.Error(), "left") {
			t.Errorf("waiting for rank 1, which leaves: got %v", err)
		}
	})
	w.meshes[1].Close(nil)
	wait(t, &last)
	if err := w.board(2, 0).Await(1, 1); err != nil {
		t.Errorf("what rank 1 had published before it left is not seen: %v", err)
	}
	for lane := range 2 {
		w.board(2, lane).Publish(1)
	}
	wait(t, &b.calls)
	for _, err := range b.errs[0] {
		if err != nil {
			t.Errorf("ranks 0 and 2 can't go on when rank 1 has left: %v", err)
		}
	}
	w.close()
}

func testBoardAllocations(t *testing.T, s setup) {
	w := joined(t, s, 2)
	defer w.close()
	const rounds = 200
	var echo sync.WaitGroup
	boards := []transport.Board{w.board(0, 0), w.board(1, 0)}
	round := func(rank int, tick uint32) {
		b := boards[rank]
		b.Note(rank, tick)[0]++
		b.Publish(tick)
		if err := b.Await(1-rank, tick); err != nil {
			t.Error(err)
		}
	}
	echo.Go(func() {
		for tick := range uint32(rounds + 2) {
			round(1, tick+1)
		}
	})
	tick := uint32(1)
	round(0, tick)
	got := testing.AllocsPerRun(rounds, func() {
		tick++
		round(0, tick)
	})
	if got != 0 {
		t.Errorf("%v allocations a tick, want none", got)
	}
	wait(t, &echo)
}

func testBoardGenerations(t *testing.T, s setup) {
	w := newWorld(t, s, 3)
	for gen := uint64(1); gen < 8; gen++ {
		w.join(t.Context(), gen)
		w.each(func(rank int) error {
			for _, lane := range []int{0, 9} {
				b := w.board(rank, lane)
				for tick := uint32(1); tick < uint32(10+gen); tick++ {
					if err := w.round(b, rank, tick); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if gen%2 == 0 {
			b := w.stuck(uint32(10+gen), 0, 1, 2)
			w.meshes[0].Close(errors.New("try again"))
			wait(t, &b.calls)
		}
		w.close()
	}
}
