package gemm

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

//go:generate go run ./asm

// supported asks the processor, and whether the operating system saves its registers.
func supported() []*level {
	all := []*level{inGo}
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA {
		all = append(all, &level{name: "avx2", lanes: 8, rows: 6, vectors: 2, kind: avx2})
	}
	if cpu.X86.HasAVX512F && cpu.X86.HasAVX512DQ {
		all = append(all, &level{name: "avx512", lanes: 16, rows: 8, vectors: 3, kind: avx512})
	}
	return all
}

// run branches, because a call through a variable would put every tile on the heap.
func (l *level) run(t *tile) {
	switch l.kind {
	case avx512:
		tileAVX512((*byte)(unsafe.Pointer(t)))
	case avx2:
		tileAVX2((*byte)(unsafe.Pointer(t)))
	default:
		t.plain()
	}
}
