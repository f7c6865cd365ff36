package collective_test

import (
	"fmt"
	"math"

	"github.com/gorun-ml/gorun/kernels"
)

// The dumb versions: every rank's input is a function of its rank and the index, so the
// result is computed from scratch, in float64, on values that all types hold exactly.

var allTypes = []kernels.Type{
	kernels.Float32, kernels.Float64, kernels.Float16, kernels.BFloat16,
	kernels.Int8, kernels.Int32, kernels.Int64, kernels.Uint8,
}

var allOps = []kernels.Op{kernels.Sum, kernels.Product, kernels.Min, kernels.Max, kernels.Average}

// input is element i of a rank's vector. Products stay powers of two.
func input(op kernels.Op, rank, i int) float64 {
	h := uint32(rank*7919+i)*2654435761 + uint32(rank)
	if op == kernels.Product {
		return float64(1 + h>>20&1)
	}
	return float64(h >> 20 % 11)
}

// reduced is element i of the reduction over n ranks.
func reduced(op kernels.Op, n, i int) float64 {
	v := input(op, 0, i)
	for r := 1; r < n; r++ {
		x := input(op, r, i)
		switch op {
		case kernels.Sum, kernels.Average:
			v += x
		case kernels.Product:
			v *= x
		case kernels.Min:
			v = min(v, x)
		case kernels.Max:
			v = max(v, x)
		}
	}
	if op == kernels.Average {
		v /= float64(n)
	}
	return v
}

// vector makes a vector of a type from numbers.
func vector(t kernels.Type, n int, f func(i int) float64) kernels.Vector {
	switch t {
	case kernels.Float32:
		return made(n, func(i int) float32 { return float32(f(i)) })
	case kernels.Float64:
		return made(n, f)
	case kernels.Float16:
		return made(n, func(i int) kernels.F16 { return kernels.ToF16(float32(f(i))) })
	case kernels.BFloat16:
		return made(n, func(i int) kernels.BF16 { return kernels.ToBF16(float32(f(i))) })
	case kernels.Int8:
		return made(n, func(i int) int8 { return int8(int64(f(i))) })
	case kernels.Int32:
		return made(n, func(i int) int32 { return int32(f(i)) })
	case kernels.Int64:
		return made(n, func(i int) int64 { return int64(f(i)) })
	default:
		return made(n, func(i int) uint8 { return uint8(int64(f(i))) })
	}
}

func made[T kernels.Element](n int, f func(i int) T) kernels.Vector {
	x := make([]T, n)
	for i := range x {
		x[i] = f(i)
	}
	return kernels.Of(x)
}

// at is element i as text.
func at(v kernels.Vector, i int) string {
	switch e := v.Slice(i, i+1); v.Type {
	case kernels.Float32:
		return fmt.Sprint(kernels.As[float32](e)[0])
	case kernels.Float64:
		return fmt.Sprint(kernels.As[float64](e)[0])
	case kernels.Float16:
		return fmt.Sprint(kernels.As[kernels.F16](e)[0].Float32())
	case kernels.BFloat16:
		return fmt.Sprint(kernels.As[kernels.BF16](e)[0].Float32())
	case kernels.Int8:
		return fmt.Sprint(kernels.As[int8](e)[0])
	case kernels.Int32:
		return fmt.Sprint(kernels.As[int32](e)[0])
	case kernels.Int64:
		return fmt.Sprint(kernels.As[int64](e)[0])
	default:
		return fmt.Sprint(kernels.As[uint8](e)[0])
	}
}

// differs returns the first element in which got is not want, and says so.
func differs(got, want kernels.Vector) error {
	if got.Len() != want.Len() {
		return fmt.Errorf("%d elements, want %d", got.Len(), want.Len())
	}
	size := got.Type.Size()
	for i := range got.Bytes {
		if got.Bytes[i] != want.Bytes[i] {
			return fmt.Errorf("x[%d] = %s, want %s", i/size, at(got, i/size), at(want, i/size))
		}
	}
	return nil
}

// hostile is a float32 whose sums depend on the order.
func hostile(rank, i int) float32 {
	h := uint64(rank*1_000_003+i)*0x9e3779b97f4a7c15 + 1
	h ^= h >> 29
	return float32(math.Ldexp(float64(int64(h>>11))/(1<<52)-1, int(h%40)-20))
}
