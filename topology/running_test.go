package topology

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// running is the dumb version that checks the clever one: it carries plans out on real
// numbers, doing whatever can be done next in random order.
type running struct {
	plans  []Plan
	random *rand.Rand
	wait   bool       // a message leaves only when its receiver has come to it
	bounds [][2][]int // [rank][buffer]: first element of each chunk, and the end
	data   [][2][]float32
	lanes  map[[3]int][][]float32 // from, to, track: messages on their way
	at     [][]place
}

// place is how far a track has come.
type place struct {
	step                  int
	begun, sent, received bool
	early                 []float32 // what is sent, where receiving overwrites it
}

func newRunning(c Collective, plans []Plan, random *rand.Rand) *running {
	r := &running{plans: plans, random: random, lanes: make(map[[3]int][][]float32)}
	n, chunks := len(plans), plans[0].Chunks
	lengths := make([][]int, n) // of what rank s has in chunk c
	for s := range lengths {
		lengths[s] = make([]int, chunks)
		for c := range lengths[s] {
			lengths[s][c] = random.IntN(4) // none at all, too
		}
	}
	for rank := range n {
		mine, theirs := []int{0}, []int{0}
		for chunk := range chunks {
			length := lengths[0][chunk]
			if c.Kind == AllToAll {
				length = lengths[rank][chunk]
				theirs = append(theirs, theirs[chunk]+lengths[chunk][rank])
			}
			mine = append(mine, mine[chunk]+length)
		}
		r.bounds = append(r.bounds, [2][]int{mine, theirs})
		data := [2][]float32{make([]float32, mine[len(mine)-1]), make([]float32, theirs[len(theirs)-1])}
		for chunk := range chunks {
			for i := mine[chunk]; i < mine[chunk+1]; i++ {
				data[0][i] = -1e6 // what nobody may use
				if c.holds(rank, chunk) {
					data[0][i] = 1 + random.Float32()
				}
			}
		}
		r.data = append(r.data, data)
		r.at = append(r.at, make([]place, len(plans[rank].Tracks)))
	}
	return r
}

func (r *running) cells(rank int, s Span) []float32 {
	b := r.bounds[rank][s.Buf]
	return r.data[rank][s.Buf][b[s.Lo]:b[s.Hi]]
}

// run carries everything out, or says where it got stuck.
func (r *running) run() error {
	type track struct{ rank, track int }
	var tracks []track
	for rank, p := range r.plans {
		for t := range p.Tracks {
			tracks = append(tracks, track{rank, t})
		}
	}
	for {
		r.random.Shuffle(len(tracks), func(i, j int) { tracks[i], tracks[j] = tracks[j], tracks[i] })
		moved, left := false, false
		for _, t := range tracks {
			done, err := r.try(t.rank, t.track)
			if err != nil {
				return err
			}
			moved = moved || done
			left = left || r.at[t.rank][t.track].step < len(r.plans[t.rank].Tracks[t.track])
		}
		switch {
		case !left:
			return nil
		case !moved:
			return fmt.Errorf("stuck: %+v", r.at)
		}
	}
}

// try does one thing of a track: begin its step, send, receive, or go on to the next.
func (r *running) try(rank, track int) (bool, error) {
	p := &r.at[rank][track]
	steps := r.plans[rank].Tracks[track]
	if p.step == len(steps) {
		return false, nil
	}
	s := steps[p.step]
	if !p.begun {
		for _, ref := range s.After {
			if r.at[rank][ref.Track].step <= ref.Step {
				return false, nil
			}
		}
		*p = place{step: p.step, begun: true, sent: s.SendTo == None, received: s.RecvFrom == None}
		if !p.sent && !p.received && overlap(s.Send, s.Recv) {
			p.early = append([]float32{}, r.cells(rank, s.Send)...)
		}
		return true, nil
	}
	first := r.random.IntN(2) == 0
	for _, sending := range []bool{first, !first} {
		if sending && !p.sent && r.mayLeave(rank, track, s.SendTo) {
			message := p.early
			if message == nil {
				message = append([]float32{}, r.cells(rank, s.Send)...)
			}
			lane := [3]int{rank, s.SendTo, track}
			r.lanes[lane] = append(r.lanes[lane], message)
			p.sent = true
			return true, nil
		}
		if lane := [3]int{s.RecvFrom, rank, track}; !sending && !p.received && len(r.lanes[lane]) > 0 {
			message, cells := r.lanes[lane][0], r.cells(rank, s.Recv)
			r.lanes[lane] = r.lanes[lane][1:]
			if len(message) != len(cells) {
				return false, fmt.Errorf("rank %d track %d step %d: %d numbers for %d", rank, track, p.step, len(message), len(cells))
			}
			for i, x := range message {
				if s.Reduce {
					cells[i] += x
				} else {
					cells[i] = x
				}
			}
			p.received = true
			return true, nil
		}
	}
	if p.sent && p.received {
		*p = place{step: p.step + 1}
		return true, nil
	}
	return false, nil
}

// mayLeave says whether a message may be sent to a peer now.
func (r *running) mayLeave(rank, track, to int) bool {
	if !r.wait || track >= len(r.at[to]) {
		return true
	}
	q := r.at[to][track]
	return q.begun && !q.received && r.plans[to].Tracks[track][q.step].RecvFrom == rank && len(r.lanes[[3]int{rank, to, track}]) == 0
}

// runs carries plans out and compares what the collective promises with plain sums.
func runs(c Collective, plans []Plan, wait bool, random *rand.Rand) error {
	r := newRunning(c, plans, random)
	r.wait = wait
	before := make([][]float32, len(plans))
	for rank := range before {
		before[rank] = append([]float32{}, r.data[rank][0]...)
	}
	if err := r.run(); err != nil {
		return err
	}
	for rank := range plans {
		for chunk := range plans[0].Chunks {
			if !c.promises(rank, chunk) {
				continue
			}
			out := Span{0, chunk, chunk + 1}
			if c.Kind == AllToAll {
				out.Buf = 1
			}
			for i, got := range r.cells(rank, out) {
				want, loose := expected(c, before, r.bounds, rank, chunk, i), 0.0
				switch c.Kind {
				case AllReduce, ReduceScatter, Reduce:
					loose = 0.01 // far less than one contribution
				}
				if diff := float64(got) - want; diff > loose || diff < -loose {
					return fmt.Errorf("rank %d of %d: chunk %d [%d] = %v, want %v", rank, len(plans), chunk, i, got, want)
				}
				if c.Kind == AllReduce && got != r.cells(0, out)[i] {
					return fmt.Errorf("rank %d of %d: chunk %d [%d] = %v, rank 0 has %v", rank, len(plans), chunk, i, got, r.cells(0, out)[i])
				}
			}
		}
	}
	return nil
}

func expected(c Collective, before [][]float32, bounds [][2][]int, rank, chunk, i int) float64 {
	if c.Kind == AllToAll {
		return float64(before[chunk][bounds[chunk][0][rank]+i])
	}
	at := bounds[0][0][chunk] + i
	if from, one := c.source(chunk); one {
		return float64(before[from][at])
	}
	sum := 0.0
	for _, x := range before {
		sum += float64(x[at])
	}
	return sum
}

func TestPlansAddUp(t *testing.T) {
	for _, a := range Algorithms() {
		t.Run(fmt.Sprintf("%v/%s", a.Kind, a.Name), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(uint64(a.ID), 1))
			for n := 1; n <= 13; n++ {
				for _, w := range someLayouts(n) {
					c := Collective{Kind: a.Kind}
					if c.rooted() {
						c.Root = random.IntN(n)
					}
					plans := Plans(w.World, a.Algorithm(c.Root))
					for _, wait := range []bool{true, false} {
						if err := runs(c, plans, wait, random); err != nil {
							t.Fatalf("%s, root %d, waiting for receivers %v: %v", w.name, c.Root, wait, err)
						}
					}
				}
			}
		})
	}
}
