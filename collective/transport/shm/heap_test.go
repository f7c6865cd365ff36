package shm

import (
	"math/rand/v2"
	"testing"
)

// TestHeap takes and gives at random and checks against a map of all pages.
func TestHeap(t *testing.T) {
	const page, from, to = 4096, 8 << 20, 64 << 20
	h := newHeap(from, to, page)
	pages := map[uint64]uint32{}
	var blocks []block
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 5000 {
		if r.IntN(3) > 0 {
			bytes := uint64(1 + r.IntN(1<<r.IntN(24)))
			b, ok := h.take(bytes)
			if !ok {
				continue
			}
			if b.data < b.from || b.data+bytes > b.to || b.from < from || b.to > to || b.data%page != 0 {
				t.Fatalf("asked for %d bytes, got %+v", bytes, b)
			}
			if bytes >= large && b.from%large != 0 {
				t.Errorf("%d bytes start at %#x", bytes, b.from)
			}
			for at := b.from; at < b.to; at += page {
				if pages[at] != 0 {
					t.Fatalf("step %d: page %#x is given twice", i, at)
				}
				pages[at] = b.id
			}
			blocks = append(blocks, b)
		} else if len(blocks) > 0 {
			k := r.IntN(len(blocks))
			b := blocks[k]
			blocks[k] = blocks[len(blocks)-1]
			blocks = blocks[:len(blocks)-1]
			h.give(b)
			for at := b.from; at < b.to; at += page {
				delete(pages, at)
			}
		}
		for range 10 {
			at := from + uint64(r.IntN(to-from))
			if b, ok := h.at(at, 1); ok && b.id != pages[at&^(page-1)] {
				t.Fatalf("byte %#x is said to be of block %d, it is of %d", at, b.id, pages[at&^(page-1)])
			}
		}
	}
	for _, b := range blocks {
		if got, ok := h.at(b.data+b.bytes-1, 1); !ok || got != b {
			t.Errorf("the last byte of %+v is said to be of %+v", b, got)
		}
		if _, ok := h.at(b.data, b.bytes+1); ok {
			t.Errorf("%+v is said to have %d bytes", b, b.bytes+1)
		}
		h.give(b)
	}
	if len(h.used) != 0 || len(h.free) != 1 || h.free[0] != (span{from, to}) {
		t.Errorf("when all is given back, %v is free and %v used", h.free, h.used)
	}
}
