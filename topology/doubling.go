package topology

// Doubling is the recursive-doubling all-reduce: all data exchanged log₂ n times, which is
// best where latency is everything (Thakur et al. 2005, §4.5). What is sent overlaps what
// is received; both partners fold the same two operands, so that the results are equal.
// Where n is not a power of two some ranks hand their data over first and get it back last.
func Doubling(w World, rank int) Plan {
	g := w.group(rank)
	core, role := g.foldIn()
	all := Span{0, 0, 1}
	var steps []Step
	switch role {
	case helper:
		first := g.at(g.me - 1)
		return single(w, rank, 1, []Step{send(first, all), recv(first, all, false)})
	case helped:
		steps = append(steps, recv(g.at(g.me+1), all, true))
	}
	for bit := 1; bit < core.size(); bit *= 2 {
		peer := core.at(core.me ^ bit)
		steps = append(steps, Step{SendTo: peer, Send: all, RecvFrom: peer, Recv: all, Reduce: true})
	}
	if role == helped {
		steps = append(steps, send(g.at(g.me+1), all))
	}
	return single(w, rank, 1, steps)
}
