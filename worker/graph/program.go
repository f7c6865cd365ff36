package graph

import (
	"fmt"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// program is a graph as a list of instructions over registers. It takes the place of
// gorgonia's tape machine, which decides the order by node number, runs operators on
// another goroutine (so that a panic there ends the process) and throws its memory away
// at every step.
type program struct {
	graph     *G.ExprGraph
	registers map[*G.Node]int
	values    []G.Value
	code      []instruction
	keep      map[int]bool        // registers that are read after a run
	buffers   map[*G.Node]G.Value // results of operators that may write into the same memory at each run
}

// instruction computes one node, or, with a nil node, says that a gradient is final.
type instruction struct {
	node   *G.Node
	in     []int
	out    int
	buffer G.Value
	free   []int // registers that are not read after this instruction
	hook   hook
	args   []G.Value
}

type hook struct{ param, register int }

func newProgram(g *G.ExprGraph, buffers map[*G.Node]G.Value) *program {
	return &program{graph: g, registers: make(map[*G.Node]int), keep: make(map[int]bool), buffers: buffers}
}

// want appends what n needs and is not computed yet, and returns n's register. The
// register keeps its value after a run.
func (p *program) want(n *G.Node) (int, error) {
	r, err := p.emit(n)
	if err == nil {
		p.keep[r] = true
	}
	return r, err
}

// announce appends a call of the hook with n's value, now that all of n is known.
func (p *program) announce(n *G.Node, param int) error {
	r, err := p.emit(n)
	if err == nil {
		p.code = append(p.code, instruction{in: []int{r}, hook: hook{param, r}})
	}
	return err
}

func (p *program) emit(n *G.Node) (int, error) {
	if r, ok := p.registers[n]; ok {
		return r, nil
	}
	children := childrenOf(n)
	in := make([]int, len(children))
	for i, c := range children {
		r, err := p.emit(c)
		if err != nil {
			return 0, err
		}
		in[i] = r
	}
	r := len(p.values)
	p.registers[n] = r
	if len(children) == 0 {
		v := n.Value()
		if v == nil {
			return 0, fmt.Errorf("%s has no value: list it in Net.Inputs or Net.Params, or bind one to it", n.Name())
		}
		p.values = append(p.values, v)
		p.keep[r] = true
		return r, nil
	}
	p.values = append(p.values, nil)
	if n.Dims() > 0 && reuses(n.Op()) && p.buffers[n] == nil {
		p.buffers[n] = dense(n.Shape(), make([]float32, n.Shape().TotalSize()))
	}
	p.code = append(p.code, instruction{node: n, in: in, out: r, buffer: p.buffers[n], args: make([]G.Value, len(in))})
	return r, nil
}

// seal finds the last use of each register, so that a run holds no value longer than it
// needs it.
func (p *program) seal() *program {
	seen := make(map[int]bool)
	for i := len(p.code) - 1; i >= 0; i-- {
		c := &p.code[i]
		for _, r := range append([]int{c.out}, c.in...) {
			if c.node == nil && r == c.out && r != c.in[0] {
				continue
			}
			if !seen[r] && !p.keep[r] {
				c.free = append(c.free, r)
			}
			seen[r] = true
		}
	}
	return p
}

// run executes the program on the current values of its leaves. Panics inside gorgonia
// become errors that name the operator; those of announced are the caller's.
func (p *program) run(announced func(register, param int) error) (err error) {
	var current *instruction
	defer func() {
		if current == nil {
			return
		}
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%s: %v", place(current.node), cause)
		}
	}()
	for i := range p.code {
		c := &p.code[i]
		if c.node == nil {
			if err := announced(c.hook.register, c.hook.param); err != nil {
				return err
			}
		} else {
			current = c
			v, err := p.execute(c)
			if err != nil {
				return fmt.Errorf("%s: %w", place(c.node), err)
			}
			p.values[c.out] = v
			current = nil
		}
		for _, r := range c.free {
			p.values[r] = nil
		}
	}
	return nil
}

func (p *program) execute(c *instruction) (G.Value, error) {
	for i, r := range c.in {
		c.args[i] = p.values[r]
	}
	defer clear(c.args)
	op := c.node.Op()
	into, ok := op.(G.UsePreallocDoer)
	switch {
	case ok && c.buffer != nil:
		return into.UsePreallocDo(c.buffer, c.args...)
	case ok && op.CallsExtern() && c.node.Dims() > 0:
		// Such operators expect zeroed memory, as gorgonia's own machine gives it to them.
		return into.UsePreallocDo(tensor.New(tensor.Of(c.node.Dtype()), tensor.WithShape(c.node.Shape()...)), c.args...)
	default:
		return op.Do(c.args...)
	}
}

// place names a node for an error: its operator and the shapes it works on.
func place(n *G.Node) string {
	s := fmt.Sprintf("operator %v (node %d) on", n.Op(), n.ID())
	for _, c := range childrenOf(n) {
		s += fmt.Sprintf(" %v", c.Shape())
	}
	return s
}

func childrenOf(n *G.Node) G.Nodes {
	var children G.Nodes
	for it := n.Graph().From(n.ID()); it != nil && it.Next(); {
		children = append(children, it.Node().(*G.Node))
	}
	return children
}
