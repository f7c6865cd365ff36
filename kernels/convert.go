package kernels

import "fmt"

// Convert sets dst to src, rounded to nearest even where dst's type is narrower: any float
// type to any other. What is too large becomes infinite and a NaN stays a (quiet) NaN. A
// conversion to the same type copies. The vectors are equally long and do not overlap.
func Convert(dst, src Vector) {
	if dst.Len() != src.Len() {
		panic(fmt.Sprintf("kernels: convert of %d elements of %s to %d of %s: want as many", src.Len(), src.Type, dst.Len(), dst.Type))
	}
	if dst.Type == src.Type {
		copy(dst.Bytes, src.Bytes)
		return
	}
	if dst.Type > BFloat16 || src.Type > BFloat16 {
		panic(fmt.Sprintf("kernels: convert of %s to %s: only floats convert", src.Type, dst.Type))
	}
	if dst.Len() > 0 {
		active.convert[dst.Type][src.Type](dst.Bytes, src.Bytes)
	}
}
