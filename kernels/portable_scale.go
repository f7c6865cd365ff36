package kernels

import "math"

func portableFactors(l *level) {
	multiply := func(x, by float32) float32 { return canon(x * by) }
	divide := func(x, by float32) float32 { return canon(x / by) }
	l.scale = [BFloat16 + 1]func(dst []byte, by float64){
		Float32:  factor(func(x float32, by float64) float32 { return multiply(x, float32(by)) }),
		Float64:  factor(func(x, by float64) float64 { return canon(x * by) }),
		Float16:  factor(func(x F16, by float64) F16 { return ToF16(multiply(x.Float32(), float32(by))) }),
		BFloat16: factor(func(x BF16, by float64) BF16 { return ToBF16(multiply(x.Float32(), float32(by))) }),
	}
	l.divide = [BFloat16 + 1]func(dst []byte, by float64){
		Float32:  factor(func(x float32, by float64) float32 { return divide(x, float32(by)) }),
		Float64:  factor(func(x, by float64) float64 { return canon(x / by) }),
		Float16:  factor(func(x F16, by float64) F16 { return ToF16(divide(x.Float32(), float32(by))) }),
		BFloat16: factor(func(x BF16, by float64) BF16 { return ToBF16(divide(x.Float32(), float32(by))) }),
	}
}

func factor[T Element](f func(x T, by float64) T) func(dst []byte, by float64) {
	return func(dst []byte, by float64) {
		d := view[T](dst)
		for i, x := range d {
			d[i] = f(x, by)
		}
	}
}

func magnitude(x []byte) uint32 {
	var most uint32
	for _, v := range view[float32](x) {
		most = max(most, math.Float32bits(v)&0x7FFF_FFFF)
	}
	return most
}
