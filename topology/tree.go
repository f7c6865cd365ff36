package topology

// shape is a tree over positions 0 … n−1: the parent of one, None for the root, and its
// children, those with the most below them first.
type shape func(pos, n int) (parent int, children []int)

// inorder is the balanced binary tree whose in-order walk is 0 … n−1. With positions
// counted from 1 the lowest set bit is the height: odd ones are leaves.
//
//	       3                 Ranks of a host are next to each other, so
//	    ╱     ╲              most edges stay inside hosts.
//	  1         5
//	 ╱ ╲       ╱ ╲
//	0   2     4   6
func inorder(pos, n int) (int, []int) {
	i := pos + 1
	bit := i & -i
	parent := None
	for up, b := i, bit; b <= n; b *= 2 {
		if up = up&^b | 2*b; up <= n { // the first ancestor that exists
			parent = up - 1
			break
		}
	}
	var children []int
	if bit > 1 {
		children = append(children, i-bit/2-1)
	}
	for b := bit / 2; b > 0; b /= 2 { // the right child, or what is below it
		if i+b <= n {
			children = append(children, i+b-1)
			break
		}
	}
	return parent, children
}

// binomial is the tree in which position p's parent is p without its lowest set bit: all
// who have the data send it on at the same time, so that n ranks have it after ⌈log₂ n⌉
// messages.
func binomial(pos, n int) (int, []int) {
	parent, bit := None, 1
	if pos > 0 {
		parent = pos & (pos - 1)
		bit = pos & -pos
	} else {
		for bit < n {
			bit *= 2
		}
	}
	var children []int
	for bit /= 2; bit > 0; bit /= 2 {
		if pos+bit < n {
			children = append(children, pos+bit)
		}
	}
	return parent, children
}

// chain is the tree of one branch.
func chain(pos, n int) (int, []int) {
	if pos+1 == n {
		return pos - 1, nil // None for the only one
	}
	return pos - 1, []int{pos + 1}
}

// hung puts position 0 above the root of a tree of the others.
func hung(s shape) shape {
	return func(pos, n int) (int, []int) {
		if pos == 0 {
			for p := range n - 1 {
				if parent, _ := s(p, n-1); parent == None {
					return None, []int{p + 1}
				}
			}
			return None, nil
		}
		parent, children := s(pos-1, n-1)
		for i := range children {
			children[i]++
		}
		return parent + 1, children // None becomes 0
	}
}

// Tree is the all-reduce up and down one binary tree, for the smallest messages.
func Tree(w World, rank int) Plan { return TreeIn(1)(w, rank) }

// TreeIn is Tree with the data in segments that follow each other through the tree. What
// goes up and what goes down are tracks of their own and run at once.
func TreeIn(segments int) Algorithm {
	return func(w World, rank int) Plan {
		p := Plan{Rank: rank, Size: w.Size(), Chunks: segments}
		g := w.group(rank)
		p.Tracks = g.upAndDown(inorder, units(0, segments), 0)
		return p
	}
}

// upAndDown reduces to the root of a tree on track number track and broadcasts from it on
// the next. A segment comes down after it has gone up.
func (g group) upAndDown(s shape, segments blocks, track int) [][]Step {
	up, done := g.up(s, segments)
	after := make([][]Ref, segments.size())
	if len(up) > 0 {
		for i := range after {
			after[i] = []Ref{{track, done[i]}}
		}
	}
	return [][]Step{up, g.down(s, segments, after)}
}

// up reduces segments towards the root. While a segment arrives from the first child the
// one before goes to the parent. done[i] is the step after which this rank is through with
// segment i.
func (g group) up(s shape, segments blocks) (steps []Step, done []int) {
	parent, children := s(g.me, g.size())
	done = make([]int, segments.size())
	steps = make([]Step, 0, segments.size()*max(1, len(children))+1)
	for i := range segments.size() {
		segment := segments.at(i)
		for c := len(children) - 1; c >= 0; c-- { // the smallest subtree is ready first
			step := recv(g.ranks[children[c]], segment, true)
			if c == len(children)-1 && i > 0 && parent != None {
				step.SendTo, step.Send = g.ranks[parent], segments.at(i-1)
				done[i-1] = len(steps)
			}
			steps = append(steps, step)
		}
		if parent == None {
			done[i] = len(steps) - 1
		} else if len(children) == 0 || i == segments.size()-1 {
			done[i] = len(steps)
			steps = append(steps, send(g.ranks[parent], segment))
		}
	}
	return steps, done
}

// down broadcasts segments from the root, segment i after after[i] where after is not nil.
// While a segment arrives the one before goes to the last child.
func (g group) down(s shape, segments blocks, after [][]Ref) []Step {
	parent, children := s(g.me, g.size())
	steps := make([]Step, 0, segments.size()*max(1, len(children))+1)
	for i := range segments.size() {
		segment := segments.at(i)
		first := len(steps)
		direct := children
		if parent != None {
			step := recv(g.ranks[parent], segment, false)
			if n := len(children); n > 0 {
				direct = children[:n-1]
				if i > 0 {
					step.SendTo, step.Send = g.ranks[children[n-1]], segments.at(i-1)
				}
			}
			steps = append(steps, step)
		}
		for _, child := range direct {
			steps = append(steps, send(g.ranks[child], segment))
		}
		if after != nil && len(steps) > first {
			steps[first].After = after[i]
		}
	}
	if n := len(children); parent != None && n > 0 {
		steps = append(steps, send(g.ranks[children[n-1]], segments.at(segments.size()-1)))
	}
	return steps
}
