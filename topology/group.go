package topology

// group is some ranks in the order in which an algorithm numbers them, seen from the one
// at position me.
type group struct {
	ranks []int
	me    int
}

// groupOf is ranks seen from rank.
func groupOf(ranks []int, rank int) group {
	for i, r := range ranks {
		if r == rank {
			return group{ranks, i}
		}
	}
	panic("topology: rank is not in its group")
}

// group is all ranks host by host, seen from rank.
func (w World) group(rank int) group {
	if w.index != nil {
		return group{w.index.order, w.index.at[rank]}
	}
	return groupOf(w.order(), rank)
}

// natural is the group of all ranks in their own order.
func natural(w World, rank int) group {
	if w.index != nil {
		return group{w.index.natural, rank}
	}
	return group{naturals(w.Size()), rank}
}

func (g group) size() int { return len(g.ranks) }

// at is the rank at a position, counted round the group.
func (g group) at(pos int) int { return g.ranks[g.turn(pos)] }

// turn brings a position that is off by up to one round back into the group.
func (g group) turn(pos int) int {
	switch n := len(g.ranks); {
	case pos < 0:
		return pos + n
	case pos >= n:
		return pos - n
	}
	return pos
}

// halves are the two halves of an all-reduce over a group: after reduceScatter the rank at
// position p holds the reduced block p; allGather starts from there. Algorithms given as
// halves compose: Hierarchical runs one pair in the hosts and another between them.
type halves struct {
	reduceScatter, allGather func(g group, b blocks) []Step
}

// allReduce runs both halves over all ranks, host by host, with one chunk a rank.
func (h halves) allReduce(w World, rank int) Plan {
	g := w.group(rank)
	b := units(0, g.size())
	return single(w, rank, b.size(), append(h.reduceScatter(g, b), h.allGather(g, b)...))
}

// single is a plan of one track.
func single(w World, rank, chunks int, steps []Step) Plan {
	return Plan{Rank: rank, Size: w.Size(), Chunks: chunks, Tracks: [][]Step{steps}}
}

func send(to int, s Span) Step { return Step{SendTo: to, RecvFrom: None, Send: s} }

func recv(from int, s Span, reduce bool) Step {
	return Step{SendTo: None, RecvFrom: from, Recv: s, Reduce: reduce}
}
