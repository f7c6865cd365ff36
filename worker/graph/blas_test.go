package graph

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"
)

func TestSgemmIsGonums(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	numbers := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = r.Float32() - 0.5
		}
		return x
	}
	kinds := []blas.Transpose{blas.NoTrans, blas.Trans, blas.ConjTrans}
	for range 200 {
		m, n, k := r.IntN(40), r.IntN(60), r.IntN(40)
		lda, ldb, ldc := max(m, k)+1, max(k, n)+1, n+1
		a, b, c := numbers(lda*lda), numbers(ldb*ldb), numbers((m+1)*ldc)
		want := append([]float32(nil), c...)
		tA, tB, alpha, beta := kinds[r.IntN(3)], kinds[r.IntN(3)], float32(r.IntN(3)), float32(r.IntN(3))
		gonum.Implementation{}.Sgemm(tA, tB, m, n, k, alpha, a, lda, b, ldb, beta, want, ldc)
		products{}.Sgemm(tA, tB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
		for i := range c {
			if math.Abs(float64(c[i]-want[i])) > 1e-4 {
				t.Fatalf("%d×%d by %d×%d, %c and %c: element %d is %g, want %g", m, k, k, n, tA, tB, i, c[i], want[i])
			}
		}
	}
}

func TestSgemmRefusesWhatGonumRefuses(t *testing.T) {
	refusal := func(b blas.Float32, lda, size int, tA blas.Transpose) (said any) {
		defer func() { said = recover() }()
		x := make([]float32, size)
		b.Sgemm(tA, blas.NoTrans, 4, 4, 4, 1, x, lda, make([]float32, 16), 4, 0, make([]float32, 16), 4)
		return nil
	}
	for _, bad := range []struct {
		lda, size int
		tA        blas.Transpose
	}{{3, 16, blas.NoTrans}, {4, 15, blas.Trans}, {4, 16, 'x'}} {
		want := refusal(gonum.Implementation{}, bad.lda, bad.size, bad.tA)
		if got := refusal(products{}, bad.lda, bad.size, bad.tA); want == nil || got != want {
			t.Errorf("%+v: panics with %v, gonum with %v", bad, got, want)
		}
	}
}
