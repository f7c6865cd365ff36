// Command gemm measures the product of matrices over the shapes that training asks for,
// on one thread: ours, gonum's and, built with -tags openblas, OpenBLAS's. It takes turns
// between them and writes the medians as CSV. OPENBLAS_NUM_THREADS=1 in the environment gives
// OpenBLAS one thread.
package main

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/gorun-ml/gorun/kernels/gemm"
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"
)

type shape struct {
	model   string
	m, n, k int
	form    string // op(A), op(B)
}

// shapes are one step's products. Form "tn" is Aᵀ·B, the gradient of a weight; "nt" is
// A·Bᵀ, the gradient of an input.
var shapes = []shape{
	{"mlp", 64, 512, 784, "nn"},
	{"mlp", 64, 256, 512, "nn"},
	{"mlp", 64, 10, 256, "nn"},
	{"mlp", 784, 512, 64, "tn"},
	{"mlp", 512, 256, 64, "tn"},
	{"mlp", 256, 10, 64, "tn"},
	{"mlp", 64, 512, 256, "nt"},
	{"mlp", 64, 256, 10, "nt"},
	{"lenet", 20, 576, 25, "nn"},
	{"lenet", 50, 64, 500, "nn"},
	{"lenet", 20, 25, 576, "nt"},
	{"lenet", 50, 500, 64, "nt"},
	{"lenet", 500, 64, 50, "tn"},
	{"lenet", 64, 500, 800, "nn"},
	{"lenet", 64, 10, 500, "nn"},
	{"resnet", 64, 1024, 27, "nn"},
	{"resnet", 64, 1024, 576, "nn"},
	{"resnet", 128, 256, 576, "nn"},
	{"resnet", 128, 256, 1152, "nn"},
	{"resnet", 256, 64, 2304, "nn"},
	{"resnet", 512, 16, 4608, "nn"},
	{"resnet", 64, 576, 1024, "nt"},
	{"resnet", 576, 1024, 64, "tn"},
	{"resnet", 128, 256, 64, "nn"},
	{"transformer", 2048, 128, 128, "nn"},
	{"transformer", 2048, 512, 128, "nn"},
	{"transformer", 2048, 128, 512, "nn"},
	{"transformer", 128, 512, 2048, "tn"},
	{"transformer", 2048, 128, 512, "nt"},
	{"transformer", 2048, 384, 128, "nn"},
	{"transformer", 32, 32, 32, "nn"},
	{"transformer", 32, 32, 32, "nt"},
	{"transformer", 32, 32, 32, "tn"},
}

// contender is a BLAS to compare.
type contender struct {
	name  string
	sgemm func(s shape, a, b, c []float32)
}

var workspace gemm.Workspace

// strides are how far apart the rows of A and B lie.
func (s shape) strides() (lda, ldb int) {
	lda, ldb = s.k, s.n
	if s.form[0] == 't' {
		lda = s.m
	}
	if s.form[1] == 't' {
		ldb = s.k
	}
	return lda, ldb
}

func ours(s shape, a, b, c []float32) {
	lda, ldb := s.strides()
	gemm.Multiply(&workspace, gemm.Product{
		M: s.m, N: s.n, K: s.k, TransA: s.form[0] == 't', TransB: s.form[1] == 't', Alpha: 1,
		A: a, LDA: lda, B: b, LDB: ldb, C: c, LDC: s.n,
	})
}

func gonums(s shape, a, b, c []float32) {
	lda, ldb := s.strides()
	turned := [256]blas.Transpose{'n': blas.NoTrans, 't': blas.Trans}
	gonum.Implementation{}.Sgemm(turned[s.form[0]], turned[s.form[1]], s.m, s.n, s.k, 1, a, lda, b, ldb, 0, c, s.n)
}

// rounds is how often each contender has its turn, of about span each.
const (
	rounds = 9
	span   = 5 * time.Millisecond
)

func main() {
	contenders := append([]contender{{"gorun", ours}, {"gonum", gonums}}, linked...)
	fmt.Print("model,m,n,k,form")
	for _, c := range contenders {
		fmt.Printf(",%s_gflops", c.name)
	}
	for _, c := range contenders[1:] {
		fmt.Printf(",gorun_over_%s", c.name)
	}
	fmt.Println()
	logs := make([]float64, len(contenders))
	for _, s := range shapes {
		a, b, c := numbers(s.m*s.k), numbers(s.k*s.n), make([]float32, s.m*s.n)
		rates := make([][]float64, len(contenders))
		for range rounds {
			for i, with := range contenders {
				rates[i] = append(rates[i], rate(s, func() { with.sgemm(s, a, b, c) }))
			}
		}
		fmt.Printf("%s,%d,%d,%d,%s", s.model, s.m, s.n, s.k, s.form)
		for i := range rates {
			slices.Sort(rates[i])
			fmt.Printf(",%.1f", rates[i][rounds/2])
		}
		for i := range rates[1:] {
			ratio := rates[0][rounds/2] / rates[i+1][rounds/2]
			logs[i+1] += math.Log(ratio)
			fmt.Printf(",%.2f", ratio)
		}
		fmt.Println()
	}
	for i, c := range contenders[1:] {
		fmt.Printf("# geometric mean of gorun over %s: %.2f over %d shapes\n", c.name, math.Exp(logs[i+1]/float64(len(shapes))), len(shapes))
	}
}

// rate is the GFLOPS of calls of f for a span.
func rate(s shape, f func()) float64 {
	f()
	start, calls := time.Now(), 0
	for time.Since(start) < span {
		f()
		calls++
	}
	return 2 * float64(s.m) * float64(s.n) * float64(s.k) * float64(calls) / time.Since(start).Seconds() / 1e9
}

func numbers(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(i%17)/17 - 0.5
	}
	return x
}
