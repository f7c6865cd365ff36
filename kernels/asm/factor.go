package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// factors writes what combines every element of a vector with the same number.
func (w *writer) factors() {
	for _, f := range []struct {
		name, doc      string
		single, double func(...operand.Op)
	}{
		{"scale", "multiplies n bytes, a multiple of its vectors' length, by a number.", w.VMULPS, w.VMULPD},
		{"divide", "divides n bytes, a multiple of its vectors' length, by a number.", w.VDIVPS, w.VDIVPD},
	} {
		w.factor(f.name+"Float32", f.doc, w.width, func(v reg.VecVirtual) func(m operand.Mem) {
			combine := w.canonical32(f.single)
			return func(m operand.Mem) { w.store(combine(w.load(m), v), m) }
		})
		w.factor(f.name+"Float16", f.doc, w.width/2, func(v reg.VecVirtual) func(m operand.Mem) {
			combine := w.canonical32(f.single)
			return func(m operand.Mem) { w.storeF16(combine(w.loadF16(m), v), m) }
		})
		w.factor(f.name+"BFloat16", f.doc, w.width, func(v reg.VecVirtual) func(m operand.Mem) {
			combine, each := w.canonical32(f.single), w.bothOfPairs()
			return func(m operand.Mem) {
				x := w.load(m)
				w.store(each(func(widen widening) reg.VecVirtual { return combine(widen(x), v) }), m)
			}
		})
		w.factor64(f.name+"Float64", f.doc, f.double)
	}
}

// factor writes a function whose computation is in float32. make emits the constants of the
// body it returns.
func (w *writer) factor(name, doc string, step int, make func(v reg.VecVirtual) func(operand.Mem)) {
	w.begin(name, "func(dst *byte, n int, by float64)", doc)
	dst := w.pointer("dst", step)
	by, v := w.Load(w.Param("by"), w.XMM()), w.vector()
	w.VCVTSD2SS(by, by, by)
	w.VBROADCASTSS(by, v)
	body := make(v)
	w.loop(step, []pointer{dst}, func(i int) { body(dst.at(i)) })
	w.end()
}

func (w *writer) factor64(name, doc string, instruction func(...operand.Op)) {
	w.begin(name, "func(dst *byte, n int, by float64)", doc)
	dst := w.pointer("dst", w.width)
	by, v := w.Load(w.Param("by"), w.XMM()), w.vector()
	w.VBROADCASTSD(by, v)
	combine := w.canonical64(instruction)
	w.loop(w.width, []pointer{dst}, func(i int) { w.store(combine(w.load(dst.at(i)), v), dst.at(i)) })
	w.end()
}
