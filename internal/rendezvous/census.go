package rendezvous

import "cmp"

// census folds sightings into one standing for each member. Its result doesn't depend on
// their order.
//
// Dead and Leaving are final, whoever says so and whenever: an ID is one incarnation of a
// process. Of the other states each observer's newest counts, the worse of two at one time;
// between observers, one suspicion outweighs any registration until its observer takes it
// back. (Who collects sightings drops those of an observer that is gone.)
func census(seen []Sighting) map[string]standing {
	type view struct{ member, by string }
	newest := make(map[view]Sighting)
	known := make(map[string]standing)
	record := make(map[string]Sighting) // the first registration
	for _, s := range seen {
		id := s.Member.ID
		if id == "" {
			continue
		}
		k, met := known[id]
		if !met {
			k = standing{member: s.Member, state: Registered}
		}
		k.failures = max(k.failures, s.Failures)
		k.stranded = max(k.stranded, s.Stranded)
		if final(s.State) && weight(s.State) > weight(k.state) {
			k.state = s.State
		}
		known[id] = k

		v := view{id, s.By}
		if n, met := newest[v]; !met || later(s, n) {
			newest[v] = s
		}
		if s.State == Registered {
			if r, met := record[id]; !met || earlier(s, r) {
				record[id] = s
			}
		}
	}
	registered := make(map[string]bool)
	for v, s := range newest {
		k := known[v.member]
		if s.State == Registered {
			registered[v.member] = true
			if s.Since.After(k.since) {
				k.since = s.Since
			}
		}
		if weight(s.State) > weight(k.state) {
			k.state = s.State
		}
		known[v.member] = k
	}
	for id, k := range known {
		if r, met := record[id]; met {
			k.member = r.Member
		}
		if k.state == Registered && !registered[id] {
			k.state = Suspect // seen, but never to register
		}
		known[id] = k
	}
	return known
}

func final(s State) bool { return s == Dead || s == Leaving }

// weight orders the states by what they keep a member from.
func weight(s State) int {
	switch s {
	case Registered:
		return 0
	case Suspect:
		return 1
	case Finished:
		return 2
	case Leaving:
		return 3
	default:
		return 4 // Dead; a state of a later version can't be ranked either
	}
}

func later(a, b Sighting) bool {
	return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(weight(a.State), weight(b.State))) > 0
}

// earlier orders registrations that contradict each other.
func earlier(a, b Sighting) bool {
	x, y := a.Member, b.Member
	return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(x.Host, y.Host), cmp.Compare(x.Addr, y.Addr),
		cmp.Compare(x.Slot, y.Slot), cmp.Compare(x.PID, y.PID)) < 0
}
