package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// magnitude writes the search for the largest magnitude among float32s: without their
// signs, their bits are ordered as they are themselves, then infinity, then NaNs.
func (w *writer) magnitude() {
	w.begin("magnitudeFloat32", "func(src *byte, n int) uint32", "returns the largest bits, without the sign, of n elements, a multiple of 16.")
	src := w.pointer("src", chunk*4)
	unsigned, most := w.constant32(0x7FFF_FFFF), w.constant32(0)
	w.loop(chunk, []pointer{src}, func(i int) {
		for k := 0; k < chunk*4; k += w.width {
			w.VPMAXUD(w.and(unsigned, w.load(src.at(i).Offset(k))), most, most)
		}
	})
	w.Store(w.largest(most), w.ReturnIndex(0))
	w.end()
}

// largest is the largest of a vector's 32-bit numbers: the upper half is folded onto the
// lower one until one number is left.
func (w *writer) largest(v reg.VecVirtual) reg.Register {
	other := w.YMM()
	if w.wide() {
		w.VEXTRACTI64X4(operand.U8(1), v, other)
		w.VPMAXUD(other, v.AsY(), v.AsY())
	}
	w.VEXTRACTI128(operand.U8(1), v.AsY(), other.AsX())
	w.VPMAXUD(other.AsX(), v.AsX(), v.AsX())
	for _, order := range []operand.U8{0b11_10, 0b01} {
		w.VPSHUFD(order, v.AsX(), other.AsX())
		w.VPMAXUD(other.AsX(), v.AsX(), v.AsX())
	}
	r := w.GP32()
	w.VMOVD(v.AsX(), r)
	return r
}
