// Command asm writes the assembly of package gemm: one tile of a matrix product, described
// once and generated for AVX2 and AVX-512.
package main

import (
	"fmt"
	"os"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/printer"
	"github.com/mmcloughlin/avo/reg"
)

func main() {
	files, err := generate()
	if err == nil {
		for name, text := range files {
			if err = os.WriteFile(name, text, 0o644); err != nil {
				break
			}
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "asm:", err)
		os.Exit(1)
	}
}

// generate returns the files of the package by name.
func generate() (map[string][]byte, error) {
	w := &writer{Context: build.NewContext()}
	w.ConstraintExpr("amd64")
	w.tile(set{name: "AVX2", width: 32, rows: 6, vectors: 2})
	w.tile(set{name: "AVX512", width: 64, rows: 8, vectors: 3})
	file, err := w.Result()
	if err != nil {
		return nil, err
	}
	if err := pass.Compile.Execute(file); err != nil {
		return nil, err
	}
	config := printer.Config{Argv: []string{"go", "run", "./asm"}, Name: "asm", Pkg: "gemm"}
	code, err := printer.NewGoAsm(config).Print(file)
	if err != nil {
		return nil, err
	}
	stubs, err := printer.NewStubs(config).Print(file)
	if err != nil {
		return nil, err
	}
	return map[string][]byte{"tile_amd64.s": code, "tile_amd64.go": stubs}, nil
}

// set is an instruction set with the tile that fills its registers.
type set struct {
	name          string
	width         int // bytes a vector
	rows, vectors int // of the largest tile
}

func (s set) wide() bool { return s.width == 64 }

type writer struct {
	*build.Context
	set
	args reg.GPVirtual
	mask reg.Register // of the last vector of a row
}

// Where the fields of gemm's tile lie.
const (
	atA = 8 * iota
	atB
	atC
	atBias
	atRowStep
	atDepthStep
	atBStep
	atCStep
	atDepth
	atRows
	atVectors
	atMask
	atAlpha = atMask + 64
	atBeta  = atAlpha + 4
	atReLU  = atBeta + 4
)

// tile writes a function with a loop for each number of rows and vectors, so that edges
// cost what they hold.
func (w *writer) tile(s set) {
	w.set = s
	w.Function("tile" + s.name)
	w.Attributes(attr.NOSPLIT)
	w.Pragma("noescape")
	w.Doc("tile" + s.name + " computes one tile of at most " + fmt.Sprintf("%d rows and %d vectors.", s.rows, s.vectors))
	w.SignatureExpr("func(t *byte)")
	w.args = w.Load(w.Param("t"), w.GP64()).(reg.GPVirtual)
	if s.wide() {
		bits := w.GP32()
		w.MOVL(w.field(atMask), bits)
		k := w.K()
		w.KMOVW(bits, k)
		w.mask = k
	} else {
		m := w.YMM()
		w.VMOVUPS(w.field(atMask), m)
		w.mask = m
	}
	rows, vectors := w.GP64(), w.GP64()
	w.MOVQ(w.field(atRows), rows)
	w.MOVQ(w.field(atVectors), vectors)
	for r := s.rows; r > 0; r-- {
		next := fmt.Sprintf("fewer_than_%d_rows", r)
		if r > 1 {
			w.CMPQ(rows, operand.U8(r))
			w.JNE(operand.LabelRef(next))
		}
		for v := s.vectors; v > 0; v-- {
			narrower := fmt.Sprintf("rows_%d_fewer_than_%d_vectors", r, v)
			if v > 1 {
				w.CMPQ(vectors, operand.U8(v))
				w.JNE(operand.LabelRef(narrower))
			}
			w.product(r, v)
			if v > 1 {
				w.Label(narrower)
			}
		}
		if r > 1 {
			w.Label(next)
		}
	}
}

func (w *writer) field(at int) operand.Mem { return operand.Mem{Base: w.args, Disp: at} }

func (w *writer) vector() reg.VecVirtual {
	if w.wide() {
		return w.ZMM()
	}
	return w.YMM()
}

func (w *writer) vectorsOf(n int) []reg.VecVirtual {
	all := make([]reg.VecVirtual, n)
	for i := range all {
		all[i] = w.vector()
	}
	return all
}

// load reads a vector; the last one of a row stops where the row does.
func (w *writer) load(from operand.Mem, last bool, to reg.VecVirtual) {
	switch {
	case !last:
		w.VMOVUPS(from, to)
	case w.wide():
		w.VMOVUPS_Z(from, w.mask, to)
	default:
		w.VMASKMOVPS(from, w.mask, to)
	}
}

func (w *writer) store(from reg.VecVirtual, last bool, to operand.Mem) {
	switch {
	case !last:
		w.VMOVUPS(from, to)
	case w.wide():
		w.VMOVUPS(from, w.mask, to)
	default:
		w.VMASKMOVPS(from, w.mask, to)
	}
}

func (w *writer) zero(v reg.VecVirtual) {
	if w.wide() {
		w.VPXORD(v, v, v)
	} else {
		w.VXORPS(v, v, v)
	}
}

// product writes the loop over the depth, which holds all sums in registers, and what
// becomes of them.
func (w *writer) product(rows, vectors int) {
	name := fmt.Sprintf("%d_by_%d", rows, vectors)
	sums := w.vectorsOf(rows * vectors)
	for _, s := range sums {
		w.zero(s)
	}
	rowStep, depthStep, bStep, depth, b := w.GP64(), w.GP64(), w.GP64(), w.GP64(), w.GP64()
	w.MOVQ(w.field(atRowStep), rowStep)
	w.MOVQ(w.field(atDepthStep), depthStep)
	w.MOVQ(w.field(atBStep), bStep)
	w.MOVQ(w.field(atDepth), depth)
	w.MOVQ(w.field(atB), b)
	// A pointer for every three rows: an address takes a step once or twice.
	a := []reg.GPVirtual{w.GP64()}
	w.MOVQ(w.field(atA), a[0])
	for i := 3; i < rows; i += 3 {
		p := w.GP64()
		w.LEAQ(operand.Mem{Base: a[len(a)-1], Index: rowStep, Scale: 2}, p)
		w.ADDQ(rowStep, p)
		a = append(a, p)
	}
	w.Label("depth_" + name)
	bs := w.vectorsOf(vectors)
	for v := range bs {
		w.load(operand.Mem{Base: b, Disp: v * w.width}, v == vectors-1, bs[v])
	}
	for r := range rows {
		at := operand.Mem{Base: a[r/3]}
		if r%3 > 0 {
			at.Index, at.Scale = rowStep, uint8(r%3)
		}
		one := w.vector()
		w.VBROADCASTSS(at, one)
		for v := range bs {
			w.VFMADD231PS(bs[v], one, sums[r*vectors+v])
		}
	}
	for _, p := range a {
		w.ADDQ(depthStep, p)
	}
	w.ADDQ(bStep, b)
	w.DECQ(depth)
	w.JNZ(operand.LabelRef("depth_" + name))
	w.finish(name, rows, vectors, sums)
	w.RET()
}

// finish scales the sums, adds what C held and the bias, and stores them.
func (w *writer) finish(name string, rows, vectors int, sums []reg.VecVirtual) {
	alpha := w.vector()
	w.VBROADCASTSS(w.field(atAlpha), alpha)
	for _, s := range sums {
		w.VMULPS(alpha, s, s)
	}
	c, cStep := w.GP64(), w.GP64()
	w.MOVQ(w.field(atCStep), cStep)

	bits := w.GP32()
	w.MOVL(w.field(atBeta), bits)
	w.ADDL(bits, bits) // -0 is 0
	w.JZ(operand.LabelRef("fresh_" + name))
	w.MOVQ(w.field(atC), c)
	beta := w.vector()
	w.VBROADCASTSS(w.field(atBeta), beta)
	for r := range rows {
		for v := range vectors {
			old := w.vector()
			w.load(operand.Mem{Base: c, Disp: v * w.width}, v == vectors-1, old)
			w.VFMADD231PS(old, beta, sums[r*vectors+v])
		}
		w.ADDQ(cStep, c)
	}
	w.Label("fresh_" + name)

	bias := w.GP64()
	w.MOVQ(w.field(atBias), bias)
	w.TESTQ(bias, bias)
	w.JZ(operand.LabelRef("unbiased_" + name))
	for v := range vectors {
		add := w.vector()
		w.load(operand.Mem{Base: bias, Disp: v * w.width}, v == vectors-1, add)
		for r := range rows {
			w.VADDPS(add, sums[r*vectors+v], sums[r*vectors+v])
		}
	}
	w.Label("unbiased_" + name)

	w.CMPL(w.field(atReLU), operand.U8(0))
	w.JE(operand.LabelRef("linear_" + name))
	zero := w.vector()
	w.zero(zero)
	for _, s := range sums {
		w.VMAXPS(s, zero, s) // of 0 and a NaN, the NaN
	}
	w.Label("linear_" + name)

	w.MOVQ(w.field(atC), c)
	for r := range rows {
		for v := range vectors {
			w.store(sums[r*vectors+v], v == vectors-1, operand.Mem{Base: c, Disp: v * w.width})
		}
		w.ADDQ(cStep, c)
	}
	w.VZEROUPPER()
}
