package kernels

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestScaleLevelsAgree(t *testing.T) {
	eachLevel(t, func(t *testing.T, portable, l *level) {
		for _, typ := range floats {
			r := rand.New(rand.NewPCG(7, uint64(typ)))
			for _, n := range lengths() {
				for _, by := range []float64{3, 1.0 / 3, -0.1, 0, 1e300, math.Inf(1), math.NaN(), r.NormFloat64()} {
					src := noise(r, typ, n)
					for name, pair := range map[string][2]func([]byte, float64){
						"times": {portable.scale[typ], l.scale[typ]},
						"over":  {portable.divide[typ], l.divide[typ]},
					} {
						want, got := slices.Clone(src), slices.Clone(src)
						pair[0](want, by)
						pair[1](got, by)
						if i := differ(typ, got, want); i >= 0 {
							t.Fatalf("%#x (%s) %s %v is %#x, want %#x", element(typ, src, i), typ, name, by, element(typ, got, i), element(typ, want, i))
						}
					}
				}
			}
		}
	})
}

func TestScale(t *testing.T) {
	scales(t, []float32{1, -2, float32(math.Inf(1))}, 0.5, []float32{0.5, -1, float32(math.Inf(1))})
	scales(t, []float64{1, -2}, 0.1, []float64{0.1, -0.2})
	scales(t, []F16{ToF16(3)}, 0.5, []F16{ToF16(1.5)})
	scales(t, []BF16{ToBF16(3)}, 0.5, []BF16{ToBF16(1.5)})
	scales(t, []int8{7, -7, 100, -100}, 1.5, []int8{10, -10, 127, -128})
	scales(t, []uint8{7, 200}, 1.5, []uint8{10, 255})
	scales(t, []uint8{7}, -1, []uint8{0})
	scales(t, []int32{7, -7, math.MaxInt32}, 2, []int32{14, -14, math.MaxInt32})
	scales(t, []int64{-7, math.MaxInt64, math.MinInt64}, 2, []int64{-14, math.MaxInt64, math.MinInt64})
	scales(t, []int64{-7}, math.NaN(), []int64{0})
}

func scales[T Element](t *testing.T, x []T, by float64, want []T) {
	t.Helper()
	got := slices.Clone(x)
	if Scale(Of(got), by); !slices.Equal(got, want) {
		t.Errorf("%v (%s) times %v is %v, want %v", x, Of(x).Type, by, got, want)
	}
}

func TestDivide(t *testing.T) {
	divides(t, []float32{1, -2}, 3, []float32{1.0 / 3, -2.0 / 3})
	divides(t, []float64{1, -2}, 3, []float64{1.0 / 3, -2.0 / 3})
	divides(t, []F16{ToF16(3)}, 2, []F16{ToF16(1.5)})
	divides(t, []BF16{ToBF16(3)}, 2, []BF16{ToBF16(1.5)})
	divides(t, []int8{7, -7}, 2, []int8{3, -3})
	divides(t, []int8{7, -7}, 300, []int8{0, 0})
	divides(t, []uint8{255}, 2, []uint8{127})
	divides(t, []int32{7, -7, math.MinInt32}, 2, []int32{3, -3, math.MinInt32 / 2})
	divides(t, []int64{7, -7, 1<<62 + 1}, 2, []int64{3, -3, 1 << 61})
}

func divides[T Element](t *testing.T, x []T, n int, want []T) {
	t.Helper()
	got := slices.Clone(x)
	if Divide(Of(got), n); !slices.Equal(got, want) {
		t.Errorf("%v (%s) over %d is %v, want %v", x, Of(x).Type, n, got, want)
	}
}

func TestFinite(t *testing.T) {
	for _, l := range levels {
		for _, n := range lengths() {
			x := make([]float32, n)
			for i := range x {
				x[i] = float32(i) - 7
			}
			if n > 0 {
				x[n/2] = -math.MaxFloat32
			}
			if most := l.magnitude(Of(x).Bytes); most >= 0x7F80_0000 {
				t.Fatalf("%s: %d finite numbers have magnitude %#x", l.name, n, most)
			}
			if n > 1000 {
				continue
			}
			for i := range x {
				for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
					was := x[i]
					x[i] = bad
					if most := l.magnitude(Of(x).Bytes); most < 0x7F80_0000 {
						t.Fatalf("%s: %v at %d of %d is overlooked", l.name, bad, i, n)
					}
					x[i] = was
				}
			}
		}
	}
	if !Finite(nil) || !Finite([]float32{1, 2}) || Finite([]float32{1, float32(math.NaN())}) {
		t.Error("Finite is wrong")
	}
}

func TestAddAndScale32(t *testing.T) {
	x := []float32{1, 2, 3}
	Add(x, []float32{10, 20, 30})
	Scale32(x, 2)
	if !slices.Equal(x, []float32{22, 44, 66}) {
		t.Errorf("(1 2 3 + 10 20 30) * 2 is %v", x)
	}
}

func BenchmarkScale(b *testing.B) {
	x := make([]byte, 64<<10)
	for _, l := range levels {
		for _, typ := range floats {
			for name, f := range map[string]func([]byte, float64){"scale": l.scale[typ], "divide": l.divide[typ]} {
				b.Run(l.name+"/"+name+"/"+typ.String(), func(b *testing.B) {
					b.SetBytes(int64(len(x)))
					b.ReportAllocs()
					for b.Loop() {
						f(x, 3)
					}
				})
			}
		}
		b.Run(l.name+"/finite", func(b *testing.B) {
			b.SetBytes(int64(len(x)))
			b.ReportAllocs()
			for b.Loop() {
				l.magnitude(x)
			}
		})
	}
}
