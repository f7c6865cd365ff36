package kernels

import "math"

// Float32 is x, exactly. A signalling NaN becomes quiet and keeps its sign and payload.
func (x F16) Float32() float32 {
	sign, exp, frac := uint32(x&0x8000)<<16, uint32(x>>10)&0x1F, uint32(x&0x3FF)
	switch {
	case exp == 0x1F && frac != 0:
		return math.Float32frombits(sign | 0x7FC0_0000 | frac<<13)
	case exp == 0x1F:
		return math.Float32frombits(sign | 0x7F80_0000)
	case exp == 0:
		// Subnormal: frac units of 2^-24, which float32 holds as a normal number.
		return math.Float32frombits(sign | math.Float32bits(float32(frac)*0x1p-24))
	default:
		return math.Float32frombits(sign | (exp+127-15)<<23 | frac<<13)
	}
}

// ToF16 rounds x to the nearest F16, ties to even. What is too large becomes infinite. A NaN
// becomes quiet and keeps its sign and the upper bits of its payload.
func ToF16(x float32) F16 {
	bits := math.Float32bits(x)
	sign, abs := F16(bits>>16)&0x8000, bits&0x7FFF_FFFF
	switch {
	case abs > 0x7F80_0000:
		return sign | 0x7E00 | F16(abs>>13)&0x3FF
	case abs >= 0x4780_0000: // 2^16 and more
		return sign | 0x7C00
	case abs < 0x3880_0000: // below 2^-14, the smallest normal F16
		// Adding 0.5 leaves the number in units of 2^-24 in the low bits, rounded by the
		// addition itself.
		return sign | F16(math.Float32bits(math.Float32frombits(abs)+0.5)-0x3F00_0000)
	default:
		abs += 0xFFF + abs>>13&1
		return sign | F16((abs-(127-15)<<23)>>13)
	}
}

// Float32 is x, exactly.
func (x BF16) Float32() float32 { return math.Float32frombits(uint32(x) << 16) }

// ToBF16 rounds x to the nearest BF16, ties to even. What is too large becomes infinite. A
// NaN becomes quiet and keeps its sign and the upper bits of its payload.
func ToBF16(x float32) BF16 {
	bits := math.Float32bits(x)
	if x != x {
		return BF16(bits>>16) | 0x40
	}
	return BF16((bits + 0x7FFF + bits>>16&1) >> 16)
}
