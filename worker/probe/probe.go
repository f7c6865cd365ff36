// Package probe measures what communication between the ranks of a world costs, in a few
// milliseconds, before anything is trained: times of messages that nobody else disturbs, and
// of all at once.
//
// Ranks measure by turns, between barriers. What they found comes together on rank 0, which
// has topology fit Links to it.
package probe

import (
	"fmt"
	"runtime"
	"slices"

	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/topology"
)

// lane is the transport's lane for messages: the first that a communicator uses too, so
// that the connections made here are needed anyway.
const lane = 0

// boardLane is a board that communicators leave alone: they take lanes from the front.
const boardLane = transport.MaxLanes - 1

// patient is the seconds that a message may take so that one of four times its size is sent.
const patient = 1e-3

// prober is one rank's part.
type prober struct {
	mesh  transport.Mesh
	rank  int
	tree  *tree
	hosts [][]int // ranks of each
	host  []int   // the host with the most ranks, on which all is measured that is inside hosts
	at    int     // this rank's place on it, or -1
	send  []byte
	recv  []byte
	times times
}

// Measure has all ranks measure what communication costs, and returns that on rank 0.
// Elsewhere it returns nothing of worth. Every rank of the mesh calls it, before there is a
// communicator.
func Measure(mesh transport.Mesh, w topology.World, rank int) (topology.Links, error) {
	p := &prober{mesh: mesh, rank: rank, tree: newTree(mesh, rank, w.Size()), hosts: w.ByHost()}
	for _, ranks := range p.hosts {
		if len(ranks) > len(p.host) {
			p.host = ranks
		}
	}
	p.at = slices.Index(p.host, rank)
	p.send, p.recv = make([]byte, 1<<20), make([]byte, 1<<20)
	for _, phase := range []func() error{p.alone, p.pair, p.inside, p.pairs, p.between, p.memory} {
		if err := phase(); err != nil {
			return topology.Links{}, fmt.Errorf("measuring what communication costs: %w", err)
		}
		if _, err := p.tree.barrier(0); err != nil {
			return topology.Links{}, fmt.Errorf("measuring what communication costs: %w", err)
		}
	}
	all, err := p.tree.gather(&p.times)
	if err != nil || rank != 0 {
		return topology.Links{}, err
	}
	return links(w, all, runtime.NumCPU())
}

// pair has two ranks of a host send to and fro, all else quiet. Where no host has two ranks,
// those of two hosts tell how busy a message keeps them.
func (p *prober) pair() error {
	a, b := p.host[0], -1
	switch {
	case len(p.host) > 1:
		b = p.host[1]
	case len(p.hosts) > 1:
		a, b = p.hosts[0][0], p.hosts[1][0]
	}
	peer := -1
	switch p.rank {
	case a:
		peer = b
	case b:
		peer = a
	}
	if peer < 0 {
		return nil
	}
	leads := p.rank == a
	if _, err := p.ping(peer, leads, few, 2); err != nil { // connects
		return err
	}
	if len(p.host) > 1 {
		if err := p.toAndFro(local, 0, len(sizes[local]), peer, leads); err != nil {
			return err
		}
	}
	var err error
	p.times[burst][0], err = p.stream(peer, leads)
	return err
}

// inside has every rank of a host send to the next, all at once.
func (p *prober) inside() error {
	n := len(p.host)
	if p.at < 0 || n < 2 {
		return nil
	}
	for i, bytes := range sizes[together] {
		var err error
		if p.times[together][i], err = p.around(p.host[(p.at+1)%n], p.host[(p.at+n-1)%n], bytes); err != nil {
			return err
		}
	}
	return nil
}

// pairs has the first ranks of hosts send to and fro: of two hosts at a time whose numbers
// differ by the same bits, so that each is in one pair only.
func (p *prober) pairs() error {
	mine := slices.IndexFunc(p.hosts, func(ranks []int) bool { return ranks[0] == p.rank })
	for round, differ := range rounds(len(p.hosts)) {
		peer, leads := -1, false
		if other := mine ^ differ; mine >= 0 && other < len(p.hosts) {
			peer, leads = p.hosts[other][0], mine < other
			if _, err := p.ping(peer, leads, few, 2); err != nil { // connects
				return err
			}
		}
		kind, slowest := remote+round, 0.0
		// How much to send must be decided alike at both ends.
		for i := 0; i < len(sizes[kind]) && slowest < patient; i++ {
			if peer >= 0 {
				if err := p.toAndFro(kind, i, i+1, peer, leads); err != nil {
					return err
				}
			}
			var err error
			if slowest, err = p.tree.barrier(p.times[kind][i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// rounds is by which bits the numbers of two hosts differ that are measured at once: all
// pairs of up to four hosts, and of more some near and some far.
func rounds(hosts int) []int {
	switch {
	case hosts < 2:
		return nil
	case hosts == 2:
		return []int{1}
	case hosts <= 4:
		return []int{1, 2, 3}
	}
	var differ []int
	for bit := 1; bit < hosts && len(differ) < mostRounds; bit *= 2 {
		differ = append(differ, bit)
	}
	return differ
}

// between has the ranks of every host send to those of the next, all at once: as many of
// each host as every host has.
func (p *prober) between() error {
	n := len(p.hosts)
	if n < 2 {
		return nil
	}
	rails := rails(p.hosts)
	to, from := -1, -1
	for h, ranks := range p.hosts {
		if at := slices.Index(ranks[:rails], p.rank); at >= 0 {
			to, from = p.hosts[(h+1)%n][at], p.hosts[(h+n-1)%n][at]
		}
	}
	slowest := 0.0
	for i := 0; i < len(sizes[outward]) && slowest < 4*patient; i++ {
		if to >= 0 {
			var err error
			if p.times[outward][i], err = p.around(to, from, sizes[outward][i]); err != nil {
				return err
			}
		}
		var err error
		if slowest, err = p.tree.barrier(p.times[outward][i]); err != nil {
			return err
		}
	}
	return nil
}

// rails is how many ranks every host has.
func rails(hosts [][]int) int {
	least := len(hosts[0])
	for _, ranks := range hosts {
		least = min(least, len(ranks))
	}
	return least
}
