package graph

import (
	"fmt"

	G "gorgonia.org/gorgonia"
)

// backpropagate appends the backward pass to p: reverse-mode differentiation of losses,
// starting with seed as their gradient. Gradients are announced, and so computed, at the
// first moment at which they are final; whatever no gradient needs is never emitted (the
// gradient of the input, for one). It returns the order of the announcements.
//
//	forward:   x ── linear w1 ── relu ── linear w2 ── losses
//	backward:  dw1 ◄────── drelu ◄─── dw2 ◄────────── seed
//	             └ hook                 └ hook, while the rest still runs
//
// gorgonia.Grad would do the differentiation too, but its nodes can only be run in the
// order of their numbers, which puts all hooks at the end.
func backpropagate(p *program, losses, seed *G.Node, params G.Nodes) (order []int, err error) {
	wanted := make(map[*G.Node]int)
	for i, n := range params {
		wanted[n] = i
	}
	sorted := postorder(losses)
	active := influenced(sorted, wanted)
	pending := make(map[*G.Node]int) // uses whose contribution to the gradient is still missing
	for _, n := range sorted {
		for _, c := range differentiableChildren(n, active) {
			if c != nil {
				pending[c]++
			}
		}
	}
	for i, n := range params {
		if pending[n] == 0 && n != losses {
			return nil, fmt.Errorf("parameter %s does not influence the losses", params[i].Name())
		}
	}
	terms := map[*G.Node]G.Nodes{losses: {seed}}
	for i := len(sorted) - 1; i >= 0; i-- {
		n := sorted[i]
		if !active[n] || len(terms[n]) == 0 || len(childrenOf(n)) == 0 {
			continue
		}
		grad, err := sum(terms[n])
		if err != nil {
			return nil, fmt.Errorf("gradient of %s: %w", place(n), err)
		}
		delete(terms, n)
		grads, err := differentiate(n, grad)
		if err != nil {
			return nil, err
		}
		for j, c := range differentiableChildren(n, active) {
			if c == nil {
				continue
			}
			if grads[j] == nil {
				return nil, fmt.Errorf("%s: no gradient for operand %d", place(n), j)
			}
			terms[c] = append(terms[c], grads[j])
			pending[c]--
			param, ok := wanted[c]
			if !ok || pending[c] > 0 {
				continue
			}
			final, err := sum(terms[c])
			if err != nil {
				return nil, fmt.Errorf("gradient of %s: %w", c.Name(), err)
			}
			if err := p.announce(final, param); err != nil {
				return nil, err
			}
			order = append(order, param)
		}
	}
	if len(order) != len(params) {
		return nil, fmt.Errorf("only %d of %d parameters get a gradient", len(order), len(params))
	}
	return order, nil
}

// postorder lists what n depends on, children first, n last.
func postorder(root *G.Node) G.Nodes {
	var sorted G.Nodes
	seen := make(map[*G.Node]bool)
	var visit func(n *G.Node)
	visit = func(n *G.Node) {
		if seen[n] {
			return
		}
		seen[n] = true
		for _, c := range childrenOf(n) {
			visit(c)
		}
		sorted = append(sorted, n)
	}
	visit(root)
	return sorted
}

// influenced marks the nodes through which a wanted node's derivative flows.
func influenced(sorted G.Nodes, wanted map[*G.Node]int) map[*G.Node]bool {
	active := make(map[*G.Node]bool)
	for _, n := range sorted {
		if _, ok := wanted[n]; ok {
			active[n] = true
			continue
		}
		for _, c := range differentiableChildren(n, active) {
			if c != nil {
				active[n] = true
			}
		}
	}
	return active
}

// differentiableChildren is n's children with nil for those that get no gradient.
func differentiableChildren(n *G.Node, active map[*G.Node]bool) G.Nodes {
	children := childrenOf(n)
	if len(children) == 0 {
		return nil
	}
	op, ok := n.Op().(G.SDOp)
	var wrt []bool
	if ok {
		wrt = op.DiffWRT(len(children))
	}
	for i, c := range children {
		if i >= len(wrt) || !wrt[i] || !active[c] {
			children[i] = nil
		}
	}
	return children
}

func differentiate(n, grad *G.Node) (grads G.Nodes, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("differentiate %s: %v", place(n), p)
		}
	}()
	if grads, err = n.Op().(G.SDOp).SymDiff(childrenOf(n), n, grad); err != nil {
		return nil, fmt.Errorf("differentiate %s: %w", place(n), err)
	}
	return grads, nil
}

func sum(terms G.Nodes) (*G.Node, error) {
	if len(terms) == 1 {
		return terms[0], nil
	}
	return G.ReduceAdd(terms)
}
