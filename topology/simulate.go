package topology

// simulate is the time that a takes, or infinity where that is more than limit. All ranks
// are simulated where that is little work, or where they differ. Otherwise those are that
// stand for the rest, and where none can, for lack of evenness, those of some of the hosts.
func simulate(w World, a Algorithm, bytes int64, l Links, limit float64) float64 {
	w = w.indexed()
	if w.Size() == 0 {
		return 0
	}
	first := a(w, w.order()[0])
	if all := w.Size() * first.steps(); all > wholeSteps {
		if turn, near, ok := turning(w, a, first, bytes, &l); ok {
			t := play(w, a, first, near, &l, turn)
			if took := t.run(limit); t.last > limit || t.complete() {
				return took
			}
		}
		if all > mostSteps && first.steps() >= w.Size()-1 {
			return thinned(w, a, bytes, l, limit)
		}
	}
	return play(w, a, first, bytes, &l, wheel{}).run(limit)
}

// play is before the first step of a's plans.
func play(w World, a Algorithm, first Plan, bytes int64, l *Links, turn wheel) *timeline {
	return start(written(w, a, first, bytes, l, turn))
}

// written is the script of a's plans.
func written(w World, a Algorithm, first Plan, bytes int64, l *Links, turn wheel) *script {
	s := newScript(w, l, bytes, first, turn)
	n := turn.size(w)
	s.reserve(n, a(w, w.order()[n/2]))
	for number := range turn.size(w) {
		rank := number
		if turn.few > 0 {
			rank = turn.order[number]
		}
		s.add(a(w, rank))
	}
	return s
}

// complete says whether all steps have happened, as they do unless the plans do not fit
// together.
func (t *timeline) complete() bool {
	for n := range t.courses {
		if c, length := &t.courses[n], t.tracks[n].hi-t.tracks[n].lo; c.sends < length || c.recvs < length {
			return false
		}
	}
	return true
}

// thinned is about the time of a plan whose steps grow with the ranks, one part of the data
// a rank: that of the same plan over some of the hosts, with as long parts, times the ranks
// that this leaves out.
func thinned(w World, a Algorithm, bytes int64, l Links, limit float64) float64 {
	hosts := w.ByHost()
	stride := 2
	for n := w.Size() / stride; 2*n*n > mostSteps; n = w.Size() / stride {
		stride++
	}
	largest := 0
	for h := range hosts {
		if len(hosts[h]) > len(hosts[largest]) {
			largest = h
		}
	}
	var fewer World
	for h := range hosts {
		if h%stride == largest%stride {
			for _, rank := range hosts[h] {
				fewer.Hosts = append(fewer.Hosts, w.Hosts[rank])
			}
		}
	}
	n := fewer.Size()
	if n < 2 || n == w.Size() {
		return play(w, a, a(w, w.order()[0]), bytes, &l, wheel{}).run(limit)
	}
	times := float64(w.Size()-1) / float64(n-1)
	return times * simulate(fewer, a, max(4, bytes/int64(w.Size())*int64(n)), l, limit/times)
}
