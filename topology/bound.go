package topology

// lower is a time that a takes at least, from the plans of a few ranks: all of a host and
// those at the ends. It is cheap, so that Select can leave out what cannot win.
func lower(w World, a Algorithm, bytes int64, l Links) float64 {
	n := w.Size()
	ranks := []int{0, n / 2, n - 1}
	for _, host := range w.ByHost() {
		if w.Hosts[host[0]] == w.Hosts[n/2] {
			ranks = append(ranks, host[:min(len(host), boundRanks)]...)
		}
	}
	var s *script
	added := make(map[int]bool, len(ranks))
	for _, rank := range ranks {
		if added[rank] {
			continue
		}
		added[rank] = true
		p := a(w, rank)
		if s == nil {
			s = newScript(w, &l, bytes, p, wheel{})
		}
		s.add(p)
	}
	return s.least()
}

// boundRanks is how many ranks of a host are asked for a bound.
const boundRanks = 16

// load is what a host's ranks have its shared parts do.
type load struct{ bus, out, cores float64 }

// least is a time that a script takes at least even if nobody ever waits for a message: what
// sending and what receiving cost a rank alone, and a host's ranks together.
func (s *script) least() float64 {
	l := s.links
	longest := 0.0
	hosts := make(map[int32]load, 4)
	for _, track := range s.tracks {
		host := hosts[s.host[track.rank]]
		sends, recvs, works := 0.0, 0.0, 0.0
		for i := track.lo; i < track.hi; i++ {
			m := &s.moves[i]
			if m.out > 0 {
				pieces, _, _ := l.pieces(m.out)
				work := pieces*float64(l.Overhead) + over(m.out, l.CopyGBps)
				works += work
				if !track.inline {
					work = max(work, float64(l.Overhead)+over(m.out, s.costs[m.link].GBps))
				}
				sends += work
				if m.far {
					host.out += over(m.out, l.NICGBps)
				} else {
					host.bus += over(m.out, l.HostGBps)
				}
			}
			if m.in > 0 {
				pieces, _, _ := l.pieces(m.in)
				work := pieces*float64(l.Overhead) + over(m.in, l.CopyGBps)
				if m.reduce {
					work += over(m.in, l.FoldGBps)
				}
				works += work
				recvs += work
			}
		}
		if track.inline {
			longest = max(longest, sends+recvs)
		} else {
			longest = max(longest, sends, recvs)
		}
		if l.Cores > 0 {
			host.cores += works / float64(l.Cores)
		}
		hosts[s.host[track.rank]] = host
		longest = max(longest, host.bus, host.out, host.cores)
	}
	return longest
}
