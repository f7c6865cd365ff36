package gemm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// reference is the product in float64.
func reference(p Product) []float32 {
	c := append([]float32(nil), p.C...)
	for i := range p.M {
		for j := range p.N {
			sum := 0.0
			for k := range p.K {
				a, b := p.A, p.B
				if p.TransA {
					a = a[k*p.LDA+i:]
				} else {
					a = a[i*p.LDA+k:]
				}
				if p.TransB {
					b = b[j*p.LDB+k:]
				} else {
					b = b[k*p.LDB+j:]
				}
				sum += float64(a[0]) * float64(b[0])
			}
			sum *= float64(p.Alpha)
			if p.Beta != 0 {
				sum += float64(p.Beta) * float64(c[i*p.LDC+j])
			}
			if p.Bias != nil {
				sum += float64(p.Bias[j])
			}
			if p.ReLU {
				sum = max(sum, 0)
			}
			c[i*p.LDC+j] = float32(sum)
		}
	}
	return c
}

// random is a product of m × k by k × n, of one of all the kinds there are. C's memory goes
// on before and after what C is, and so do its rows.
func random(r *rand.Rand, m, n, k int) Product {
	numbers := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(r.NormFloat64())
		}
		return x
	}
	p := Product{
		M: m, N: n, K: k, TransA: r.IntN(2) == 0, TransB: r.IntN(2) == 0, ReLU: r.IntN(3) == 0,
		Alpha: []float32{0, 1, 1, 1, -0.5}[r.IntN(5)], Beta: []float32{0, 0, 1, 0.25}[r.IntN(4)],
	}
	matrix := func(trans bool, rows, cols int) ([]float32, int) {
		if trans {
			rows, cols = cols, rows
		}
		ld := cols + r.IntN(4)
		return numbers(max(0, (rows-1)*ld+cols)), ld
	}
	p.A, p.LDA = matrix(p.TransA, m, k)
	p.B, p.LDB = matrix(p.TransB, k, n)
	p.C, p.LDC = matrix(false, m, n)
	if r.IntN(2) == 0 {
		p.Bias = numbers(n)
	}
	return p
}

// check computes p on l between guards, with NaN in C where it must not be read.
func check(t *testing.T, l *level, w *Workspace, p Product) {
	t.Helper()
	want := reference(p)
	const guard = 64
	memory := make([]float32, guard+len(p.C)+guard)
	for i := range memory {
		memory[i] = 12345
	}
	c := memory[guard:][:len(p.C)]
	copy(c, p.C)
	if p.Beta == 0 {
		for i := range p.M {
			for j := range p.N {
				c[i*p.LDC+j] = float32(math.NaN())
			}
		}
	}
	p.C = c
	l.multiply(w, &p)
	name := fmt.Sprintf("%d×%d by %d×%d, transposed %t %t, alpha %g, beta %g", p.M, p.K, p.K, p.N, p.TransA, p.TransB, p.Alpha, p.Beta)
	bound := 1e-5 * (1 + math.Sqrt(float64(p.K)))
	for i, v := range c {
		if d := math.Abs(float64(v - want[i])); !(d <= bound) {
			t.Fatalf("%s: row %d, column %d of C is %g, want %g", name, i/p.LDC, i%p.LDC, v, want[i])
		}
	}
	for i, v := range memory {
		if (i < guard || i >= guard+len(c)) && v != 12345 {
			t.Fatalf("%s: wrote %g at %d, outside of C", name, v, i-guard)
		}
	}
	for i := range c {
		if i%p.LDC >= p.N && c[i] != want[i] {
			t.Fatalf("%s: wrote %g between two rows of C", name, c[i])
		}
	}
}

func eachLevel(t *testing.T, f func(t *testing.T, l *level)) {
	for _, l := range levels {
		t.Run(l.name, func(t *testing.T) { f(t, l) })
	}
}

// TestEdges has each dimension take every size up to 70, and the others small ones.
func TestEdges(t *testing.T) {
	eachLevel(t, func(t *testing.T, l *level) {
		r := rand.New(rand.NewPCG(1, 2))
		var w Workspace
		for size := range 71 {
			for range 2 {
				check(t, l, &w, random(r, size, r.IntN(70), r.IntN(40)))
				check(t, l, &w, random(r, r.IntN(70), size, r.IntN(40)))
				check(t, l, &w, random(r, r.IntN(40), r.IntN(70), size))
			}
		}
	})
}

// TestLarge takes more of every dimension than a tile and a panel hold.
func TestLarge(t *testing.T) {
	eachLevel(t, func(t *testing.T, l *level) {
		r := rand.New(rand.NewPCG(3, 4))
		var w Workspace
		for range 2 {
			check(t, l, &w, random(r, 60+r.IntN(30), 100+r.IntN(60), 2*depth+r.IntN(50)))
		}
	})
}

func TestBatch(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	p := random(r, 3*8, 8, 8)
	p.TransA, p.TransB, p.LDA, p.LDB, p.LDC, p.Beta = false, false, 8, 8, 8, 0
	p.A, p.C = p.A[:0:0], make([]float32, 3*64)
	for range 3 * 64 {
		p.A = append(p.A, r.Float32())
	}
	p.B = p.A[:64]
	want := reference(p)
	var w Workspace
	one := p
	one.M = 8
	MultiplyBatch(&w, one, 3, 64, 0, 64)
	for i, v := range p.C {
		if math.Abs(float64(v-want[i])) > 1e-4 {
			t.Fatalf("number %d of the batch is %g, want %g", i, v, want[i])
		}
	}
}

func TestAllocatesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	p := random(r, 70, 70, 70)
	p.TransB, p.Alpha = true, 1
	p.B, p.LDB = make([]float32, 70*70), 70
	var w Workspace
	Multiply(&w, p)
	if n := testing.AllocsPerRun(10, func() { Multiply(&w, p) }); n > 0 {
		t.Errorf("a product allocates %g times", n)
	}
}

func TestRefuses(t *testing.T) {
	fine := Product{M: 2, N: 2, K: 2, Alpha: 1, A: make([]float32, 4), B: make([]float32, 4), C: make([]float32, 4), LDA: 2, LDB: 2, LDC: 2}
	for name, spoil := range map[string]func(*Product){
		"a negative dimension": func(p *Product) { p.K = -1 },
		"a short A":            func(p *Product) { p.A = p.A[:3] },
		"a short C":            func(p *Product) { p.C = p.C[:3] },
		"rows that overlap":    func(p *Product) { p.LDB = 1 },
		"a short bias":         func(p *Product) { p.Bias = p.A[:1] },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("was not refused")
				}
			}()
			p := fine
			spoil(&p)
			var w Workspace
			Multiply(&w, p)
		})
	}
}

func BenchmarkMultiply(b *testing.B) {
	for _, s := range []struct {
		m, n, k        int
		transA, transB bool
	}{
		{m: 64, n: 512, k: 784},
		{m: 784, n: 512, k: 64, transA: true},
		{m: 64, n: 784, k: 512, transB: true},
		{m: 64, n: 10, k: 256},
		{m: 20, n: 576, k: 25},
		{m: 50, n: 64, k: 500, transB: true},
		{m: 32, n: 32, k: 32},
		{m: 2048, n: 512, k: 128},
	} {
		p := Product{M: s.m, N: s.n, K: s.k, Alpha: 1, TransA: s.transA, TransB: s.transB, LDA: s.k, LDB: s.n, LDC: s.n}
		if s.transA {
			p.LDA = s.m
		}
		if s.transB {
			p.LDB = s.k
		}
		p.A, p.B, p.C = make([]float32, s.m*s.k), make([]float32, s.k*s.n), make([]float32, s.m*s.n)
		for _, l := range levels {
			b.Run(fmt.Sprintf("%dx%dx%d/%t/%t/%s", s.m, s.n, s.k, s.transA, s.transB, l.name), func(b *testing.B) {
				var w Workspace
				for b.Loop() {
					l.multiply(&w, &p)
				}
				b.ReportMetric(2*float64(s.m)*float64(s.n)*float64(s.k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOPS")
			})
		}
	}
}
