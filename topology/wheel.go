package topology

// wheel is how the ranks of a simulation are numbered, where only some of a world's ranks
// are simulated because the others do alike at the same time.
//
// A ring over hosts of four ranks looks the same from every host: whatever rank 0 does on
// host 0, rank 4 does on host 1. So it is enough to simulate one host: what it sends to the
// next arrives, at the same moment, from the one before.
//
//	… ─ 14 ─ 15 ─ [ 0 ─ 1 ─ 2 ─ 3 ] ─ 4 ─ 5 ─ …        3 sends to 4, which 0 stands for;
//	               └──────────────┘                     0 takes it for a message from 15
//
// The zero wheel simulates all ranks under their own numbers.
type wheel struct {
	order []int // all ranks, host by host
	at    []int // of each rank in order
	few   int   // ranks that are simulated, the first of order; the numbers are positions in order
}

// size is the number of ranks that are simulated.
func (w wheel) size(world World) int {
	if w.few == 0 {
		return world.Size()
	}
	return w.few
}

// number is a rank's number. Ranks that are not simulated have numbers from size on.
func (w wheel) number(rank int) int {
	if w.few == 0 {
		return rank
	}
	return w.at[rank]
}

// sends is the number of the rank that stands for the one that rank sends to, and the number
// of whom it takes the sender for.
func (w wheel) sends(rank, to int) (stands, key int32) {
	if w.few == 0 {
		return int32(to), int32(rank)
	}
	n, at := len(w.order), w.at[to]
	stands = int32(at % w.few)
	return stands, int32((w.at[rank] - at + int(stands) + n) % n)
}

// What is simulated whole, in steps of all ranks, and at most.
const (
	wholeSteps = 1 << 18
	mostSteps  = 1 << 22
)

// turning finds a wheel on which a's plans, of which first is one, turn, and the bytes for
// which they do: a little more or less, where chunks come out uneven otherwise.
func turning(w World, a Algorithm, first Plan, bytes int64, l *Links) (wheel, int64, bool) {
	n := w.Size()
	period, even := evenness(w, l)
	if !even || first.Chunks != n || period == n {
		return wheel{}, 0, false
	}
	elements := (bytes + 3) / 4
	best, cut, most := 0, int64(0), mostSteps
	if elements < int64(n) {
		most = wholeSteps // those that have none are not quite alike in any case
	}
	for few := period; few < n && few*first.steps() <= max(most, min(period*first.steps(), 2*mostSteps)); few += period {
		if n%few != 0 {
			continue
		}
		// The lengths of chunks repeat after few of them if this divides the elements.
		part := int64(n / few)
		best, cut = few, max(1, (elements+part/2)/part)*part
		if off := max(cut-elements, elements-cut); 200*off <= elements {
			break
		}
	}
	if best == 0 {
		return wheel{}, 0, false
	}
	t := wheel{order: w.order(), at: w.index.at, few: best}
	return t, 4 * cut, t.turns(w, a, 4*cut)
}

// evenness is after how many ranks, host by host, a world looks the same again.
func evenness(w World, l *Links) (period int, even bool) {
	hosts := w.ByHost()
	for _, ranks := range hosts {
		if len(ranks) != len(hosts[0]) {
			return 0, false
		}
	}
	if len(l.Pairs) > 0 {
		return 0, false
	}
	rack := func(host int) int { return l.rack(w.Hosts[hosts[host][0]]) }
	same := 1 // hosts of the first rack
	for same < len(hosts) && rack(same) == rack(0) {
		same++
	}
	seen := make(map[int]bool)
	for host := range hosts {
		if host%same == 0 {
			if seen[rack(host)] {
				return 0, false
			}
			seen[rack(host)] = true
		} else if rack(host) != rack(host-1) {
			return 0, false
		}
	}
	if same == len(hosts) { // one rack
		return len(hosts[0]), true
	}
	return same * len(hosts[0]), len(hosts)%same == 0
}

// turns tries whether some ranks do what those that stand for them do.
func (w wheel) turns(world World, a Algorithm, bytes int64) bool {
	n := len(w.order)
	for _, at := range []int{0, w.few / 2, w.few - 1} {
		stands := a(world, w.order[at])
		bounds := cuts(bytes, stands)
		for _, by := range []int{w.few, n / w.few / 2 * w.few, n - w.few} {
			if !w.alike(stands, a(world, w.order[at+by]), by, bounds) {
				return false
			}
		}
	}
	return true
}

// alike says whether q is p turned by that many ranks.
func (w wheel) alike(p, q Plan, by int, bounds []int64) bool {
	if len(p.Tracks) != len(q.Tracks) {
		return false
	}
	turned := func(from, to int) bool {
		return from == to && from == None || from != None && to != None && (w.at[from]+by)%len(w.order) == w.at[to]
	}
	bytes := func(s Span) int64 { return bounds[s.Hi] - bounds[s.Lo] }
	for t := range p.Tracks {
		if len(p.Tracks[t]) != len(q.Tracks[t]) {
			return false
		}
		for i := range p.Tracks[t] {
			x, y := &p.Tracks[t][i], &q.Tracks[t][i]
			if !turned(x.SendTo, y.SendTo) || !turned(x.RecvFrom, y.RecvFrom) || len(x.After)+len(y.After) > 0 ||
				bytes(x.Send) != bytes(y.Send) || bytes(x.Recv) != bytes(y.Recv) || x.Reduce != y.Reduce {
				return false
			}
		}
	}
	return true
}

// steps is the number of steps of all tracks.
func (p Plan) steps() int {
	n := 0
	for _, track := range p.Tracks {
		n += len(track)
	}
	return n
}
