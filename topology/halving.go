package topology

// HalvingDoubling is Rabenseifner's all-reduce: recursive halving as the reduce-scatter,
// recursive doubling as the all-gather, 2·log₂ n steps and 2(n−1)/n of the data where n is
// a power of two (Thakur, Rabenseifner and Gropp, Optimization of Collective Communication
// Operations in MPICH, IJHPCA 19, 2005, §4.5). The first and largest exchange is with the
// neighbour, which is likely on the same host.
//
//	n = 4, what a rank keeps:      0      1      2      3
//	exchange halves with r^1      [01]   [23]   [01]   [23]
//	exchange halves with r^2      [0]    [2]    [1]    [3]
//
// Otherwise the first 2(n−2^k) ranks form pairs. The two of a pair exchange halves and fold
// them, the second hands its half to the first and waits for the result at the end.
func HalvingDoubling(w World, rank int) Plan {
	g := w.group(rank)
	core, role := g.foldIn()
	steps := []Step(nil)
	mid, all := Span{0, 0, core.size() / 2}, Span{0, 0, core.size()}
	rest := Span{0, mid.Hi, all.Hi}
	switch role {
	case helped:
		helper := g.at(g.me + 1)
		steps = append(steps, Step{SendTo: helper, Send: rest, RecvFrom: helper, Recv: mid, Reduce: true}, recv(helper, rest, false))
	case helper:
		first := g.at(g.me - 1)
		steps = append(steps, Step{SendTo: first, Send: mid, RecvFrom: first, Recv: rest, Reduce: true}, send(first, rest), recv(first, all, false))
	}
	if role != helper {
		steps = append(steps, core.halveAndDouble(all)...)
	}
	if role == helped {
		steps = append(steps, send(g.at(g.me+1), all))
	}
	return single(w, rank, core.size(), steps)
}

// halveAndDouble needs a group of 2^k ranks and a span of as many chunks.
func (g group) halveAndDouble(all Span) []Step {
	var steps, back []Step
	for bit := 1; bit < g.size(); bit *= 2 {
		peer := g.at(g.me ^ bit)
		keep, give := all, all
		mid := (all.Lo + all.Hi) / 2
		if g.me&bit == 0 {
			keep.Hi, give.Lo = mid, mid
		} else {
			keep.Lo, give.Hi = mid, mid
		}
		steps = append(steps, Step{SendTo: peer, Send: give, RecvFrom: peer, Recv: keep, Reduce: true})
		back = append(back, Step{SendTo: peer, Send: keep, RecvFrom: peer, Recv: give})
		all = keep
	}
	for i := len(back) - 1; i >= 0; i-- {
		steps = append(steps, back[i])
	}
	return steps
}

// Roles of the ranks that a power of two leaves over.
const (
	alone  = iota // takes part
	helped        // takes part, for the next rank too
	helper        // has handed its data to the rank before it
)

// foldIn is the largest power-of-two group in g: of the first 2·(n−2^k) ranks every other,
// and all further ones. A helper gets a group that it is not in.
func (g group) foldIn() (core group, role int) {
	n := 1
	for 2*n <= g.size() {
		n *= 2
	}
	extra := g.size() - n
	core.ranks = make([]int, 0, n)
	for i := 0; i < g.size(); i++ {
		core.ranks = append(core.ranks, g.ranks[i])
		if i < 2*extra {
			i++
		}
	}
	switch {
	case g.me >= 2*extra:
		core.me = g.me - extra
		return core, alone
	case g.me%2 == 0:
		core.me = g.me / 2
		return core, helped
	}
	return core, helper
}
