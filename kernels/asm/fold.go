package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// operation computes x op y. What it needs in registers it has loaded when it was made.
type operation func(x, y reg.VecVirtual) reg.VecVirtual

// operations are a type's reductions, each made by a function that emits its constants. A
// missing one is the same as another type's.
type operations struct {
	name                   string
	sum, product, min, max func() operation
	load                   func(m operand.Mem) reg.VecVirtual
	store                  func(v reg.VecVirtual, m operand.Mem)
	step                   int // bytes that one load takes
}

// folds writes the reductions of all types. Wrapping sums and products of uint8 are
// those of int8.
func (w *writer) folds() {
	float32s := operations{
		name: "Float32", step: w.width, load: w.load, store: w.store,
		sum: w.sum32, product: w.product32, min: w.min32, max: w.max32,
	}
	float16s := float32s
	float16s.name, float16s.step = "Float16", w.width/2
	float16s.load, float16s.store = w.loadF16, w.storeF16
	bfloat16s := float32s
	bfloat16s.name = "BFloat16"
	bfloat16s.sum, bfloat16s.product = w.pairs(w.sum32), w.pairs(w.product32)
	bfloat16s.min, bfloat16s.max = w.pairs(w.min32), w.pairs(w.max32)
	simple := func(instruction func(...operand.Op)) func() operation {
		return func() operation {
			return func(x, y reg.VecVirtual) reg.VecVirtual { return w.binary(instruction, y, x) }
		}
	}
	for _, o := range []operations{
		float32s,
		{name: "Float64", sum: w.sum64, product: w.product64, min: w.min64, max: w.max64},
		float16s,
		bfloat16s,
		{name: "Int8", sum: simple(w.VPADDB), product: w.productInt8, min: simple(w.VPMINSB), max: simple(w.VPMAXSB)},
		{name: "Int32", sum: simple(w.VPADDD), product: simple(w.VPMULLD), min: simple(w.VPMINSD), max: simple(w.VPMAXSD)},
		{name: "Int64", sum: simple(w.VPADDQ), product: w.productInt64, min: w.minInt64, max: w.maxInt64},
		{name: "Uint8", min: simple(w.VPMINUB), max: simple(w.VPMAXUB)},
	} {
		if o.load == nil {
			o.step, o.load, o.store = w.width, w.load, w.store
		}
		w.fold("sum", o, o.sum)
		w.fold("product", o, o.product)
		w.fold("min", o, o.min)
		w.fold("max", o, o.max)
	}
}

func (w *writer) fold(op string, o operations, make func() operation) {
	if make == nil {
		return
	}
	w.begin(op+o.name, "func(dst, a, b *byte, n int)", "folds n bytes, a multiple of its vectors' length.")
	dst, a, b := w.pointer("dst", o.step), w.pointer("a", o.step), w.pointer("b", o.step)
	combine := make()
	w.loop(o.step, []pointer{dst, a, b}, func(i int) {
		o.store(combine(o.load(a.at(i)), o.load(b.at(i))), dst.at(i))
	})
	w.end()
}

const (
	quietNaN32 = 0x7FC0_0000
	quietNaN64 = 0x7FF8_0000_0000_0000
)

func (w *writer) sum32() operation     { return w.canonical32(w.VADDPS) }
func (w *writer) product32() operation { return w.canonical32(w.VMULPS) }
func (w *writer) sum64() operation     { return w.canonical64(w.VADDPD) }
func (w *writer) product64() operation { return w.canonical64(w.VMULPD) }

// canonical32 is an instruction whose NaNs are all made the same one.
func (w *writer) canonical32(instruction func(...operand.Op)) operation {
	nan := w.constant32(quietNaN32)
	return func(x, y reg.VecVirtual) reg.VecVirtual {
		v := w.binary(instruction, y, x)
		return w.unlessNaN32(v, v, v, nan)
	}
}

func (w *writer) canonical64(instruction func(...operand.Op)) operation {
	nan := w.constant64(quietNaN64)
	return func(x, y reg.VecVirtual) reg.VecVirtual {
		v := w.binary(instruction, y, x)
		return w.unlessNaN64(v, v, v, nan)
	}
}

// VMINPS returns Intel's second source where its sources are equal zeros or one is a NaN. So
// the minimum both ways round differs in a zero's sign only, and the or of the two has the
// minus sign; the and of two maxima has the plus sign. NaNs are put in at the end.

func (w *writer) min32() operation { return w.bothWays32(w.VMINPS, w.or) }
func (w *writer) max32() operation { return w.bothWays32(w.VMAXPS, w.and) }
func (w *writer) min64() operation { return w.bothWays64(w.VMINPD, w.or) }
func (w *writer) max64() operation { return w.bothWays64(w.VMAXPD, w.and) }

func (w *writer) bothWays32(instruction func(...operand.Op), join func(x, y operand.Op) reg.VecVirtual) operation {
	nan := w.constant32(quietNaN32)
	return func(x, y reg.VecVirtual) reg.VecVirtual {
		v := join(w.binary(instruction, x, y), w.binary(instruction, y, x))
		return w.unlessNaN32(x, y, v, nan)
	}
}

func (w *writer) bothWays64(instruction func(...operand.Op), join func(x, y operand.Op) reg.VecVirtual) operation {
	nan := w.constant64(quietNaN64)
	return func(x, y reg.VecVirtual) reg.VecVirtual {
		v := join(w.binary(instruction, x, y), w.binary(instruction, y, x))
		return w.unlessNaN64(x, y, v, nan)
	}
}

// loadF16 widens half a vector of F16s to a vector of float32s.
func (w *writer) loadF16(m operand.Mem) reg.VecVirtual {
	v := w.vector()
	w.VCVTPH2PS(m, v)
	return v
}

// storeF16 rounds to nearest even, whatever the processor's rounding mode.
func (w *writer) storeF16(v reg.VecVirtual, m operand.Mem) { w.VCVTPS2PH(operand.U8(0), v, m) }

// pairs makes an operation on float32s one on BF16s.
func (w *writer) pairs(make func() operation) func() operation {
	return func() operation {
		combine, each := make(), w.bothOfPairs()
		return func(x, y reg.VecVirtual) reg.VecVirtual {
			return each(func(widen widening) reg.VecVirtual { return combine(widen(x), widen(y)) })
		}
	}
}

// widening takes one of each pair of BF16s as a float32.
type widening func(v reg.VecVirtual) reg.VecVirtual

// bothOfPairs returns what computes a vector of BF16s from the float32s that compute returns
// for either half of the pairs:
//
//	| odd  even | odd  even | …     a vector of BF16
//	| even    0 | even    0 | …     shifted up: half of them as float32
//	| odd     0 | odd     0 | …     masked: the other half
func (w *writer) bothOfPairs() func(compute func(widening) reg.VecVirtual) reg.VecVirtual {
	upper, one, bias := w.constant32(0xFFFF_0000), w.constant32(1), w.constant32(0x7FFF)
	return func(compute func(widening) reg.VecVirtual) reg.VecVirtual {
		even := compute(func(v reg.VecVirtual) reg.VecVirtual { return w.binary(w.VPSLLD, operand.U8(16), v) })
		even = w.binary(w.VPSRLD, operand.U8(16), w.roundBF16(even, one, bias))
		odd := compute(func(v reg.VecVirtual) reg.VecVirtual { return w.and(upper, v) })
		odd = w.and(upper, w.roundBF16(odd, one, bias))
		return w.or(even, odd)
	}
}

// roundBF16 rounds float32s so that their upper halves are the nearest BF16s, ties to even.
// Of NaNs it is right for those without payload in the lower half.
func (w *writer) roundBF16(v, one, bias reg.VecVirtual) reg.VecVirtual {
	last := w.and(one, w.binary(w.VPSRLD, operand.U8(16), v))
	return w.binary(w.VPADDD, w.binary(w.VPADDD, bias, last), v)
}

// productInt8 multiplies in 16 bits, the lower bytes of each pair and then the upper ones.
func (w *writer) productInt8() operation {
	lower := w.constant32(0x00FF_00FF)
	eight := operand.U8(8)
	return func(x, y reg.VecVirtual) reg.VecVirtual {
		even := w.and(lower, w.binary(w.VPMULLW, y, x))
		odd := w.binary(w.VPMULLW, w.binary(w.VPSRLW, eight, y), w.binary(w.VPSRLW, eight, x))
		return w.or(even, w.binary(w.VPSLLW, eight, odd))
	}
}

// productInt64 multiplies in halves: x·y = xl·yl + 2³²(xl·yh + xh·yl) modulo 2⁶⁴. AVX-512 has
// an instruction for it that is no faster on most processors.
func (w *writer) productInt64() operation {
	half := operand.U8(32)
	return func(x, y reg.VecVirtual) reg.VecVirtual {
		low := w.binary(w.VPMULUDQ, y, x)
		cross := w.binary(w.VPADDQ,
			w.binary(w.VPMULUDQ, w.binary(w.VPSRLQ, half, y), x),
			w.binary(w.VPMULUDQ, w.binary(w.VPSRLQ, half, x), y))
		return w.binary(w.VPADDQ, low, w.binary(w.VPSLLQ, half, cross))
	}
}

// AVX2 has no minimum of int64s, but a comparison.

func (w *writer) minInt64() operation {
	return func(x, y reg.VecVirtual) reg.VecVirtual {
		if w.wide() {
			return w.binary(w.VPMINSQ, y, x)
		}
		greater, v := w.binary(w.VPCMPGTQ, y, x), w.vector()
		w.VBLENDVPD(greater, y, x, v)
		return v
	}
}

func (w *writer) maxInt64() operation {
	return func(x, y reg.VecVirtual) reg.VecVirtual {
		if w.wide() {
			return w.binary(w.VPMAXSQ, y, x)
		}
		greater, v := w.binary(w.VPCMPGTQ, y, x), w.vector()
		w.VBLENDVPD(greater, x, y, v)
		return v
	}
}
