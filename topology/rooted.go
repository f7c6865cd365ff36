package topology

// BroadcastFrom sends root's data down a binomial tree: ⌈log₂ n⌉ latencies, for small data.
func BroadcastFrom(root int) Algorithm { return broadcast(root, 1, binomial) }

// BroadcastChain passes root's data from rank to rank, host by host, in segments that
// follow each other: every link carries the data once, for large data and few ranks.
func BroadcastChain(root, segments int) Algorithm { return broadcast(root, segments, chain) }

// BroadcastDoubleTree sends half of root's data down each of two binary trees, in segments
// (Sanders, Speck and Träff 2009, §3).
func BroadcastDoubleTree(root, segments int) Algorithm {
	return broadcast(root, segments, hung(inorder), hung(other))
}

// ReduceTo folds everyone's data into root's up a binomial tree.
func ReduceTo(root int) Algorithm { return reduce(root, 1, binomial) }

// ReduceChain is BroadcastChain the other way round.
func ReduceChain(root, segments int) Algorithm { return reduce(root, segments, chain) }

// ReduceDoubleTree is BroadcastDoubleTree the other way round.
func ReduceDoubleTree(root, segments int) Algorithm {
	return reduce(root, segments, hung(inorder), hung(other))
}

func broadcast(root, segments int, trees ...shape) Algorithm {
	return func(w World, rank int) Plan {
		g := groupOf(w.orderFrom(root), rank)
		p := Plan{Rank: rank, Size: w.Size(), Chunks: segments * len(trees)}
		for i, tree := range trees {
			p.Tracks = append(p.Tracks, g.down(tree, units(i*segments, segments), nil))
		}
		return p
	}
}

func reduce(root, segments int, trees ...shape) Algorithm {
	return func(w World, rank int) Plan {
		g := groupOf(w.orderFrom(root), rank)
		p := Plan{Rank: rank, Size: w.Size(), Chunks: segments * len(trees)}
		for i, tree := range trees {
			steps, _ := g.up(tree, units(i*segments, segments))
			p.Tracks = append(p.Tracks, steps)
		}
		return p
	}
}
