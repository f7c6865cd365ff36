package faulty

import "github.com/gorun-ml/gorun/collective/transport"

// window is a mesh whose ranks reach each other's memory.
type window struct {
	*mesh
	reach transport.Window
	self  int
}

func (w *window) Sharing() []int                                 { return w.reach.Sharing() }
func (w *window) Alloc(bytes int) ([]byte, error)                { return w.reach.Alloc(bytes) }
func (w *window) Free(p []byte) error                            { return w.reach.Free(p) }
func (w *window) Place(p []byte) (at uint64, ok bool)            { return w.reach.Place(p) }
func (w *window) Memory(r int, at uint64, n int) ([]byte, error) { return w.reach.Memory(r, at, n) }

func (w *window) Board(lane int) (transport.Board, error) {
	b, err := w.reach.Board(lane)
	if err != nil {
		return nil, err
	}
	blamed := w.self
	for _, rank := range w.Sharing() {
		if rank != w.self {
			blamed = rank
			break
		}
	}
	return board{Board: b, window: w, peer: blamed}, nil
}

type board struct {
	transport.Board
	window *window
	peer   int // whose connection a reset breaks
}

// Publish sets the clock when the plan lets it.
func (b board) Publish(tick uint32) {
	if b.window.hold(b.window.peer(b.peer), transport.NoteBytes) == nil && b.window.Err() == nil {
		b.Board.Publish(tick)
	}
}
