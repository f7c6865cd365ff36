package shm

import (
	"cmp"
	"slices"
)

// heap says which parts of a range of addresses are in use. First fit: what is shared is
// few and large.
type heap struct {
	page uint64
	free []span // ascending, no two of them touch
	used []block
	made uint32 // blocks ever
}

type span struct{ from, to uint64 }

// block is a span in use. What was asked for begins at data.
type block struct {
	span
	data  uint64
	bytes uint64
	id    uint32 // never 0, no two blocks in use have the same
	user  bool   // returned by Alloc
}

const (
	large   = 2 << 20 // blocks from here on start at a multiple of this, the size of a large page
	colours = 16      // and are shifted by this many different pages, not to compete for the same places in caches
)

func newHeap(from, to, page uint64) *heap {
	return &heap{page: page, free: []span{{up(from, page), to &^ (page - 1)}}}
}

func up(n, to uint64) uint64 { return (n + to - 1) &^ (to - 1) }

// take finds room for bytes, of which there must be some.
func (h *heap) take(bytes uint64) (block, bool) {
	size, align, shift := up(bytes, h.page), h.page, uint64(0)
	if size >= large {
		align, shift = max(large, h.page), uint64(h.made%colours)*h.page
	}
	for i, s := range h.free {
		from := up(s.from, align)
		to := from + shift + size
		if from < s.from || to < from || to > s.to {
			continue
		}
		var left []span
		if s.from < from {
			left = append(left, span{s.from, from})
		}
		if to < s.to {
			left = append(left, span{to, s.to})
		}
		h.free = slices.Replace(h.free, i, i+1, left...)
		h.made++
		if h.made == 0 {
			h.made++
		}
		b := block{span: span{from, to}, data: from + shift, bytes: bytes, id: h.made}
		at, _ := h.find(from)
		h.used = slices.Insert(h.used, at, b)
		return b, true
	}
	return block{}, false
}

// find is the index of the block at from, or where it would be.
func (h *heap) find(from uint64) (int, bool) {
	return slices.BinarySearchFunc(h.used, from, func(b block, from uint64) int { return cmp.Compare(b.from, from) })
}

// at returns the block that [data, data+n) is part of.
func (h *heap) at(data, n uint64) (block, bool) {
	i, found := h.find(data)
	if !found {
		i--
	}
	if i < 0 {
		return block{}, false
	}
	b := h.used[i]
	return b, data >= b.data && data-b.data <= b.bytes && n <= b.bytes-(data-b.data)
}

// give frees a block.
func (h *heap) give(b block) {
	i, found := h.find(b.from)
	if !found {
		panic("shm: a block is freed that is not in use")
	}
	h.used = slices.Delete(h.used, i, i+1)
	s := b.span
	j, _ := slices.BinarySearchFunc(h.free, s.from, func(f span, from uint64) int { return cmp.Compare(f.from, from) })
	to := j
	if j > 0 && h.free[j-1].to == s.from {
		j--
		s.from = h.free[j].from
	}
	if to < len(h.free) && h.free[to].from == s.to {
		s.to = h.free[to].to
		to++
	}
	h.free = slices.Replace(h.free, j, to, s)
}
