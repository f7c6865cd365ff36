package topology

// direct sends every block straight to the rank that folds it, and every folded block
// straight to all. No rank waits for what another has to fold first, and nothing is
// forwarded: one latency a half, at the price of a message to everyone.
var direct = halves{group.directReduceScatter, group.directAllGather}

// Direct is the all-reduce without forwarding, for few ranks and few bytes.
func Direct(w World, rank int) Plan { return direct.allReduce(w, rank) }

// DirectReduceScatter sends chunk r of every rank to rank r.
func DirectReduceScatter(w World, rank int) Plan {
	g := w.group(rank)
	return single(w, rank, w.Size(), g.directReduceScatter(g.own()))
}

// DirectAllGather sends every rank's chunk to all.
func DirectAllGather(w World, rank int) Plan {
	g := w.group(rank)
	return single(w, rank, w.Size(), g.directAllGather(g.own()))
}

// Exchange is the all-to-all: in step k each rank sends to the k-th after it and receives
// from the k-th before it, so that no rank is sent to by two at once (Thakur et al. 2005,
// §4.3, pairwise exchange).
func Exchange(w World, rank int) Plan {
	g := w.group(rank)
	steps := make([]Step, 0, 2*g.size())
	for k := 1; k < g.size(); k++ {
		to, from := g.at(g.me+k), g.at(g.me-k)
		steps = append(steps, Step{
			SendTo: to, Send: Span{0, to, to + 1},
			RecvFrom: from, Recv: Span{1, from, from + 1},
		})
	}
	return single(w, rank, w.Size(), steps)
}

// GatherTo has every rank send its chunk straight to root, whose link has to take all of
// them anyhow. Ranks other than root touch no chunk but their own.
func GatherTo(root int) Algorithm {
	return func(w World, rank int) Plan {
		var steps []Step
		for _, peer := range others(w, rank, root) {
			steps = append(steps, recv(peer, Span{0, peer, peer + 1}, false))
		}
		if rank != root {
			steps = append(steps, send(root, Span{0, rank, rank + 1}))
		}
		return single(w, rank, w.Size(), steps)
	}
}

// ScatterFrom has root send each rank its chunk. Ranks other than root touch no chunk but
// their own.
func ScatterFrom(root int) Algorithm {
	return func(w World, rank int) Plan {
		var steps []Step
		for _, peer := range others(w, rank, root) {
			steps = append(steps, send(peer, Span{0, peer, peer + 1}))
		}
		if rank != root {
			steps = append(steps, recv(root, Span{0, rank, rank + 1}, false))
		}
		return single(w, rank, w.Size(), steps)
	}
}

// others is whom the root has to do with, and nobody for the rest.
func others(w World, rank, root int) []int {
	if rank != root {
		return nil
	}
	return w.orderFrom(root)[1:]
}

func (g group) directReduceScatter(b blocks) []Step {
	steps := make([]Step, 0, 2*g.size())
	for k := 1; k < g.size(); k++ {
		steps = append(steps, Step{
			SendTo: g.at(g.me + k), Send: b.at(g.turn(g.me + k)),
			RecvFrom: g.at(g.me - k), Recv: b.at(g.me), Reduce: true,
		})
	}
	return steps
}

func (g group) directAllGather(b blocks) []Step {
	steps := make([]Step, 0, 2*g.size())
	for k := 1; k < g.size(); k++ {
		steps = append(steps, Step{
			SendTo: g.at(g.me + k), Send: b.at(g.me),
			RecvFrom: g.at(g.me - k), Recv: b.at(g.turn(g.me - k)),
		})
	}
	return steps
}
