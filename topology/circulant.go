package topology

import "math/bits"

// circulant halves the number of blocks a rank still folds in each of its ⌈log₂ n⌉ rounds,
// for any n, and moves the least data possible all the same: (n−1)/n of it in each half
// (Träff, Optimal, Non-pipelined Reduce-scatter and Allreduce Algorithms, arXiv 2410.14234,
// 2024). Rank p sends the further half of the blocks that it is partial for, those of
// p+h … p+s−1, to rank p+h, and is sent blocks p … p+s−h−1 by rank p−h.
//
//	n = 5, rank 0:   partial for 0 1 2 3 4
//	s = 5, h = 3     send [3 4] to 3, fold [0 1] from 2
//	s = 3, h = 2     send [2]   to 2, fold [0]   from 3
//	s = 2, h = 1     send [1]   to 1, fold [0]   from 4
//
// The all-gather goes through the same rounds backwards. Runs of blocks that go round the
// end of the group take two steps.
var circulant = halves{group.circulantReduceScatter, group.circulantAllGather}

// Circulant is an all-reduce in 2⌈log₂ n⌉ rounds for any n, moving as little as Ring does.
func Circulant(w World, rank int) Plan { return circulant.allReduce(w, rank) }

// CirculantReduceScatter is the first half of Circulant: rank r ends with the sum of chunk r.
func CirculantReduceScatter(w World, rank int) Plan {
	g := natural(w, rank)
	return single(w, rank, w.Size(), g.circulantReduceScatter(g.own()))
}

// CirculantAllGather is the second half of Circulant: all ranks end with everyone's chunk.
func CirculantAllGather(w World, rank int) Plan {
	g := natural(w, rank)
	return single(w, rank, w.Size(), g.circulantAllGather(g.own()))
}

func (g group) circulantReduceScatter(b blocks) []Step {
	steps := make([]Step, 0, 4*bits.Len(uint(g.size())))
	for s := g.size(); s > 1; s = (s + 1) / 2 {
		h := (s + 1) / 2
		steps = swap(steps,
			g.at(g.me+h), b.arc(g.turn(g.me+h), s-h),
			g.at(g.me-h), b.arc(g.me, s-h), true)
	}
	return steps
}

func (g group) circulantAllGather(b blocks) []Step {
	rounds := make([]int, 0, bits.Len(uint(g.size())))
	for s := g.size(); s > 1; s = (s + 1) / 2 {
		rounds = append(rounds, s)
	}
	steps := make([]Step, 0, 2*len(rounds))
	for i := len(rounds) - 1; i >= 0; i-- {
		s := rounds[i]
		h := (s + 1) / 2
		steps = swap(steps,
			g.at(g.me-h), b.arc(g.me, s-h),
			g.at(g.me+h), b.arc(g.turn(g.me+h), s-h), false)
	}
	return steps
}

// arc is a run of blocks that may go round the end of the group: one or two spans.
type arc struct {
	spans [2]Span
	n     int
}

// arc is n blocks from block lo on, counted round. The blocks lie one behind the other.
func (b blocks) arc(lo, n int) arc {
	if over := lo + n - b.size(); over > 0 {
		return arc{[2]Span{b.join(lo, b.size()), b.join(0, over)}, 2}
	}
	return arc{[2]Span{b.join(lo, lo+n)}, 1}
}

// swap appends the steps that send an arc to one peer while they receive another arc from
// another peer, as many as the longer one has spans.
func swap(steps []Step, to int, out arc, from int, in arc, reduce bool) []Step {
	for i := range max(out.n, in.n) {
		step := Step{SendTo: None, RecvFrom: None}
		if i < out.n {
			step.SendTo, step.Send = to, out.spans[i]
		}
		if i < in.n {
			step.RecvFrom, step.Recv, step.Reduce = from, in.spans[i], reduce
		}
		steps = append(steps, step)
	}
	return steps
}
