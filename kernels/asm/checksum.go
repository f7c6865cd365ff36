package main

import (
	"math/bits"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// castagnoli is the polynomial of CRC32C without its highest term, x³² first.
const castagnoli = 0x1EDC6F41

// checksum writes CRC32C over four vectors at a time, by carry-less multiplication (Gopal et
// al. 2009, Fast CRC Computation for Generic Polynomials Using PCLMULQDQ). What has been read
// is a polynomial; moving it over the vectors that follow is a multiplication by a power of x,
// of which the remainder is a constant. Only AVX-512 has the instruction for a whole vector.
//
//	acc₀ acc₁ acc₂ acc₃      each · x²⁰⁴⁸ + the next four vectors, until all is read,
//	     ↓    ↓    ↓         then · x⁵¹² + its neighbour: one vector of four parts,
//	     p₀ → p₁ → p₂ → p₃   each · x¹²⁸ + its neighbour: 16 bytes, for the CRC32 instruction
func (w *writer) checksum() {
	if !w.wide() {
		return
	}
	const name = "checksumAVX512"
	w.Function(name)
	w.Attributes(attr.NOSPLIT)
	w.SignatureExpr("func(crc uint32, src *byte, n int) uint32")
	w.Doc(name + " continues a CRC32C, which is inverted, over n bytes: a multiple of 256, and not 0.")
	w.Pragma("noescape")
	crc := w.Load(w.Param("crc"), w.GP32())
	src := w.pointer("src", w.width)
	n := w.Load(w.Param("n"), w.GP64())

	var acc [4]reg.VecVirtual
	for i := range acc {
		acc[i] = w.load(src.at(i))
	}
	first := w.XMM()
	w.VMOVD(crc, first) // the rest of the register is 0
	w.VPXORQ(first.AsZ(), acc[0], acc[0])

	far := w.powers(4 * 8 * w.width)
	w.Label("more")
	w.ADDQ(operand.I32(4*w.width), src.Register)
	w.SUBQ(operand.I32(4*w.width), n)
	w.JZ(operand.LabelRef("read"))
	for i := range acc {
		acc[i] = w.move(acc[i], acc[i], far, w.load(src.at(i)))
	}
	w.JMP(operand.LabelRef("more"))

	w.Label("read")
	near := w.powers(8 * w.width)
	for i := range acc[1:] {
		w.move(acc[i+1], acc[i], near, acc[i+1])
	}
	within := w.powers(128)
	part := w.XMM()
	w.VEXTRACTI32X4(operand.U8(0), acc[3], part)
	for i := 1; i < 4; i++ {
		next, lo, hi := w.XMM(), w.XMM(), w.XMM()
		w.VEXTRACTI32X4(operand.U8(i), acc[3], next)
		w.VPCLMULQDQ(operand.U8(0x00), within.lo.AsX(), part, lo)
		w.VPCLMULQDQ(operand.U8(0x11), within.hi.AsX(), part, hi)
		w.VPXOR(lo, hi, lo)
		w.VPXOR(lo, next, part)
	}
	lo, hi, sum := w.GP64(), w.GP64(), w.GP64()
	w.VMOVQ(part, lo)
	w.VPEXTRQ(operand.U8(1), part, hi)
	w.XORQ(sum, sum)
	w.CRC32Q(lo, sum)
	w.CRC32Q(hi, sum)
	w.Store(sum.As32(), w.ReturnIndex(0))
	w.end()
}

// power is the constants that move 128 bits by a distance: for their lower and higher half.
type power struct{ lo, hi reg.VecVirtual }

func (w *writer) powers(distance int) power {
	return power{w.constant64(remainder(distance + 32)), w.constant64(remainder(distance - 32))}
}

// move is the sum of what is in from, moved, and next.
func (w *writer) move(to, from reg.VecVirtual, by power, next reg.VecVirtual) reg.VecVirtual {
	lo, hi := w.vector(), w.vector()
	w.VPCLMULQDQ(operand.U8(0x00), by.lo, from, lo)
	w.VPCLMULQDQ(operand.U8(0x11), by.hi, from, hi)
	const sumOfThree = 0x96
	w.VPTERNLOGQ(operand.U8(sumOfThree), lo, hi, next)
	if to != next {
		w.VMOVDQU64(next, to)
	}
	return to
}

// remainder is that of xⁿ, with its bits in the order of a CRC's, and shifted as the product
// of two such numbers needs it.
func remainder(n int) uint64 {
	r := uint64(1)
	for range n {
		if r <<= 1; r>>32 != 0 {
			r ^= 1<<32 | castagnoli
		}
	}
	return uint64(bits.Reverse32(uint32(r))) << 1
}
