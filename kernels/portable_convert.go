package kernels

import "math"

func portableConversions(l *level) {
	l.convert = [BFloat16 + 1][BFloat16 + 1]func(dst, src []byte){
		Float32: {
			Float64:  convert(func(x float64) float32 { return float32(x) }),
			Float16:  convert(F16.Float32),
			BFloat16: convert(BF16.Float32),
		},
		Float64: {
			Float32:  convert(func(x float32) float64 { return float64(x) }),
			Float16:  convert(func(x F16) float64 { return float64(x.Float32()) }),
			BFloat16: convert(func(x BF16) float64 { return float64(x.Float32()) }),
		},
		Float16: {
			Float32:  convert(ToF16),
			Float64:  convert(func(x float64) F16 { return ToF16(roundOdd(x)) }),
			BFloat16: convert(func(x BF16) F16 { return ToF16(x.Float32()) }),
		},
		BFloat16: {
			Float32: convert(ToBF16),
			Float64: convert(func(x float64) BF16 { return ToBF16(roundOdd(x)) }),
			Float16: convert(func(x F16) BF16 { return ToBF16(x.Float32()) }),
		},
	}
}

func convert[D, S Element](f func(S) D) func(dst, src []byte) {
	return func(dst, src []byte) {
		d := view[D](dst)
		for i, x := range view[S](src)[:len(d)] {
			d[i] = f(x)
		}
	}
}

// roundOdd rounds x to a float32 so that rounding on, to half the width, gives what rounding
// x at once would have given: where bits are lost, the last bit is set (Boldo and Melquiond,
// "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to odd",
// 2008).
func roundOdd(x float64) float32 {
	y := float32(x)
	if back := float64(y); back == x || x != x {
		return y
	} else if math.Abs(back) > math.Abs(x) {
		// y was rounded away from zero; the number before it is the one cut off.
		y = math.Float32frombits(math.Float32bits(y) - 1)
	}
	return math.Float32frombits(math.Float32bits(y) | 1)
}
