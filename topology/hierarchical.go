package topology

// Hierarchical is the all-reduce in levels: reduce-scatter in each host, all-reduce between
// the ranks of different hosts that hold the same part (a rail), all-gather in each host.
// Each host's link carries the data once each way whatever the number of its ranks, in the
// ⌈log₂ hosts⌉ rounds of Circulant; the ranks of a host form a ring.
//
//	          host 0         host 1
//	          0 ─ 1          2 ─ 3 ─ 4        track 0   reduce-scatter in the host
//	rail 0    0 ──────────── 2
//	rail 1    0 ──────────────── 3            track 1   all-reduce over each rail
//	rail 2        1 ──────────────── 4
//	          0 ─ 1          2 ─ 3 ─ 4        track 2   all-gather in the host
//
// There are as many rails as the largest host has ranks; those of smaller hosts are on
// several.
func Hierarchical(w World, rank int) Plan { return HierarchicalIn(1)(w, rank) }

// ringHosts is up to how many hosts segments go round them in a ring.
const ringHosts = 16

// HierarchicalIn is Hierarchical with the data in segments: while one is between the hosts
// the next is reduced in them and the one before is gathered.
func HierarchicalIn(segments int) Algorithm {
	return func(w World, rank int) Plan {
		hosts := w.ByHost()
		l := level{hosts: hosts}
		var mine group
		for _, ranks := range hosts {
			l.rails = max(l.rails, len(ranks))
			if w.Hosts[ranks[0]] == w.Hosts[rank] {
				mine = groupOf(ranks, rank)
			}
		}
		rails := l.railsOf(mine)
		between := circulant
		if segments > 1 && len(hosts) <= ringHosts {
			between = ring
		}
		p := Plan{Rank: rank, Size: w.Size(), Chunks: segments * l.rails * len(hosts), Tracks: make([][]Step, 3)}
		for s := range segments {
			base := s * l.rails * len(hosts)
			parts := l.parts(mine, base)
			var before []Ref
			before = p.extend(0, ring.reduceScatter(mine, parts), before)
			before = p.extend(1, l.between(between, rails, base), before)
			p.extend(2, ring.allGather(mine, parts), before)
		}
		return p
	}
}

// extend puts steps at the end of a track, to begin after the steps in before, and is what
// has to come before whatever follows them.
func (p *Plan) extend(track int, steps []Step, before []Ref) []Ref {
	if len(steps) == 0 {
		return before
	}
	steps[0].After = before
	p.Tracks[track] = append(p.Tracks[track], steps...)
	return []Ref{{track, len(p.Tracks[track]) - 1}}
}

// level is the hosts as the rails see them: rail j carries len(hosts) chunks.
type level struct {
	hosts [][]int
	rails int
}

// share is the rails [lo, hi) of position pos in a host of n ranks.
func (l level) share(pos, n int) (lo, hi int) { return pos * l.rails / n, (pos + 1) * l.rails / n }

// parts is what each rank of a host is left with after the reduce-scatter in it.
func (l level) parts(host group, base int) blocks {
	parts := make([]Span, host.size())
	for pos := range parts {
		lo, hi := l.share(pos, host.size())
		parts[pos] = Span{0, base + lo*len(l.hosts), base + hi*len(l.hosts)}
	}
	return blocks{n: len(parts), spans: parts}
}

// rail is one part of the data between the hosts.
type rail struct {
	number int
	group
}

// railsOf is the rails that a rank of a host is on.
func (l level) railsOf(host group) []rail {
	var rails []rail
	lo, hi := l.share(host.me, host.size())
	for number := lo; number < hi; number++ {
		members := make([]int, 0, len(l.hosts))
		for _, ranks := range l.hosts {
			pos := 0
			for _, end := l.share(pos, len(ranks)); end <= number; _, end = l.share(pos, len(ranks)) {
				pos++
			}
			members = append(members, ranks[pos])
		}
		rails = append(rails, rail{number, groupOf(members, host.ranks[host.me])})
	}
	return rails
}

// between is a rank's rails one after the other. All go through theirs in the same order,
// so none can wait for another in a circle.
func (l level) between(h halves, rails []rail, base int) []Step {
	var steps []Step
	for _, r := range rails {
		b := units(base+r.number*len(l.hosts), len(l.hosts))
		steps = append(steps, h.reduceScatter(r.group, b)...)
		steps = append(steps, h.allGather(r.group, b)...)
	}
	return steps
}
