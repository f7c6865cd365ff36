package topology

// other is the second of two binary trees over the same ranks, in which those are leaves
// that are inner nodes of inorder: the mirror image for even n, moved on by one for odd n
// (Sanders, Speck and Träff, Two-tree algorithms for full bandwidth broadcast, reduction
// and scan, Parallel Computing 35, 2009, §3). A leaf of a tree leaves half of its link
// idle; with half of the data on each tree both directions of all links are busy.
//
//	n = 6        3                     2
//	          ╱     ╲               ╱     ╲
//	         1       5             4       0
//	        ╱ ╲     ╱             ╱ ╲     ╱
//	       0   2   4             5   3   1
//
// The paper also colours the edges so that a rank which can do one thing at a time never
// has to choose between the trees. Here each tree has tracks of its own instead.
func other(pos, n int) (int, []int) {
	there := func(p int) int { return (p + 1) % n }
	back := func(p int) int { return (p + n - 1) % n }
	if n%2 == 0 {
		there = func(p int) int { return n - 1 - p }
		back = there
	}
	parent, children := inorder(there(pos), n)
	if parent != None {
		parent = back(parent)
	}
	for i := range children {
		children[i] = back(children[i])
	}
	return parent, children
}

// DoubleTree is the all-reduce over two trees with a half of the data each: latency grows
// with log₂ n, so it is for large worlds.
func DoubleTree(w World, rank int) Plan { return DoubleTreeIn(1)(w, rank) }

// DoubleTreeIn is DoubleTree with the data of each tree in segments.
func DoubleTreeIn(segments int) Algorithm {
	return func(w World, rank int) Plan {
		g := w.group(rank)
		p := Plan{Rank: rank, Size: w.Size(), Chunks: 2 * segments}
		p.Tracks = append(
			g.upAndDown(inorder, units(0, segments), 0),
			g.upAndDown(other, units(segments, segments), 2)...)
		return p
	}
}
