package kernels

import (
	"bytes"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestFoldLevelsAgree(t *testing.T) {
	eachLevel(t, func(t *testing.T, portable, l *level) {
		for _, op := range allOps {
			for _, typ := range allTypes {
				r := rand.New(rand.NewPCG(uint64(op), uint64(typ)))
				for _, n := range lengths() {
					a, b := noise(r, typ, n), noise(r, typ, n)
					want, into := make([]byte, len(a)), make([]byte, len(a)+16)
					portable.folds[op][typ].into(want, a, b)

					guard := bytes.Repeat([]byte{0xA5}, 16)
					copy(into[len(a):], guard)
					l.folds[op][typ].into(into[:len(a)], a, b)
					if i := differ(typ, into[:len(a)], want); i >= 0 {
						t.Fatalf("%s of %d %s: element %d of %#x and %#x is %#x, want %#x", op, n, typ, i,
							element(typ, a, i), element(typ, b, i), element(typ, into, i), element(typ, want, i))
					}
					if !bytes.Equal(into[len(a):], guard) {
						t.Fatalf("%s of %d %s wrote past its end", op, n, typ)
					}

					swapped := slices.Clone(a)
					l.folds[op][typ].into(swapped, b, swapped)
					if i := differ(typ, swapped, want); i >= 0 {
						t.Fatalf("%s of %d %s: element %d of %#x and %#x the other way round is %#x, want %#x", op, n, typ, i,
							element(typ, a, i), element(typ, b, i), element(typ, swapped, i), element(typ, want, i))
					}
					l.folds[op][typ].fold(a, b)
					if i := differ(typ, a, want); i >= 0 {
						t.Fatalf("%s of %d %s in place: element %d is %#x, want %#x", op, n, typ, i, element(typ, a, i), element(typ, want, i))
					}
				}
			}
		}
	})
}

// All pairs of special numbers, in long enough vectors that assembly takes them.
func TestFoldSpecialPairs(t *testing.T) {
	eachLevel(t, func(t *testing.T, portable, l *level) {
		for _, op := range allOps {
			for _, typ := range allTypes {
				numbers := special(typ)
				var a, b []byte
				for _, x := range numbers {
					for _, y := range numbers {
						a = appendElement(a, typ, x)
						b = appendElement(b, typ, y)
					}
				}
				got, want := make([]byte, len(a)), make([]byte, len(a))
				l.folds[op][typ].into(got, a, b)
				portable.folds[op][typ].into(want, a, b)
				if i := differ(typ, got, want); i >= 0 {
					t.Errorf("%s of %#x and %#x (%s) is %#x, want %#x", op,
						element(typ, a, i), element(typ, b, i), typ, element(typ, got, i), element(typ, want, i))
				}
			}
		}
	})
}

func appendElement(p []byte, t Type, bits uint64) []byte {
	for i := range t.Size() {
		p = append(p, byte(bits>>(8*i)))
	}
	return p
}

// What the documentation promises, in numbers worked out by hand.
func TestFoldMeaning(t *testing.T) {
	nan, zero, inf := float32(math.NaN()), float32(math.Copysign(0, -1)), float32(math.Inf(1))
	foldMeans(t, Sum, []float32{1, nan, 1, inf, zero}, []float32{2, 1, nan, -inf, 0}, []float32{3, nan, nan, nan, 0})
	foldMeans(t, Product, []float32{3, inf}, []float32{-2, 0}, []float32{-6, nan})
	foldMeans(t, Min, []float32{1, nan, 1, 0, zero}, []float32{2, 1, nan, zero, 0}, []float32{1, nan, nan, zero, zero})
	foldMeans(t, Max, []float32{1, nan, 1, 0, zero}, []float32{2, 1, nan, zero, 0}, []float32{2, nan, nan, 0, 0})
	foldMeans(t, Average, []float32{1}, []float32{2}, []float32{3})
	foldMeans(t, Min, []float64{1, math.NaN(), 1}, []float64{2, 1, math.NaN()}, []float64{1, math.NaN(), math.NaN()})
	foldMeans(t, Sum, []int8{127, -128, 5}, []int8{1, -1, -7}, []int8{-128, 127, -2})
	foldMeans(t, Product, []int8{16, -3}, []int8{16, 5}, []int8{0, -15})
	foldMeans(t, Sum, []uint8{255, 3}, []uint8{1, 4}, []uint8{0, 7})
	foldMeans(t, Max, []uint8{255, 3}, []uint8{1, 4}, []uint8{255, 4})
	foldMeans(t, Max, []int8{-1, 3}, []int8{1, 4}, []int8{1, 4})
	foldMeans(t, Sum, []int32{math.MaxInt32}, []int32{1}, []int32{math.MinInt32})
	foldMeans(t, Product, []int64{1 << 40, -7}, []int64{1<<30 + 1, 1 << 40}, []int64{1 << 40, -7 << 40})
	foldMeans(t, Min, []int64{math.MinInt64, 5}, []int64{math.MaxInt64, -5}, []int64{math.MinInt64, -5})
	foldMeans(t, Sum, []F16{ToF16(2048), ToF16(65504), ToF16(1)}, []F16{ToF16(1), ToF16(65504), ToF16(2)}, []F16{ToF16(2048), 0x7C00, ToF16(3)})
	foldMeans(t, Sum, []BF16{ToBF16(256), ToBF16(1)}, []BF16{ToBF16(1), ToBF16(nan)}, []BF16{ToBF16(256), 0x7FC0})
}

func foldMeans[T Element](t *testing.T, op Op, a, b, want []T) {
	t.Helper()
	// Repeated, so that the same numbers stand in a vector and in its rest.
	a, b, want = slices.Repeat(a, 67), slices.Repeat(b, 67), slices.Repeat(want, 67)
	typ := Of(a).Type
	for _, l := range levels {
		got := make([]T, len(a))
		l.folds[op][typ].into(Of(got).Bytes, Of(a).Bytes, Of(b).Bytes)
		for i := range got {
			// Only a NaN differs from itself, and its bits are promised.
			if got[i] != want[i] && (got[i] == got[i] || want[i] == want[i]) {
				t.Errorf("%s: %s of %v and %v (%s) is %v, want %v", l.name, op, a[i], b[i], typ, got[i], want[i])
				return
			}
			if got[i] == 0 && math.Signbit(float64(got[i])) != math.Signbit(float64(want[i])) {
				t.Errorf("%s: %s of %v and %v (%s) has the other zero", l.name, op, a[i], b[i], typ)
				return
			}
		}
	}
}

func TestFoldNaNBits(t *testing.T) {
	want := map[Type]uint64{Float32: 0x7FC0_0000, Float64: 0x7FF8_0000_0000_0000, Float16: 0x7E00, BFloat16: 0x7FC0}
	for _, l := range levels {
		for _, op := range allOps {
			for _, typ := range floats {
				var a []byte
				for range 100 {
					a = appendElement(a, typ, ^uint64(0)) // a negative NaN full of payload
				}
				l.folds[op][typ].fold(a, slices.Clone(a))
				for i := range 100 {
					if got := element(typ, a, i); got != want[typ] {
						t.Fatalf("%s: %s of NaNs (%s) is %#x, want %#x", l.name, op, typ, got, want[typ])
					}
				}
			}
		}
	}
}

func TestFoldRefuses(t *testing.T) {
	for name, f := range map[string]func(){
		"different lengths": func() { Fold(Sum, Float32, make([]byte, 8), make([]byte, 12)) },
		"half an element":   func() { Fold(Sum, Float32, make([]byte, 6), make([]byte, 6)) },
		"a short result":    func() { FoldInto(Sum, Float32, make([]byte, 4), make([]byte, 8), make([]byte, 8)) },
		"no type":           func() { Fold(Sum, 0, nil, nil) },
		"no reduction":      func() { Folder(Average+1, Float32) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f()
		})
	}
}

func TestFoldDoesNotAllocate(t *testing.T) {
	a, b := make([]byte, 4000), make([]byte, 4000)
	for _, op := range allOps {
		for _, typ := range allTypes {
			if n := testing.AllocsPerRun(10, func() {
				Fold(op, typ, a, b)
				FoldInto(op, typ, a, a, b)
				Folder(op, typ)(a, b)
			}); n != 0 {
				t.Errorf("%s of %s: %v allocations, want none", op, typ, n)
			}
		}
	}
}

func FuzzFold(f *testing.F) {
	for _, typ := range allTypes {
		var p []byte
		for _, x := range special(typ) {
			p = appendElement(p, typ, x)
		}
		for _, op := range allOps {
			f.Add(uint8(op), uint8(typ), uint8(3), bytes.Repeat(p, 4))
		}
	}
	f.Fuzz(func(t *testing.T, o, y, skip uint8, p []byte) {
		op, typ := Op(o)%Average+1, Type(y)%Uint8+1
		size := typ.Size()
		n := len(p) / 2 / size * size
		a, b := p[:n], p[n:2*n]
		start := min(int(skip)*size, n)
		a, b = a[start:], b[start:]
		want := make([]byte, len(a))
		levels[0].folds[op][typ].into(want, a, b)
		for _, l := range levels[1:] {
			for _, operands := range [][2][]byte{{a, b}, {b, a}} {
				got := make([]byte, len(a))
				l.folds[op][typ].into(got, operands[0], operands[1])
				if i := differ(typ, got, want); i >= 0 {
					t.Fatalf("%s: %s of %#x and %#x (%s) is %#x, want %#x", l.name, op,
						element(typ, a, i), element(typ, b, i), typ, element(typ, got, i), element(typ, want, i))
				}
			}
		}
	})
}

func BenchmarkFold(b *testing.B) {
	for _, l := range levels {
		for _, op := range []Op{Sum, Product, Min, Max} {
			for _, typ := range allTypes {
				b.Run(l.name+"/"+op.String()+"/"+typ.String(), func(b *testing.B) {
					dst, src := make([]byte, 64<<10), make([]byte, 64<<10)
					fold := l.folds[op][typ].fold
					b.SetBytes(int64(len(dst)))
					b.ReportAllocs()
					for b.Loop() {
						fold(dst, src)
					}
				})
			}
		}
	}
}

// BenchmarkFoldLarge folds out of memory. A memory copy moves two bytes for each, a fold
// three.
func BenchmarkFoldLarge(b *testing.B) {
	dst, src := make([]byte, 64<<20), make([]byte, 64<<20)
	for i := range dst {
		dst[i], src[i] = 1, 1
	}
	b.Run("copy", func(b *testing.B) {
		b.SetBytes(int64(len(dst)))
		for b.Loop() {
			copy(dst, src)
		}
	})
	for _, l := range levels {
		b.Run(l.name+"/sum/float32", func(b *testing.B) {
			b.SetBytes(int64(len(dst)))
			b.ReportAllocs()
			for b.Loop() {
				l.folds[Sum][Float32].fold(dst, src)
			}
		})
	}
}
