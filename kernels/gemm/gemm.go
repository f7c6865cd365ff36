// Package gemm multiplies matrices of single precision on one thread: the product that a
// training step is made of, for processors with AVX-512 or AVX2, and in Go for others.
//
// A product is cut into tiles whose sums stay in registers (Goto and van de Geijn, Anatomy
// of High-Performance Matrix Multiplication, 2008). Unlike there, A is never packed: a tile
// broadcasts its numbers one by one, from any stride. B is packed only where it is
// transposed, or where so many rows of C use it that packing is cheap beside them.
//
// Results differ by rounding between instruction sets.
package gemm

import "fmt"

// Product is C = Alpha·op(A)·op(B) + Beta·C + Bias, then ReLU if asked for. op(A) is M × K,
// op(B) is K × N, C is M × N; all lie row after row, LDA, LDB and LDC numbers apart. C must
// overlap neither A nor B nor Bias.
type Product struct {
	M, N, K        int
	TransA, TransB bool
	Alpha, Beta    float32 // with a Beta of 0, what C held is not read
	A, B, C        []float32
	LDA, LDB, LDC  int
	Bias           []float32 // one a column, or nil
	ReLU           bool
}

// Workspace is the memory that products pack B into. It grows to what they need and is kept
// by the caller, for one product at a time. Its zero value is ready.
type Workspace struct{ panel []float32 }

// Multiply computes p. It panics if a matrix doesn't fit into its slice.
func Multiply(w *Workspace, p Product) { fastest.multiply(w, &p) }

// MultiplyBatch computes p for count matrices that lie stepA, stepB and stepC numbers apart,
// the first of which p describes. A step of 0 uses the same A or B for all.
func MultiplyBatch(w *Workspace, p Product, count, stepA, stepB, stepC int) {
	a, b, c := p.A, p.B, p.C
	for i := range count {
		p.A, p.B, p.C = a[i*stepA:], b[i*stepB:], c[i*stepC:]
		fastest.multiply(w, &p)
	}
}

// depth is how many numbers of a row of A a tile takes at most: so many rows of a panel of
// B stay in the second-level cache while all rows of A pass.
const depth = 384

// packFrom is how many times a panel of B must be used to be packed if it needn't be.
const packFrom = 6

// multiply takes B panel by panel, as wide as a tile, and all rows of A for each.
func (l *level) multiply(w *Workspace, p *Product) {
	p.check()
	if p.M == 0 || p.N == 0 {
		return
	}
	width := l.lanes * l.vectors
	pack := p.TransB || p.M >= packFrom*l.rows && p.N > width
	if size := min(depth, p.K) * width; pack && len(w.panel) < size {
		w.panel = make([]float32, size)
	}
	t := tile{rowStep: p.LDA * 4, depthStep: 4, bStep: p.LDB * 4, cStep: p.LDC * 4, alpha: p.Alpha}
	if p.TransA {
		t.rowStep, t.depthStep = t.depthStep, t.rowStep
	}
	if p.K == 0 || p.Alpha == 0 {
		p.withoutProduct()
		return
	}
	for k := 0; k < p.K; k += depth {
		t.depth = min(depth, p.K-k)
		t.beta = p.Beta
		if k > 0 {
			t.beta = 1
		}
		last := k+t.depth == p.K
		if last && p.ReLU {
			t.relu = 1
		}
		for j := 0; j < p.N; j += width {
			cols := min(width, p.N-j)
			l.columns(&t, cols)
			if pack {
				p.pack(w.panel, k, t.depth, j, cols, width)
				t.b, t.bStep = &w.panel[0], width*4
			} else {
				t.b = &p.B[k*p.LDB+j]
			}
			if last && p.Bias != nil {
				t.bias = &p.Bias[j]
			}
			for i := 0; i < p.M; i += l.rows {
				t.rows = min(l.rows, p.M-i)
				if p.TransA {
					t.a = &p.A[k*p.LDA+i]
				} else {
					t.a = &p.A[i*p.LDA+k]
				}
				t.c = &p.C[i*p.LDC+j]
				l.run(&t)
			}
		}
	}
}

// pack copies a panel of op(B): row after row, width numbers apart.
func (p *Product) pack(panel []float32, k, depth, j, cols, width int) {
	if !p.TransB {
		for r := range depth {
			copy(panel[r*width:][:cols], p.B[(k+r)*p.LDB+j:])
		}
		return
	}
	// Four columns at a time fill a quarter of a cache line with every visit.
	c := 0
	for ; c+4 <= cols; c += 4 {
		from := p.B[(j+c)*p.LDB+k:]
		b0, b1, b2, b3 := from[:depth], from[p.LDB:][:depth], from[2*p.LDB:][:depth], from[3*p.LDB:][:depth]
		to := panel[c:]
		for r := range depth {
			at := (*[4]float32)(to[r*width:])
			at[0], at[1], at[2], at[3] = b0[r], b1[r], b2[r], b3[r]
		}
	}
	for ; c < cols; c++ {
		for r, v := range p.B[(j+c)*p.LDB+k:][:depth] {
			panel[r*width+c] = v
		}
	}
}

// withoutProduct is what is left of p where nothing is multiplied.
func (p *Product) withoutProduct() {
	for i := range p.M {
		row := p.C[i*p.LDC:][:p.N]
		for j, v := range row {
			if p.Beta == 0 {
				v = 0
			}
			v *= p.Beta
			if p.Bias != nil {
				v += p.Bias[j]
			}
			if p.ReLU && v < 0 {
				v = 0
			}
			row[j] = v
		}
	}
}

func (p *Product) check() {
	if p.M < 0 || p.N < 0 || p.K < 0 {
		panic(fmt.Sprintf("gemm: product of %d×%d by %d×%d: a dimension is negative", p.M, p.K, p.K, p.N))
	}
	fits := func(name string, x []float32, ld, rows, cols int) {
		if ld < cols {
			panic(fmt.Sprintf("gemm: rows of %s lie %d numbers apart and hold %d", name, ld, cols))
		}
		if rows > 0 && cols > 0 && len(x) < (rows-1)*ld+cols {
			panic(fmt.Sprintf("gemm: %s has %d numbers, want %d", name, len(x), (rows-1)*ld+cols))
		}
	}
	turned := func(turned bool, rows, cols int) (int, int) {
		if turned {
			return cols, rows
		}
		return rows, cols
	}
	rows, cols := turned(p.TransA, p.M, p.K)
	fits("A", p.A, p.LDA, rows, cols)
	rows, cols = turned(p.TransB, p.K, p.N)
	fits("B", p.B, p.LDB, rows, cols)
	fits("C", p.C, p.LDC, p.M, p.N)
	if p.Bias != nil && len(p.Bias) < p.N {
		panic(fmt.Sprintf("gemm: the bias has %d numbers, want %d", len(p.Bias), p.N))
	}
}

// Accelerated says whether this processor has assembly here. Where it hasn't, a general BLAS
// is faster.
func Accelerated() bool { return fastest.kind != portable }
