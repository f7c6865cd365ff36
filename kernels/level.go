package kernels

import "fmt"

// level is everything this package computes, in the form that suits one kind of processor.
// Its functions trust their arguments.
type level struct {
	name      string
	kernels   [Average + 1][Uint8 + 1]kernel
	folds     [Average + 1][Uint8 + 1]folder // the kernels, as callers get them
	scale     [BFloat16 + 1]func(dst []byte, by float64)
	divide    [BFloat16 + 1]func(dst []byte, by float64)
	convert   [BFloat16 + 1][BFloat16 + 1]func(dst, src []byte) // by type of dst, then of src
	magnitude func(x []byte) uint32                             // largest bits of a float32 without its sign
	checksum  func(crc uint32, p []byte) uint32
}

// levels are those that this processor can run, the fastest last. All give the same bits.
var levels = supported()

// active is the level in use.
var active = levels[len(levels)-1]

// finish fills in what follows from the rest.
func (l *level) finish() *level {
	l.kernels[Average] = l.kernels[Sum]
	for op := Sum; op <= Average; op++ {
		for t := Float32; t <= Uint8; t++ {
			l.folds[op][t] = l.kernels[op][t].folder(t)
		}
	}
	return l
}

func (l *level) pick(op Op, t Type) *folder {
	if op < Sum || op > Average || t < Float32 || t > Uint8 {
		panic(fmt.Sprintf("kernels: fold with op %d of type %d: there is none such", op, t))
	}
	return &l.folds[op][t]
}
