package kernels

import "golang.org/x/sys/cpu"

//go:generate go run ./asm

// assembly is what the generator wrote for vectors of width bytes.
type assembly struct {
	name      string
	width     int
	folds     [Average][Uint8 + 1]func(dst, a, b *byte, n int)
	scale     [BFloat16 + 1]func(dst *byte, n int, by float64)
	divide    [BFloat16 + 1]func(dst *byte, n int, by float64)
	convert   [BFloat16 + 1][BFloat16 + 1]func(dst, src *byte, n int)
	magnitude func(src *byte, n int) uint32
	checksum  func(crc uint32, src *byte, n int) uint32 // nil where the processor can't
}

// supported asks the processor, and whether the operating system saves its registers.
func supported() []*level {
	portable := portable()
	all := []*level{portable.finish()}
	if cpu.X86.HasAVX2 && cpu.X86.HasF16C {
		all = append(all, avx2.over(portable))
	}
	if cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW {
		all = append(all, avx512.over(portable))
	}
	return all
}

// over is the level that computes whole vectors in assembly and leaves the rest, of vectors
// and of what there is no assembly for, to l.
func (s *assembly) over(l level) *level {
	l.name = s.name
	for op := Sum; op < Average; op++ {
		for t := Float32; t <= Uint8; t++ {
			if f := s.folds[op][t]; f != nil {
				l.kernels[op][t] = s.kernel(f, t, l.kernels[op][t])
			}
		}
	}
	for t := Float32; t <= BFloat16; t++ {
		l.scale[t] = s.factor(s.scale[t], t, l.scale[t])
		l.divide[t] = s.factor(s.divide[t], t, l.divide[t])
		for from := Float32; from <= BFloat16; from++ {
			if f := s.convert[t][from]; f != nil {
				l.convert[t][from] = converter(f, t.Size(), from.Size(), l.convert[t][from])
			}
		}
	}
	rest := l.magnitude
	l.magnitude = func(x []byte) uint32 {
		whole := len(x) &^ (chunk*4 - 1)
		most := rest(x[whole:])
		if whole > 0 {
			most = max(most, s.magnitude(&x[0], whole/4))
		}
		return most
	}
	if s.checksum != nil && cpu.X86.HasAVX512VPCLMULQDQ {
		tail := l.checksum
		l.checksum = func(crc uint32, p []byte) uint32 {
			if whole := len(p) &^ (checked - 1); whole > 0 {
				crc = ^s.checksum(^crc, &p[0], whole)
				p = p[whole:]
			}
			return tail(crc, p)
		}
	}
	return l.finish()
}

// checked is how many bytes a checksum takes at a time.
const checked = 256

// step is how many bytes of type t a vector takes: Float16 fills it after being widened.
func (s *assembly) step(t Type) int {
	if t == Float16 {
		return s.width / 2
	}
	return s.width
}

func (s *assembly) kernel(f func(dst, a, b *byte, n int), t Type, rest kernel) kernel {
	step := s.step(t)
	return func(dst, a, b []byte) {
		whole := len(dst) &^ (step - 1)
		if whole > 0 {
			f(&dst[0], &a[0], &b[0], whole)
		}
		if whole < len(dst) {
			rest(dst[whole:], a[whole:], b[whole:])
		}
	}
}

func (s *assembly) factor(f func(dst *byte, n int, by float64), t Type, rest func(dst []byte, by float64)) func(dst []byte, by float64) {
	step := s.step(t)
	return func(dst []byte, by float64) {
		whole := len(dst) &^ (step - 1)
		if whole > 0 {
			f(&dst[0], whole, by)
		}
		rest(dst[whole:], by)
	}
}

// chunk is how many elements a conversion, or magnitude, takes at a time.
const chunk = 16

func converter(f func(dst, src *byte, n int), to, from int, rest func(dst, src []byte)) func(dst, src []byte) {
	return func(dst, src []byte) {
		whole := len(dst) / to &^ (chunk - 1)
		if whole > 0 {
			f(&dst[0], &src[0], whole)
		}
		rest(dst[whole*to:], src[whole*from:])
	}
}
