package kernels

// Add computes dst += src, as Fold does with Sum.
func Add(dst, src []float32) {
	active.folds[Sum][Float32].fold(Of(dst).Bytes, Of(src).Bytes)
}

// Scale32 multiplies each element of dst by a, as Scale does.
func Scale32(dst []float32, a float32) {
	active.scale[Float32](Of(dst).Bytes, float64(a))
}

// Finite reports whether x holds neither a NaN nor an infinity.
func Finite(x []float32) bool {
	return active.magnitude(Of(x).Bytes) < 0x7F80_0000
}
