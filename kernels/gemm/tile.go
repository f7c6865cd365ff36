package gemm

import (
	"math"
	"unsafe"
)

// tile is a part of C small enough for its sums to stay in registers. The assembly knows
// where the fields lie; steps are in bytes.
type tile struct {
	a, b, c, bias      *float32
	rowStep, depthStep int // in A
	bStep, cStep       int // between rows
	depth              int
	rows, vectors      int
	mask               [8]uint64 // of the last vector: a bit, or on AVX2 a word, for each number
	alpha, beta        float32
	relu               uint32
	cols               int
}

// level is the size of the tiles that suit one kind of processor, and what computes them.
type level struct {
	name          string
	lanes         int // numbers a vector
	rows, vectors int // of the largest tile
	kind          int
}

const (
	portable = iota
	avx2
	avx512
)

// levels are those that this processor can run, the fastest last.
var levels = supported()

var fastest = levels[len(levels)-1]

// columns sets how wide the tile is.
func (l *level) columns(t *tile, cols int) {
	t.cols = cols
	t.vectors = (cols + l.lanes - 1) / l.lanes
	rest := cols - (t.vectors-1)*l.lanes
	if l.kind == avx2 {
		words := (*[8]uint32)(unsafe.Pointer(&t.mask))
		for i := range words {
			words[i] = 0
			if i < rest {
				words[i] = math.MaxUint32
			}
		}
		return
	}
	t.mask[0] = 1<<rest - 1
}

// plain computes a tile without assembly.
func (t *tile) plain() {
	at := func(p *float32, bytes int) *float32 { return (*float32)(unsafe.Add(unsafe.Pointer(p), bytes)) }
	var sums [portableCols]float32
	for r := range t.rows {
		sums := sums[:t.cols]
		clear(sums)
		for k := range t.depth {
			a := *at(t.a, r*t.rowStep+k*t.depthStep)
			for j, b := range unsafe.Slice(at(t.b, k*t.bStep), t.cols) {
				sums[j] += a * b
			}
		}
		for j, c := range unsafe.Slice(at(t.c, r*t.cStep), t.cols) {
			v := t.alpha * sums[j]
			if t.beta != 0 {
				v += t.beta * c
			}
			if t.bias != nil {
				v += *at(t.bias, 4*j)
			}
			if t.relu != 0 && v < 0 {
				v = 0
			}
			*at(t.c, r*t.cStep+4*j) = v
		}
	}
}

// portableCols is as wide as tiles in Go are: their sums stay in the first-level cache.
const portableCols = 128

var inGo = &level{name: "portable", lanes: portableCols, rows: 4, vectors: 1, kind: portable}
