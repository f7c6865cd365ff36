package topology

// checkOrder proves that the tracks of one rank do not race: of two steps of different
// tracks that touch the same chunk, one at least writing, one must come after the other by
// the order of the tracks and by After. It also finds steps that wait for each other.
//
// It walks the steps in an order that respects both, keeps for each step how far along
// every track everything before it reaches (a vector clock), and for each chunk who last
// read and wrote it in each track.
func checkOrder(p Plan) error {
	tracks := len(p.Tracks)
	if tracks < 2 {
		return nil
	}
	o := order{
		plan:   p,
		clocks: make([][]int, tracks),
		next:   make([]int, tracks),
		last:   [2][]access{make([]access, tracks*p.Chunks), make([]access, tracks*p.Chunks)},
	}
	left := 0
	for t, track := range p.Tracks {
		o.clocks[t] = make([]int, tracks*len(track))
		left += len(track)
	}
	for left > 0 {
		before := left
		for t, track := range p.Tracks {
			for o.next[t] < len(track) && o.ready(track[o.next[t]].After) {
				if err := o.visit(t, o.next[t]); err != nil {
					return err
				}
				o.next[t]++
				left--
			}
		}
		if left == before {
			for t, i := range o.next {
				if i < len(p.Tracks[t]) {
					return stepError(p.Rank, t, i, "waits for steps of other tracks that wait for it: %v", p.Tracks[t][i].After)
				}
			}
		}
	}
	return nil
}

type order struct {
	plan   Plan
	clocks [][]int // [track][step·tracks + other]: steps of the other track that came before
	next   []int   // first step of each track not yet visited
	last   [2][]access
}

// access is one more than the steps of a track that read or wrote a chunk last, so that
// zero is none.
type access struct{ read, wrote int }

func (o *order) ready(after []Ref) bool {
	for _, r := range after {
		if o.next[r.Track] <= r.Step {
			return false
		}
	}
	return true
}

func (o *order) visit(t, i int) error {
	tracks := len(o.plan.Tracks)
	clock := o.clocks[t][i*tracks : (i+1)*tracks]
	if i > 0 {
		copy(clock, o.clocks[t][(i-1)*tracks:i*tracks])
	}
	s := &o.plan.Tracks[t][i]
	for _, r := range s.After {
		for u, n := range o.clocks[r.Track][r.Step*tracks : (r.Step+1)*tracks] {
			clock[u] = max(clock[u], n)
		}
	}
	clock[t] = i + 1
	if s.SendTo != None {
		if err := o.touch(t, i, clock, s.Send, false); err != nil {
			return err
		}
	}
	if s.RecvFrom != None {
		return o.touch(t, i, clock, s.Recv, true)
	}
	return nil
}

func (o *order) touch(t, i int, clock []int, span Span, write bool) error {
	tracks := len(o.plan.Tracks)
	for c := span.Lo; c < span.Hi; c++ {
		last := o.last[span.Buf][c*tracks : (c+1)*tracks]
		for u, a := range last {
			if u == t {
				continue
			}
			conflict := a.wrote
			if write {
				conflict = max(conflict, a.read)
			}
			if conflict > clock[u] {
				return stepError(o.plan.Rank, t, i, "races with step %d of track %d for chunk %d: neither comes after the other",
					conflict-1, u, c)
			}
		}
		if write {
			last[t].wrote = i + 1
		} else {
			last[t].read = i + 1
		}
	}
	return nil
}
