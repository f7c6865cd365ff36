package kernels

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"
)

var (
	allOps   = []Op{Sum, Product, Min, Max, Average}
	allTypes = []Type{Float32, Float64, Float16, BFloat16, Int8, Int32, Int64, Uint8}
	floats   = []Type{Float32, Float64, Float16, BFloat16}
)

func TestLevels(t *testing.T) {
	for _, l := range levels {
		t.Logf("this processor runs %s", l.name)
	}
	if levels[0].name != "portable" {
		t.Errorf("the first level is %s, want portable: the others are compared with it", levels[0].name)
	}
}

// eachLevel runs f for every level but the portable one, which it is compared with.
func eachLevel(t *testing.T, f func(t *testing.T, portable, l *level)) {
	for _, l := range levels[1:] {
		t.Run(l.name, func(t *testing.T) { f(t, levels[0], l) })
	}
}

// special are numbers, by their bits, at which arithmetic changes its ways: zeros, the
// smallest and largest, infinities, NaNs, numbers that round to the former, and integers'
// limits.
func special(t Type) []uint64 {
	switch t {
	case Float32:
		return []uint64{
			0, 1 << 31, 1, 0x007F_FFFF, 0x0080_0000, 0x3F80_0000, 0xBF80_0000, 0x7F7F_FFFF, 0xFF7F_FFFF, 0x7F80_0000, 0xFF80_0000,
			0x7F80_0001, 0xFF80_0001, 0x7FC0_0000, 0xFFC0_0000, 0x7FFF_FFFF, 0xFFFF_FFFF, 0x7FA1_2345,
			0x3F80_8000, 0x3F81_8000, 0x3F80_7FFF, 0x3F80_8001, 0x7F7F_7FFF, 0x7F7F_8000, // between BF16s
			0x477F_EFFF, 0x477F_F000, 0x4780_0000, 0x387F_FFFF, 0x3880_0000, 0x3300_0000, 0x3300_0001, 0x3380_0000, 0x33C0_0000, // between F16s
		}
	case Float64:
		return []uint64{
			0, 1 << 63, 1, 0x000F_FFFF_FFFF_FFFF, 0x3FF0_0000_0000_0000, 0x7FEF_FFFF_FFFF_FFFF, 0xFFEF_FFFF_FFFF_FFFF,
			0x7FF0_0000_0000_0000, 0xFFF0_0000_0000_0000, 0x7FF0_0000_0000_0001, 0xFFF8_0000_0000_0000, 0xFFFF_FFFF_FFFF_FFFF,
			0x47EF_FFFF_E000_0000, 0x47EF_FFFF_F000_0000, 0x36A0_0000_0000_0000, 0x3690_0000_0000_0001, // around float32's limits
			0x3FF0_0200_0000_0001, 0x3FF0_01FF_FFFF_FFFF, 0x3FF0_1000_0000_0001, 0x3FF0_0FFF_FFFF_FFFF, // would round twice
		}
	case Float16:
		return []uint64{0, 0x8000, 1, 0x3FF, 0x400, 0x3C00, 0xBC00, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7C01, 0xFC01, 0x7E00, 0xFE00, 0xFFFF}
	case BFloat16:
		return []uint64{0, 0x8000, 1, 0x7F, 0x80, 0x3F80, 0xBF80, 0x7F7F, 0xFF7F, 0x7F80, 0xFF80, 0x7F81, 0xFF81, 0x7FC0, 0xFFC0, 0xFFFF}
	default:
		top := uint64(1) << (8*t.Size() - 1)
		return []uint64{0, 1, top - 1, top, top + 1, 2*top - 1, 2}
	}
}

// noise is n elements of type t that start anywhere: a fifth special, the others random
// bits, or for floats half of them numbers of ordinary size.
func noise(r *rand.Rand, t Type, n int) []byte {
	size := t.Size()
	offset := r.IntN(16) * size
	p := make([]byte, offset+n*size)[offset:]
	specials := special(t)
	var word [8]byte
	for i := range n {
		bits := r.Uint64()
		switch r.IntN(5) {
		case 0:
			bits = specials[r.IntN(len(specials))]
		case 1, 2:
			x := r.NormFloat64()
			switch t {
			case Float32:
				bits = uint64(math.Float32bits(float32(x)))
			case Float64:
				bits = math.Float64bits(x)
			case Float16:
				bits = uint64(ToF16(float32(x)))
			case BFloat16:
				bits = uint64(ToBF16(float32(x)))
			}
		}
		binary.LittleEndian.PutUint64(word[:], bits)
		copy(p[i*size:(i+1)*size], word[:])
	}
	return p
}

// differ returns the first element in which p and q differ, or -1.
func differ(t Type, p, q []byte) int {
	for i := range p {
		if p[i] != q[i] {
			return i / t.Size()
		}
	}
	return -1
}

// element is the i-th element of p by its bits.
func element(t Type, p []byte, i int) uint64 {
	var word [8]byte
	copy(word[:], p[i*t.Size():(i+1)*t.Size()])
	return binary.LittleEndian.Uint64(word[:])
}

// lengths are all that take every path through an unrolled loop and its rest, and some
// large ones.
func lengths() []int {
	var n []int
	for i := range 201 {
		n = append(n, i)
	}
	return append(n, 1000, 4096, 65_537)
}
