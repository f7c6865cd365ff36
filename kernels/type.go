// Package kernels is arithmetic on slices: fold, convert, and what a training step does
// most often, in assembly where the processor has it and in Go everywhere.
package kernels

import "unsafe"

// Type is the type of a vector's elements.
type Type uint8

// The element types.
const (
	Float32 Type = iota + 1
	Float64
	Float16
	BFloat16
	Int8
	Int32
	Int64
	Uint8
)

// F16 is an IEEE 754 binary16 number by its bits.
type F16 uint16

// BF16 is a bfloat16 number by its bits: the upper half of a float32.
type BF16 uint16

// Element is what a Vector may hold.
type Element interface {
	float32 | float64 | F16 | BF16 | int8 | int32 | int64 | uint8
}

// Op is a reduction.
type Op uint8

// The reductions. Average is a Sum whose result is divided by the number of
// contributions afterwards.
const (
	Sum Op = iota + 1
	Product
	Min
	Max
	Average
)

// Vector is a slice of numbers whose element type is known at run time.
// It aliases the slice it was made from.
type Vector struct {
	Type  Type
	Bytes []byte
}

// Of views x as a Vector without copying.
func Of[T Element](x []T) Vector {
	var zero T
	return Vector{Type: typeOf[T](), Bytes: unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), len(x)*int(unsafe.Sizeof(zero)))}
}

// As views v as a slice of T. It panics if v holds another type.
func As[T Element](v Vector) []T {
	if v.Type != typeOf[T]() {
		panic("kernels: vector of " + v.Type.String() + " used as " + typeOf[T]().String())
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(v.Bytes))), v.Len())
}

// Len is the number of elements.
func (v Vector) Len() int {
	if v.Type == 0 {
		return 0
	}
	return len(v.Bytes) / v.Type.Size()
}

// Slice is the elements [lo, hi) of v.
func (v Vector) Slice(lo, hi int) Vector {
	size := v.Type.Size()
	return Vector{Type: v.Type, Bytes: v.Bytes[lo*size : hi*size : hi*size]}
}

func typeOf[T Element]() Type {
	var zero T
	switch any(zero).(type) {
	case float32:
		return Float32
	case float64:
		return Float64
	case F16:
		return Float16
	case BF16:
		return BFloat16
	case int8:
		return Int8
	case int32:
		return Int32
	case int64:
		return Int64
	default:
		return Uint8
	}
}

// Size is the number of bytes of one element.
func (t Type) Size() int { return int(sizes[t]) }

// String is the type's name as logs and checkpoints write it: float32, bfloat16, …
func (t Type) String() string { return typeNames[t] }

// String is the reduction's name.
func (o Op) String() string { return opNames[o] }

var (
	sizes     = [...]uint8{Float32: 4, Float64: 8, Float16: 2, BFloat16: 2, Int8: 1, Int32: 4, Int64: 8, Uint8: 1}
	typeNames = [...]string{"none", "float32", "float64", "float16", "bfloat16", "int8", "int32", "int64", "uint8"}
	opNames   = [...]string{"none", "sum", "product", "min", "max", "average"}
)
