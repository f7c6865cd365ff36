package worker

import (
	"math"
	"math/rand/v2"
)

// order is the order in which an epoch uses the samples: every rank draws it anew for itself,
// in each epoch and where it has just been started. It is the one that rand.Perm draws, but
// that waits for the memory at each number where there are many: the places that are to be
// swapped next are touched together, and samples are numbers of 4 bytes where that suffices.
type order struct {
	epoch int
	few   []uint32
	many  []int // where there are more samples than few can tell apart

	touched uint32 // means nothing: it has the compiler read the places
}

// ahead is how many places are touched at once.
const ahead = 64

func shuffle(samples int, seed uint64, epoch int) *order {
	o := &order{epoch: epoch}
	r := rand.New(rand.NewPCG(seed, uint64(epoch)))
	if uint64(samples) > math.MaxUint32 {
		o.many = r.Perm(samples)
		return o
	}
	o.few = make([]uint32, samples)
	p := o.few
	for i := range p {
		p[i] = uint32(i)
	}
	var places [ahead]uint32
	for i := samples - 1; i > 0; {
		n := min(ahead, i)
		for k := range n {
			places[k] = uint32(r.Uint64N(uint64(i-k) + 1))
			o.touched += p[places[k]]
		}
		for _, j := range places[:n] {
			p[i], p[j] = p[j], p[i]
			i--
		}
	}
	return o
}

// deal appends what is from lo to hi.
func (o *order) deal(to []int, lo, hi int) []int {
	if o.many != nil {
		return append(to, o.many[lo:hi]...)
	}
	for _, s := range o.few[lo:hi] {
		to = append(to, int(s))
	}
	return to
}
