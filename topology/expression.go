package topology

import (
	"fmt"
	"strconv"
)

// expression is what a chunk holds, as the number of a node in an expressions. Equal
// numbers mean equal trees up to the order of the two operands of a fold, hence equal bits:
// floating-point addition commutes but does not associate.
type expression int32

// nothing is the content of a chunk that has none yet.
const nothing expression = -1

// expressions is a hash-consed forest: each fold of the same two operands is one node, so
// that comparing trees is comparing numbers. Node r < ranks is rank r's contribution.
type expressions struct {
	nodes  []fold
	ranks  int
	table  []expression // open addressing, a power of two in size, nothing where free
	folded int
}

type fold struct {
	a, b   expression
	leaves int32 // contributions, capped at many
}

const many = 1 << 30

func newExpressions(ranks int) *expressions {
	e := &expressions{nodes: make([]fold, ranks, 4*ranks), ranks: ranks}
	for i := range e.nodes {
		e.nodes[i] = fold{nothing, nothing, 1}
	}
	e.grow(1024)
	return e
}

// fold is the node of a and b folded.
func (e *expressions) fold(a, b expression) expression {
	if a > b {
		a, b = b, a
	}
	slot := e.slot(a, b)
	if n := e.table[slot]; n != nothing {
		return n
	}
	n := expression(len(e.nodes))
	e.nodes = append(e.nodes, fold{a, b, min(many, e.nodes[a].leaves+e.nodes[b].leaves)})
	e.table[slot] = n
	if e.folded++; 2*e.folded > len(e.table) {
		e.grow(4 * len(e.table))
	}
	return n
}

func (e *expressions) slot(a, b expression) int {
	hash := (uint64(a)<<32 | uint64(b)) * 0x9e3779b97f4a7c15
	mask := len(e.table) - 1
	slot := int(hash>>32) & mask
	for n := e.table[slot]; n != nothing && (e.nodes[n].a != a || e.nodes[n].b != b); n = e.table[slot] {
		slot = (slot + 1) & mask
	}
	return slot
}

func (e *expressions) grow(size int) {
	e.table = make([]expression, size)
	for i := range e.table {
		e.table[i] = nothing
	}
	for i := e.ranks; i < len(e.nodes); i++ {
		e.table[e.slot(e.nodes[i].a, e.nodes[i].b)] = expression(i)
	}
}

// complete says why n is not the fold of every rank's contribution exactly once.
func (e *expressions) complete(n expression, seen []bool) error {
	if n == nothing {
		return fmt.Errorf("holds nothing")
	}
	clear(seen)
	for stack := []expression{n}; len(stack) > 0; {
		top := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if int(top) >= e.ranks {
			stack = append(stack, e.nodes[top].a, e.nodes[top].b)
			continue
		}
		if seen[top] { // after at most ranks+1 contributions
			return fmt.Errorf("holds the contribution of rank %d more than once%s", top, e.text(n))
		}
		seen[top] = true
	}
	for rank, has := range seen {
		if !has {
			return fmt.Errorf("lacks the contribution of rank %d%s", rank, e.text(n))
		}
	}
	return nil
}

// text is ": " and the tree, where it is small enough to help.
func (e *expressions) text(n expression) string {
	if n == nothing || e.nodes[n].leaves > 16 {
		return ""
	}
	return ": " + e.tree(n)
}

func (e *expressions) tree(n expression) string {
	switch {
	case n == nothing:
		return "nothing"
	case int(n) < e.ranks:
		return strconv.Itoa(int(n))
	}
	return "(" + e.tree(e.nodes[n].a) + "+" + e.tree(e.nodes[n].b) + ")"
}
