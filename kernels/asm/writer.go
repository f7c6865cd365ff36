package main

import (
	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// writer writes functions over vectors of width bytes. Its methods hide where AVX2 and
// AVX-512 differ, so that what is built on them need not know.
type writer struct {
	*build.Context
	width int
}

func newWriter() *writer { return &writer{Context: build.NewContext()} }

// wide reports whether vectors are AVX-512's.
func (w *writer) wide() bool { return w.width == 64 }

// vector is a fresh register.
func (w *writer) vector() reg.VecVirtual {
	if w.wide() {
		return w.ZMM()
	}
	return w.YMM()
}

// half is the register's lower half.
func (w *writer) half(v reg.VecVirtual) reg.Register {
	if w.wide() {
		return v.AsY()
	}
	return v.AsX()
}

// begin starts a function that has a twin in each width.
func (w *writer) begin(name, signature, doc string) {
	suffix := "AVX2"
	if w.wide() {
		suffix = "AVX512"
	}
	w.Function(name + suffix)
	w.Attributes(attr.NOSPLIT)
	w.SignatureExpr(signature)
	w.Doc(name + suffix + " " + doc)
	w.Pragma("noescape")
}

// end returns to the caller. SSE code is slow while upper halves are dirty.
func (w *writer) end() {
	w.VZEROUPPER()
	w.RET()
}

// pointer walks through memory, by step bytes a vector.
type pointer struct {
	reg.Register
	step int
}

func (w *writer) pointer(param string, step int) pointer {
	return pointer{w.Load(w.Param(param), w.GP64()), step}
}

// at is the memory of the i-th vector from where p stands.
func (p pointer) at(i int) operand.Mem { return operand.Mem{Base: p.Register, Disp: i * p.step} }

// loop runs body until the count n is used up, four times a turn while it lasts. A run of
// body takes unit of n, of which n is a multiple, and works on the i-th vector from where
// the pointers stand.
func (w *writer) loop(unit int, pointers []pointer, body func(i int)) {
	n := w.Load(w.Param("n"), w.GP64())
	turn := func(times int) {
		for i := range times {
			body(i)
		}
		for _, p := range pointers {
			w.ADDQ(operand.I32(times*p.step), p.Register)
		}
		w.SUBQ(operand.I32(times*unit), n)
	}
	w.Label("four")
	w.CMPQ(n, operand.I32(4*unit))
	w.JB(operand.LabelRef("one"))
	turn(4)
	w.JMP(operand.LabelRef("four"))
	w.Label("one")
	w.TESTQ(n, n)
	w.JZ(operand.LabelRef("done"))
	turn(1)
	w.JMP(operand.LabelRef("one"))
	w.Label("done")
}

// constant32 is a vector of copies of a 32-bit pattern.
func (w *writer) constant32(pattern uint32) reg.VecVirtual {
	r, x, v := w.GP32(), w.XMM(), w.vector()
	w.MOVL(operand.U32(pattern), r)
	w.VMOVD(r, x)
	w.VPBROADCASTD(x, v)
	return v
}

// constant64 is a vector of copies of a 64-bit pattern.
func (w *writer) constant64(pattern uint64) reg.VecVirtual {
	r, x, v := w.GP64(), w.XMM(), w.vector()
	w.MOVQ(operand.U64(pattern), r)
	w.VMOVQ(r, x)
	w.VPBROADCASTQ(x, v)
	return v
}

func (w *writer) load(m operand.Mem) reg.VecVirtual {
	v := w.vector()
	w.VMOVUPS(m, v)
	return v
}

func (w *writer) store(v reg.VecVirtual, m operand.Mem) { w.VMOVUPS(v, m) }

func (w *writer) and(x, y operand.Op) reg.VecVirtual {
	v := w.vector()
	if w.wide() {
		w.VPANDD(x, y, v)
	} else {
		w.VPAND(x, y, v)
	}
	return v
}

func (w *writer) or(x, y operand.Op) reg.VecVirtual {
	v := w.vector()
	if w.wide() {
		w.VPORD(x, y, v)
	} else {
		w.VPOR(x, y, v)
	}
	return v
}

// unordered is the predicate of a comparison that is true if either side is a NaN.
const unordered = operand.U8(3)

// unlessNaN32 is v where x and y, float32s, are both numbers, and instead where they are not.
func (w *writer) unlessNaN32(x, y, v, instead reg.VecVirtual) reg.VecVirtual {
	out := w.vector()
	if w.wide() {
		k := w.K()
		w.VCMPPS(unordered, x, y, k)
		w.VBLENDMPS(instead, v, k, out)
	} else {
		mask := w.vector()
		w.VCMPPS(unordered, x, y, mask)
		w.VBLENDVPS(mask, instead, v, out)
	}
	return out
}

// unlessNaN64 is unlessNaN32 for float64s.
func (w *writer) unlessNaN64(x, y, v, instead reg.VecVirtual) reg.VecVirtual {
	out := w.vector()
	if w.wide() {
		k := w.K()
		w.VCMPPD(unordered, x, y, k)
		w.VBLENDMPD(instead, v, k, out)
	} else {
		mask := w.vector()
		w.VCMPPD(unordered, x, y, mask)
		w.VBLENDVPD(mask, instead, v, out)
	}
	return out
}

// binary appends an instruction of three registers and returns where its result is. The
// first operand is Go assembly's first: Intel's last.
func (w *writer) binary(instruction func(...operand.Op), x, y operand.Op) reg.VecVirtual {
	v := w.vector()
	instruction(x, y, v)
	return v
}
