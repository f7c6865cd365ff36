package topology

import "fmt"

// World says which host each rank runs on. Hosts are numbered from 0 in order of
// first appearance; Hosts[r] is the host of rank r.
type World struct {
	Hosts []int

	index *index
}

// index is what a world says about its hosts and their order, kept for those who ask once
// for every rank.
type index struct {
	byHost         [][]int
	order, natural []int
	at             []int // of each rank in order
}

// indexed is the same world with its index.
func (w World) indexed() World {
	if w.index != nil {
		return w
	}
	x := &index{byHost: w.ByHost(), order: w.order(), natural: naturals(w.Size()), at: make([]int, w.Size())}
	for at, rank := range x.order {
		x.at[rank] = at
	}
	return World{w.Hosts, x}
}

// naturals is 0, 1, … n−1.
func naturals(n int) []int {
	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = i
	}
	return numbers
}

// Uniform is np ranks in blocks over hosts, the first hosts having one rank more where
// np is not a multiple of hosts. With more hosts than ranks each rank has its own.
func Uniform(np, hosts int) World {
	hosts = max(1, min(hosts, np))
	w := World{Hosts: make([]int, np)}
	for h := range hosts {
		// The front of the list gets what the division leaves over.
		for r := h*(np/hosts) + min(h, np%hosts); r < (h+1)*(np/hosts)+min(h+1, np%hosts); r++ {
			w.Hosts[r] = h
		}
	}
	return w
}

// Size is the number of ranks.
func (w World) Size() int { return len(w.Hosts) }

// ByHost is the ranks of each host, hosts in order of first appearance, ranks ascending.
// Numbers that no rank has leave no gap.
func (w World) ByHost() [][]int {
	if w.index != nil {
		return w.index.byHost
	}
	highest := -1
	for _, host := range w.Hosts {
		highest = max(highest, host)
	}
	at, ranks := make([]int, highest+1), make([]int, highest+1) // position from 1, number of ranks
	hosts := 0
	for _, host := range w.Hosts {
		if ranks[host]++; at[host] == 0 {
			hosts++
			at[host] = hosts
		}
	}
	all, byHost := make([]int, w.Size()), make([][]int, hosts)
	for rank, host := range w.Hosts {
		of := &byHost[at[host]-1]
		if *of == nil {
			*of, all = all[:0:ranks[host]], all[ranks[host]:]
		}
		*of = append(*of, rank)
	}
	return byHost
}

// order is all ranks, those of a host next to each other, so that a walk over them
// crosses between two hosts only once a host.
func (w World) order() []int {
	if w.index != nil {
		return w.index.order
	}
	order := make([]int, 0, w.Size())
	for _, ranks := range w.ByHost() {
		order = append(order, ranks...)
	}
	return order
}

// orderFrom is order, turned so that root and the ranks of its host come first.
func (w World) orderFrom(root int) []int {
	order := w.order()
	at := 0
	for order[at] != root {
		at++
	}
	turned := append(order[at:len(order):len(order)], order[:at]...)
	// The root's neighbours on its host that were before it are now last: bring them back.
	sorted := make([]int, 0, len(turned))
	for _, mine := range []bool{true, false} {
		for _, rank := range turned {
			if (w.Hosts[rank] == w.Hosts[root]) == mine {
				sorted = append(sorted, rank)
			}
		}
	}
	return sorted
}

// String is the world's size: 12 ranks on 3 hosts.
func (w World) String() string {
	return fmt.Sprintf("%s on %s", count(w.Size(), "rank"), count(len(w.ByHost()), "host"))
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
