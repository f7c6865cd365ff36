package topology

import "fmt"

// Named is an algorithm with what flags, logs and frames call it.
type Named struct {
	ID   uint8  // in frames; never given to another algorithm
	Name string // unique among those of a Kind
	Kind Kind
	make func(root int) Algorithm
}

// Algorithm is the algorithm itself. The root matters to rooted operations only.
func (n Named) Algorithm(root int) Algorithm { return n.make(root) }

// Algorithms is all algorithms of all operations, those of an operation next to each other.
// The number in a name is the number of segments.
func Algorithms() []Named { return append([]Named(nil), algorithms...) }

// AlgorithmsFor is the algorithms that carry out an operation, in the order in which Select
// prefers them: the plain first, and of those that cut the data those that pipeline best.
func AlgorithmsFor(k Kind) []Named {
	var of []Named
	for _, n := range algorithms {
		if n.Kind == k {
			of = append(of, n)
		}
	}
	return of
}

// Find is the algorithm of that name for an operation.
func Find(k Kind, name string) (Named, error) {
	names := ""
	for _, n := range AlgorithmsFor(k) {
		if n.Name == name {
			return n, nil
		}
		names += ", " + n.Name
	}
	if names == "" {
		return Named{}, fmt.Errorf("topology: there is no operation %d", k)
	}
	return Named{}, fmt.Errorf("topology: there is no %v algorithm %q: choose one of %s", k, name, names[2:])
}

// Barrier is a plan that no rank ends before all have begun it: an all-reduce of a chunk
// that must not be empty.
func Barrier(w World, rank int) Plan { return Doubling(w, rank) }

var algorithms = []Named{
	// First those that pass piece after piece round a ring: a rank that is late by less than
	// what its neighbours hold makes nobody wait.
	{1, "ring", AllReduce, unrooted(Ring)},
	{13, "hierarchical-16", AllReduce, unrooted(HierarchicalIn(16))},
	{12, "hierarchical-4", AllReduce, unrooted(HierarchicalIn(4))},
	{2, "halving-doubling", AllReduce, unrooted(HalvingDoubling)},
	{3, "doubling", AllReduce, unrooted(Doubling)},
	{4, "circulant", AllReduce, unrooted(Circulant)},
	{5, "direct", AllReduce, unrooted(Direct)},
	{6, "tree", AllReduce, unrooted(Tree)},
	{7, "tree-8", AllReduce, unrooted(TreeIn(8))},
	{8, "double-tree", AllReduce, unrooted(DoubleTreeIn(1))},
	{9, "double-tree-8", AllReduce, unrooted(DoubleTreeIn(8))},
	{10, "double-tree-32", AllReduce, unrooted(DoubleTreeIn(32))},
	{11, "hierarchical", AllReduce, unrooted(Hierarchical)},
	{20, "ring", ReduceScatter, unrooted(RingReduceScatter)},
	{21, "circulant", ReduceScatter, unrooted(CirculantReduceScatter)},
	{22, "direct", ReduceScatter, unrooted(DirectReduceScatter)},
	{30, "ring", AllGather, unrooted(RingAllGather)},
	{31, "circulant", AllGather, unrooted(CirculantAllGather)},
	{32, "direct", AllGather, unrooted(DirectAllGather)},
	{40, "binomial", Broadcast, BroadcastFrom},
	{41, "chain-8", Broadcast, func(root int) Algorithm { return BroadcastChain(root, 8) }},
	{42, "chain-32", Broadcast, func(root int) Algorithm { return BroadcastChain(root, 32) }},
	{43, "double-tree-8", Broadcast, func(root int) Algorithm { return BroadcastDoubleTree(root, 8) }},
	{50, "binomial", Reduce, ReduceTo},
	{51, "chain-8", Reduce, func(root int) Algorithm { return ReduceChain(root, 8) }},
	{52, "chain-32", Reduce, func(root int) Algorithm { return ReduceChain(root, 32) }},
	{53, "double-tree-8", Reduce, func(root int) Algorithm { return ReduceDoubleTree(root, 8) }},
	{60, "direct", Gather, GatherTo},
	{70, "direct", Scatter, ScatterFrom},
	{80, "direct", AllToAll, unrooted(Exchange)},
}

// unrooted is an algorithm without a root.
func unrooted(a Algorithm) func(root int) Algorithm { return func(int) Algorithm { return a } }
