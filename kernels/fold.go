package kernels

import "fmt"

// Fold computes dst = dst op src, element by element. Average folds like Sum; the caller
// divides at the end. Both slices hold whole elements of type t and are equally long.
//
// The result depends on the operands' bits alone: not on the processor, the length, the
// alignment, or on which of the two operands stands left. So ranks that fold the same
// contributions in the same order hold the same bits, whatever they run on:
//
//   - Integers wrap around on overflow.
//   - Float16 and BFloat16 are computed in float32, then rounded to nearest even.
//   - A result that is not a number is the positive quiet NaN without payload, for Min and
//     Max too: a NaN on either side wins.
//   - Min and Max hold -0 to be less than +0.
func Fold(op Op, t Type, dst, src []byte) {
	active.pick(op, t).fold(dst, src)
}

// FoldInto computes dst = a op b, as Fold does. dst may be a or b, but must not overlap them
// otherwise.
func FoldInto(op Op, t Type, dst, a, b []byte) {
	active.pick(op, t).into(dst, a, b)
}

// Folder returns the function that Fold calls for op and t, so that a loop chooses it once.
func Folder(op Op, t Type) func(dst, src []byte) {
	return active.pick(op, t).fold
}

// IntoFolder returns the function that FoldInto calls for op and t.
func IntoFolder(op Op, t Type) func(dst, a, b []byte) {
	return active.pick(op, t).into
}

// kernel computes dst = a op b. The three slices are equally long and hold whole elements.
type kernel func(dst, a, b []byte)

// folder is a kernel as callers get it, its arguments checked.
type folder struct {
	fold func(dst, src []byte)
	into func(dst, a, b []byte)
}

func (k kernel) folder(t Type) folder {
	size := t.Size()
	return folder{
		fold: func(dst, src []byte) {
			if len(dst) != len(src) || len(dst)%size != 0 {
				panic(fmt.Sprintf("kernels: fold of %d bytes of %s into %d bytes: want equal lengths and whole elements", len(src), t, len(dst)))
			}
			k(dst, dst, src)
		},
		into: func(dst, a, b []byte) {
			if len(a) != len(b) || len(dst) != len(a) || len(a)%size != 0 {
				panic(fmt.Sprintf("kernels: fold of %d and %d bytes of %s into %d bytes: want equal lengths and whole elements", len(a), len(b), t, len(dst)))
			}
			k(dst, a, b)
		},
	}
}
