package kernels

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestConvertLevelsAgree(t *testing.T) {
	eachLevel(t, func(t *testing.T, portable, l *level) {
		for _, from := range floats {
			for _, to := range floats {
				if from == to {
					continue
				}
				r := rand.New(rand.NewPCG(uint64(from), uint64(to)))
				for _, n := range lengths() {
					src := noise(r, from, n)
					want, all := make([]byte, n*to.Size()), make([]byte, n*to.Size()+16)
					got := all[:len(want)]
					portable.convert[to][from](want, src)
					l.convert[to][from](got, src)
					if i := differ(to, got, want); i >= 0 {
						t.Fatalf("%s %#x as %s is %#x, want %#x", from, element(from, src, i), to, element(to, got, i), element(to, want, i))
					}
					if i := differ(Uint8, all[len(want):], make([]byte, 16)); i >= 0 {
						t.Fatalf("conversion of %d %s to %s wrote past its end", n, from, to)
					}
				}
			}
		}
	})
}

// The numbers half way between two neighbours, and those next to them, are where rounding
// shows: all of them, of both narrow types, from both wide ones.
func TestConvertRoundsToNearestEven(t *testing.T) {
	halves := func(t *testing.T, to Type, infinity uint64, overflow float64, value func(bits uint64) float64) {
		var src64 []float64
		var src32 []float32
		var want []uint64
		add := func(x64 float64, x32 float32, bits uint64) {
			src64, src32, want = append(src64, x64, -x64), append(src32, x32, -x32), append(want, bits, bits|1<<15)
		}
		for bits := range infinity {
			next := overflow
			if bits+1 < infinity {
				next = value(bits + 1)
			}
			middle := (value(bits) + next) / 2
			single := float32(middle)
			if float64(single) != middle {
				t.Fatalf("the middle %v of %s is no float32", middle, to)
			}
			add(math.Nextafter(middle, 0), math.Nextafter32(single, 0), bits)
			add(middle, single, bits+bits&1)
			add(math.Nextafter(middle, math.Inf(1)), math.Nextafter32(single, float32(math.Inf(1))), bits+1)
		}
		for _, l := range levels {
			for _, src := range []Vector{Of(src32), Of(src64)} {
				got := make([]byte, 2*len(want))
				l.convert[to][src.Type](got, src.Bytes)
				for i := range want {
					if element(to, got, i) != want[i] {
						t.Fatalf("%s: %s %#x as %s is %#x, want %#x", l.name, src.Type, element(src.Type, src.Bytes, i), to, element(to, got, i), want[i])
					}
				}
			}
		}
	}
	t.Run("float16", func(t *testing.T) {
		halves(t, Float16, 0x7C00, 0x1p16, func(bits uint64) float64 { return float64(F16(bits).Float32()) })
	})
	t.Run("bfloat16", func(t *testing.T) {
		halves(t, BFloat16, 0x7F80, 0x1p128, func(bits uint64) float64 { return float64(BF16(bits).Float32()) })
	})
}

// Every 16-bit number to every type and back is itself, but for NaNs, which become quiet.
func TestConvertRoundTrip(t *testing.T) {
	for _, c := range []struct {
		narrow      Type
		quiet, nans uint64
		through     []Type
	}{
		{Float16, 0x200, 0x7C00, []Type{Float32, Float64}},
		{BFloat16, 0x40, 0x7F80, []Type{Float32, Float64}},
	} {
		var src []byte
		for bits := range uint64(1 << 16) {
			src = appendElement(src, c.narrow, bits)
		}
		for _, l := range levels {
			for _, wide := range c.through {
				middle, back := make([]byte, wide.Size()<<16), make([]byte, len(src))
				l.convert[wide][c.narrow](middle, src)
				l.convert[c.narrow][wide](back, middle)
				for bits := range uint64(1 << 16) {
					want := bits
					if bits&0x7FFF > c.nans {
						want |= c.quiet
					}
					if got := element(c.narrow, back, int(bits)); got != want {
						t.Fatalf("%s: %s %#04x through %s came back as %#04x, want %#04x", l.name, c.narrow, bits, wide, got, want)
					}
				}
			}
		}
	}
}

func TestConvert(t *testing.T) {
	src := []float64{1, -0.5, 65536, math.NaN(), 3.14159}
	half, single, same := make([]F16, 5), make([]float32, 5), make([]float64, 5)
	Convert(Of(half), Of(src))
	Convert(Of(single), Of(half))
	Convert(Of(same), Of(src))
	if single[0] != 1 || single[1] != -0.5 || !math.IsInf(float64(single[2]), 1) || single[3] == single[3] || single[4] != 3.140625 {
		t.Errorf("%v through float16 is %v", src, single)
	}
	if same[4] != src[4] {
		t.Errorf("%v copied is %v", src, same)
	}
	Convert(Of([]float32{}), Of([]F16{}))
	for name, f := range map[string]func(){
		"different lengths": func() { Convert(Of(make([]float32, 2)), Of(make([]float64, 3))) },
		"an integer":        func() { Convert(Of(make([]float32, 2)), Of(make([]int32, 2))) },
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

func FuzzConvert(f *testing.F) {
	for _, from := range floats {
		var p []byte
		for _, x := range special(from) {
			p = appendElement(p, from, x)
		}
		for _, to := range floats {
			f.Add(uint8(to), uint8(from), append(p, p...))
		}
	}
	f.Fuzz(func(t *testing.T, a, b uint8, p []byte) {
		to, from := Type(a)%BFloat16+1, Type(b)%BFloat16+1
		if to == from {
			return
		}
		n := len(p) / from.Size()
		p = p[:n*from.Size()]
		want := make([]byte, n*to.Size())
		levels[0].convert[to][from](want, p)
		for _, l := range levels[1:] {
			got := make([]byte, len(want))
			l.convert[to][from](got, p)
			if i := differ(to, got, want); i >= 0 {
				t.Fatalf("%s: %s %#x as %s is %#x, want %#x", l.name, from, element(from, p, i), to, element(to, got, i), element(to, want, i))
			}
		}
	})
}

func BenchmarkConvert(b *testing.B) {
	for _, l := range levels {
		for _, from := range floats {
			for _, to := range floats {
				if from == to {
					continue
				}
				b.Run(l.name+"/"+from.String()+"-"+to.String(), func(b *testing.B) {
					const n = 16 << 10
					dst, src := make([]byte, n*to.Size()), make([]byte, n*from.Size())
					b.SetBytes(int64(len(src)))
					b.ReportAllocs()
					for b.Loop() {
						l.convert[to][from](dst, src)
					}
				})
			}
		}
	}
}
