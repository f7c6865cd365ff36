//go:build openblas

package main

/*
#cgo LDFLAGS: -lopenblas
void cblas_sgemm(int order, int ta, int tb, int m, int n, int k, float alpha, const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);
*/
import "C"

// turned is cblas's word for a letter of a form.
var turned = [256]C.int{'n': 111, 't': 112}

var linked = []contender{{"openblas", func(s shape, a, b, c []float32) {
	lda, ldb := s.strides()
	C.cblas_sgemm(101, turned[s.form[0]], turned[s.form[1]], C.int(s.m), C.int(s.n), C.int(s.k), 1,
		(*C.float)(&a[0]), C.int(lda), (*C.float)(&b[0]), C.int(ldb), 0, (*C.float)(&c[0]), C.int(s.n))
}}}
