package kernels

import (
	"math"
	"unsafe"
)

// The kernels in Go: the definition that assembly has to agree with, bit for bit.

type number interface {
	float32 | float64 | int8 | int32 | int64 | uint8
}

// portable is the level that every processor can run, to be finished.
func portable() level {
	l := level{name: "portable", magnitude: magnitude, checksum: checksum}
	portableOf[float32](&l)
	portableOf[float64](&l)
	portableOf[int8](&l)
	portableOf[int32](&l)
	portableOf[int64](&l)
	portableOf[uint8](&l)
	for op := Sum; op < Average; op++ {
		l.kernels[op][Float16] = foldF16(op)
		l.kernels[op][BFloat16] = foldBF16(op)
	}
	portableFactors(&l)
	portableConversions(&l)
	return l
}

func portableOf[T number](l *level) {
	t := typeOf[T]()
	l.kernels[Sum][t] = sum[T]
	l.kernels[Product][t] = product[T]
	l.kernels[Min][t] = least[T]
	l.kernels[Max][t] = most[T]
}

func sum[T number](dst, a, b []byte) {
	d, x, y := view3[T](dst, a, b)
	for i := range d {
		d[i] = canon(x[i] + y[i])
	}
}

func product[T number](dst, a, b []byte) {
	d, x, y := view3[T](dst, a, b)
	for i := range d {
		d[i] = canon(x[i] * y[i])
	}
}

func least[T number](dst, a, b []byte) {
	d, x, y := view3[T](dst, a, b)
	for i := range d {
		d[i] = canon(min(x[i], y[i]))
	}
}

func most[T number](dst, a, b []byte) {
	d, x, y := view3[T](dst, a, b)
	for i := range d {
		d[i] = canon(max(x[i], y[i]))
	}
}

func foldF16(op Op) kernel {
	return func(dst, a, b []byte) {
		d, x, y := view3[F16](dst, a, b)
		for i := range d {
			d[i] = ToF16(combine(op, x[i].Float32(), y[i].Float32()))
		}
	}
}

func foldBF16(op Op) kernel {
	return func(dst, a, b []byte) {
		d, x, y := view3[BF16](dst, a, b)
		for i := range d {
			d[i] = ToBF16(combine(op, x[i].Float32(), y[i].Float32()))
		}
	}
}

func combine(op Op, x, y float32) float32 {
	switch op {
	case Product:
		return canon(x * y)
	case Min:
		return canon(min(x, y))
	case Max:
		return canon(max(x, y))
	default:
		return canon(x + y)
	}
}

// canon gives every NaN the same bits. Which of two NaNs an addition returns differs
// between processors, and even between two compilations of x + y.
func canon[T number](x T) T {
	if x != x {
		return T(quietNaN)
	}
	return x
}

var quietNaN = math.Float64frombits(0x7FF8_0000_0000_0000)

func view[T Element](p []byte) []T {
	var zero T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(p))), len(p)/int(unsafe.Sizeof(zero)))
}

func view3[T Element](dst, a, b []byte) (d, x, y []T) {
	d = view[T](dst)
	return d, view[T](a)[:len(d)], view[T](b)[:len(d)]
}
