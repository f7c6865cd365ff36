package graph

import (
	"sync"

	"github.com/gorun-ml/gorun/kernels/gemm"
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"
	G "gorgonia.org/gorgonia"
)

// products is gonum's BLAS with our product of matrices in single precision.
type products struct{ gonum.Implementation }

// workspaces are of type *gemm.Workspace.
var workspaces = sync.Pool{New: func() any { return new(gemm.Workspace) }}

// Sgemm leaves to gonum what there is nothing to multiply in and what it refuses.
func (b products) Sgemm(tA, tB blas.Transpose, m, n, k int, alpha float32, a []float32, lda int, bb []float32, ldb int, beta float32, c []float32, ldc int) {
	aRows, aCols, bRows, bCols := m, k, k, n
	if tA != blas.NoTrans {
		aRows, aCols = k, m
	}
	if tB != blas.NoTrans {
		bRows, bCols = n, k
	}
	fits := func(x []float32, ld, rows, cols int) bool { return ld >= cols && len(x) >= (rows-1)*ld+cols }
	if m <= 0 || n <= 0 || k <= 0 || alpha == 0 || !known(tA) || !known(tB) ||
		!fits(a, lda, aRows, aCols) || !fits(bb, ldb, bRows, bCols) || !fits(c, ldc, m, n) {
		b.Implementation.Sgemm(tA, tB, m, n, k, alpha, a, lda, bb, ldb, beta, c, ldc)
		return
	}
	w := workspaces.Get().(*gemm.Workspace)
	gemm.Multiply(w, gemm.Product{
		M: m, N: n, K: k, TransA: tA != blas.NoTrans, TransB: tB != blas.NoTrans, Alpha: alpha, Beta: beta,
		A: a, B: bb, C: c, LDA: lda, LDB: ldb, LDC: ldc,
	})
	workspaces.Put(w)
}

func known(t blas.Transpose) bool { return t == blas.NoTrans || t == blas.Trans || t == blas.ConjTrans }

// installProducts has gorgonia multiply with our kernels, unless the program chose a BLAS
// of its own before its first model.
var installProducts = sync.OnceFunc(func() {
	if _, stock := G.WhichBLAS().(gonum.Implementation); stock && gemm.Accelerated() {
		G.Use(products{})
	}
})
