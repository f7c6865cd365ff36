package kernels

import "fmt"

// Scale multiplies each element of v by a factor. Float64 is multiplied by the factor itself,
// Float32 by the factor's float32, Float16 and BFloat16 likewise, in float32, before they are
// rounded. Integers are multiplied in float64 and truncated towards zero; a product that the
// type cannot hold becomes the nearest that it can, and NaN becomes 0.
func Scale(v Vector, by float64) {
	switch v.Type {
	case Float32, Float64, Float16, BFloat16:
		active.scale[v.Type](v.Bytes, by)
	case Int8:
		scaleInt(view[int8](v.Bytes), by, -1<<7, 1<<7-1)
	case Int32:
		scaleInt(view[int32](v.Bytes), by, -1<<31, 1<<31-1)
	case Int64:
		scaleInt(view[int64](v.Bytes), by, -1<<63, 1<<63-1)
	case Uint8:
		scaleInt(view[uint8](v.Bytes), by, 0, 1<<8-1)
	default:
		panic(fmt.Sprintf("kernels: scale of a vector of type %d: there is none such", v.Type))
	}
}

// Divide divides each element of v by n, as the last act of an Average over n
// contributions. Floats are rounded to nearest even; Float32, Float16 and BFloat16 are divided
// by the float32 of n, in float32. Integers are truncated towards zero.
func Divide(v Vector, n int) {
	if n <= 0 {
		panic(fmt.Sprintf("kernels: divide by %d: want a positive number", n))
	}
	switch v.Type {
	case Float32, Float64, Float16, BFloat16:
		active.divide[v.Type](v.Bytes, float64(n))
	case Int8:
		divideInt(view[int8](v.Bytes), n)
	case Int32:
		divideInt(view[int32](v.Bytes), n)
	case Int64:
		divideInt(view[int64](v.Bytes), n)
	case Uint8:
		divideInt(view[uint8](v.Bytes), n)
	default:
		panic(fmt.Sprintf("kernels: divide of a vector of type %d: there is none such", v.Type))
	}
}

func divideInt[T int8 | int32 | int64 | uint8](x []T, n int) {
	for i := range x {
		x[i] = T(int64(x[i]) / int64(n))
	}
}

func scaleInt[T int8 | int32 | int64 | uint8](x []T, by float64, low, high T) {
	for i := range x {
		switch p := float64(x[i]) * by; {
		case p != p:
			x[i] = 0
		case p <= float64(low):
			x[i] = low
		case p >= float64(high):
			x[i] = high
		default:
			x[i] = T(p)
		}
	}
}
