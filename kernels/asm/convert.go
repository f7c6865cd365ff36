package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// chunk is how many elements the conversions, and magnitude, take at a time.
const chunk = 16

// conversions writes the conversions from and to float32.
func (w *writer) conversions() {
	w.convert("float16ToFloat32", 2, 4, func(dst, src operand.Mem) {
		w.store(w.loadF16(src), dst)
	}, w.width/4)
	w.convert("float32ToFloat16", 4, 2, func(dst, src operand.Mem) {
		w.storeF16(w.load(src), dst)
	}, w.width/4)
	w.convert("float32ToFloat64", 4, 8, func(dst, src operand.Mem) {
		v := w.vector()
		w.VCVTPS2PD(src, v)
		w.store(v, dst)
	}, w.width/8)
	w.convert("float64ToFloat32", 8, 4, func(dst, src operand.Mem) {
		v := w.vector()
		w.narrow64(w.load(src), w.half(v))
		w.VMOVUPS(w.half(v), dst)
	}, w.width/8)
	w.convert("bfloat16ToFloat32", 2, 4, func(dst, src operand.Mem) {
		v := w.vector()
		w.VPMOVZXWD(src, v)
		w.store(w.binary(w.VPSLLD, operand.U8(16), v), dst)
	}, w.width/4)
	w.narrowBF16()
}

// convert writes a function of which step converts per elements, of from and to bytes each.
func (w *writer) convert(name string, from, to int, step func(dst, src operand.Mem), per int) {
	w.begin(name, "func(dst, src *byte, n int)", "converts n elements, a multiple of 16.")
	dst, src := w.pointer("dst", chunk*to), w.pointer("src", chunk*from)
	w.loop(chunk, []pointer{dst, src}, func(i int) {
		for k := 0; k < chunk; k += per {
			step(dst.at(i).Offset(k*to), src.at(i).Offset(k*from))
		}
	})
	w.end()
}

// narrow64 rounds float64s to half as many bytes of float32s.
func (w *writer) narrow64(v reg.VecVirtual, half reg.Register) {
	if w.wide() {
		w.VCVTPD2PS(v, half)
	} else {
		w.VCVTPD2PSY(v, half)
	}
}

func (w *writer) narrowBF16() {
	w.begin("float32ToBFloat16", "func(dst, src *byte, n int)", "converts n elements, a multiple of 16.")
	dst, src := w.pointer("dst", chunk*2), w.pointer("src", chunk*4)
	one, bias, quiet := w.constant32(1), w.constant32(0x7FFF), w.constant32(0x40)
	// narrow leaves the BF16s in the lower halves of their 32 bits.
	narrow := func(m operand.Mem) reg.VecVirtual {
		x := w.load(m)
		rounded := w.binary(w.VPSRLD, operand.U8(16), w.roundBF16(x, one, bias))
		nan := w.or(quiet, w.binary(w.VPSRLD, operand.U8(16), x))
		return w.unlessNaN32(x, x, rounded, nan)
	}
	w.loop(chunk, []pointer{dst, src}, func(i int) {
		if w.wide() {
			w.VPMOVDW(narrow(src.at(i)), dst.at(i))
			return
		}
		// VPACKUSDW packs within the 16-byte lanes: lower 4, upper 4, lower 4, upper 4.
		low, high := narrow(src.at(i)), narrow(src.at(i).Offset(w.width))
		packed := w.vector()
		w.VPACKUSDW(high, low, packed)
		w.VPERMQ(operand.U8(0b11_01_10_00), packed, packed)
		w.store(packed, dst.at(i))
	})
	w.end()
}
