package worker

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/internal/rendezvous"
	"github.com/gorun-ml/gorun/topology"
	"github.com/gorun-ml/gorun/worker/probe"
)

// measure is what rank 0 tells in the place of costs where all ranks are to find them.
const measure = "measure"

// costs is what communication between the ranks of a generation is taken to cost. Rank 0
// decides, so that all choose algorithms alike:
//
//	--deterministic          what is usual
//	known in this process    that: generations with the same hosts choose alike
//	known from another job   that: so do jobs with the same hosts, for a week
//	first generation         it is measured, and kept; if it can't be kept, what is usual:
//	                         the next job would not sum in the same order
//	later                    what is usual: a recovery has no time to measure
func (p *process) costs(mesh transport.Mesh, w topology.World, gen rendezvous.Generation, rank int) (topology.Links, error) {
	if w.Size() == 1 {
		return probe.Usual(w), nil
	}
	names, order := hostsOf(w, gen.Members)
	key := names + " over " + means(mesh, rank, w.Size())
	if p.network.Encrypt {
		key += ", encrypted"
	}
	var links topology.Links
	var found bool
	var kept *keeper
	said := []byte(nil)
	if rank == 0 {
		links, found, kept = p.known(key, gen.ID == 1, order)
		if !found {
			links = probe.Usual(w)
		}
		said = probe.Encode(links)
		if kept != nil {
			said = []byte(measure)
		}
	}
	said, err := probe.Tell(mesh, rank, w.Size(), said)
	if err == nil && string(said) == measure {
		if links, err = probe.Measure(mesh, w, rank); err != nil {
			kept.drop()
			return links, err
		}
		if rank == 0 {
			links = renumber(kept.keep(key, renumber(links, order), time.Now()), inverse(order))
			said = probe.Encode(links)
		}
		said, err = probe.Tell(mesh, rank, w.Size(), said)
	}
	if err != nil {
		return links, fmt.Errorf("agreeing on what communication costs: %w", err)
	}
	if links, err = probe.Decode(said); err != nil {
		return links, err
	}
	if !p.network.Deterministic {
		if p.fits == nil {
			p.fits = map[string]topology.Links{}
		}
		p.fits[key] = renumber(links, order)
	}
	return links, nil
}

// known looks for costs that need no measuring. Where it returns a keeper, they are to be
// measured and given to it.
func (p *process) known(key string, first bool, order []int) (links topology.Links, found bool, kept *keeper) {
	if p.network.Deterministic {
		return links, false, nil
	}
	if links, found = p.fits[key]; found {
		return renumber(links, inverse(order)), true, nil
	}
	if p.cache == "" {
		return links, false, nil
	}
	if links, found = recall(p.cache, key, time.Now()); found && !(first && p.network.Measure) {
		return renumber(links, inverse(order)), true, nil
	}
	if !first {
		return links, false, nil
	}
	return links, false, newKeeper(p.cache, key, p.network.Measure)
}

// hostsOf writes down the hosts of a world by name, with their ranks. Which number a host
// has depends on who survives: order is the place in that list by number.
func hostsOf(w topology.World, members []rendezvous.Member) (names string, order []int) {
	byHost := w.ByHost()
	list := make([]string, len(byHost))
	for h, ranks := range byHost {
		list[h] = fmt.Sprintf("%s:%d", members[ranks[0]].Host, len(ranks))
	}
	sorted := slices.Sorted(slices.Values(list))
	for _, name := range list {
		at, _ := slices.BinarySearch(sorted, name)
		order = append(order, at)
	}
	return strings.Join(sorted, " "), order
}

// renumber gives hosts other numbers: h becomes to[h].
func renumber(l topology.Links, to []int) topology.Links {
	pairs := l.Pairs
	if l.Pairs = nil; pairs != nil {
		l.Pairs = map[[2]int]topology.Link{}
	}
	for hosts, link := range pairs {
		if hosts[0] < len(to) && hosts[1] < len(to) {
			l.Pairs[[2]int{to[hosts[0]], to[hosts[1]]}] = link
		}
	}
	return l
}

func inverse(to []int) []int {
	from := make([]int, len(to))
	for h, n := range to {
		from[n] = h
	}
	return from
}
