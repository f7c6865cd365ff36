package topology

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Event is a step as it is predicted to happen: from where its first half begins, sending
// or taking in what has arrived, until both have ended. Steps of a track overlap where
// messages travel in pieces. A step whose spans have no bytes in this run takes no time.
type Event struct {
	Rank, Track, Step    int
	Start, End           time.Duration
	SendBytes, RecvBytes int64
}

// Timeline predicts when each step of plans happens, in order of their ends. The plans
// must be such as Verify accepts.
func Timeline(w World, plans []Plan, bytes int64, l Links) []Event {
	t := newTimeline(w, plans, bytes, l)
	t.begins = make([][2]float64, len(t.moves))
	t.run(math.Inf(1))
	events := make([]Event, 0, len(t.moves))
	for n, track := range t.tracks {
		for i := track.lo; i < track.hi; i++ {
			m := &t.moves[i]
			start, end := min(t.begins[i][0], t.begins[i][1]), max(t.sent[i], t.done[i].tail)
			events = append(events, Event{
				Rank: int(track.rank), Track: n - int(t.first[track.rank]), Step: int(i - track.lo),
				Start: duration(start), End: duration(end), SendBytes: m.out, RecvBytes: m.in,
			})
		}
	}
	slices.SortFunc(events, func(a, b Event) int {
		return cmp.Or(cmp.Compare(a.End, b.End), cmp.Compare(a.Rank, b.Rank), cmp.Compare(a.Track, b.Track), cmp.Compare(a.Step, b.Step))
	})
	return events
}

// timeline simulates a script in time, as collective runs it: each track sends in order and
// receives in order, and what it sends it must have received before. A message leaves when
// its sender comes to it, whether or not the receiver waits for it. What the ranks of a host
// share serves messages one after the other, in the order in which they are sent, each at
// full rate.
//
// A message is one event however many pieces it has. It is known by the time its first piece
// is in, its head, and the time its last one is, its tail: what passes it on may begin at
// the head, and ends one piece after the tail at the earliest (cut-through; Kermani and
// Kleinrock, Virtual cut-through, Computer Networks 3, 1979).
type timeline struct {
	*script
	courses  []course
	agenda   agenda
	restless []int32 // tracks that may go on

	sent   []float64    // of each move, when its message was out
	done   []stretch    // of each move, when what it received was folded or stored
	begins [][2]float64 // of each move, when its halves began; nil if nobody asks

	cores                  [][]float64 // of each host, when each is free again
	bus, out, in, up, down []float64   // when a host's memory, its link each way, and a rack's, are free again
	last                   float64
}

// stretch is the time from the first piece of a message to its last one.
type stretch struct{ head, tail float64 }

// course is how far a track has come.
type course struct {
	sends, recvs         int32 // moves of which that half is over, as far as it is known
	sending, receiving   state // of the next half of each kind
	sendsFree, recvsFree float64
	taking               stretch  // the message that is on the agenda
	inbox                []parcel // from read on
	read                 int
}

// state says what a half waits for, so that nobody looks at it before that may have come.
type state uint8

const (
	ready   state = iota // nobody has looked yet
	queued               // it is on the agenda
	blocked              // the other half of its track, or a message
	held                 // a step of another track
)

type parcel struct {
	from int32
	stretch
}

func newTimeline(w World, plans []Plan, bytes int64, l Links) *timeline {
	s := newScript(w, &l, bytes, plans[0], wheel{})
	s.keep = true
	for _, p := range plans {
		s.add(p)
	}
	return start(s)
}

// start is before the first step of a script.
func start(s *script) *timeline {
	s.end()
	hosts, racks := 0, 0
	for rank := range s.host {
		hosts, racks = max(hosts, int(s.host[rank])+1), max(racks, int(s.rack[rank])+1)
	}
	free := make([]float64, 3*hosts+2*racks)
	t := &timeline{
		script: s, courses: make([]course, len(s.tracks)), sent: make([]float64, len(s.moves)), done: make([]stretch, len(s.moves)),
		bus: free[:hosts], out: free[hosts : 2*hosts], in: free[2*hosts : 3*hosts], up: free[3*hosts : 3*hosts+racks], down: free[3*hosts+racks:],
	}
	if n := s.links.Cores; n > 0 {
		all := make([]float64, n*hosts)
		for h := range hosts {
			t.cores = append(t.cores, all[h*n:(h+1)*n])
		}
	}
	return t
}

// run is when the last step ends, or infinity where that is after limit.
func (t *timeline) run(limit float64) float64 {
	for n := range t.tracks {
		t.settle(int32(n))
	}
	for {
		for len(t.restless) > 0 {
			n := t.restless[len(t.restless)-1]
			t.restless = t.restless[:len(t.restless)-1]
			t.settle(n)
		}
		if t.last > limit {
			return math.Inf(1)
		}
		if len(t.agenda) == 0 {
			return t.last
		}
		m := t.agenda.next()
		if n := m.actor / 2; m.actor%2 == 0 {
			t.send(n, m.at)
		} else {
			t.take(n, m.at)
		}
	}
}

// settle puts on the agenda whatever of a track's next halves can be told a time.
func (t *timeline) settle(n int32) {
	for t.maySend(n) || t.mayReceive(n) {
	}
}

// stir has those looked at that may have waited for a half of track n that is over.
func (t *timeline) stir(n int32) {
	t.restless = append(t.restless, n)
	rank := t.tracks[n].rank
	for other := t.first[rank]; other < t.first[rank+1]; other++ {
		if c := &t.courses[other]; c.sending == held || c.receiving == held {
			c.sending, c.receiving = c.sending.free(held), c.receiving.free(held)
			t.restless = append(t.restless, other)
		}
	}
}

// free is ready for what waited for that.
func (s state) free(waited state) state {
	if s == waited {
		return ready
	}
	return s
}

// maySend brings a track's next sending half onto the agenda, or past it where there is
// nothing to send. It reports whether a half is over.
func (t *timeline) maySend(n int32) bool {
	c, track := &t.courses[n], &t.tracks[n]
	k := track.lo + c.sends
	if c.sending != ready || k == track.hi {
		return false
	}
	m := &t.moves[k]
	at, known := t.after(track.rank, m, c.sendsFree)
	if !known {
		c.sending = held
		return false
	}
	if track.inline && c.sends > 0 {
		if c.recvs < c.sends {
			c.sending = blocked
			return false
		}
		at = max(at, t.done[k-1].tail)
	}
	if m.out == 0 {
		t.over(k, 0, at)
		t.sent[k], c.sendsFree = at, at
		c.sends++
		c.receiving = c.receiving.free(blocked)
		t.stir(n)
		return true
	}
	if m.behind >= 0 {
		switch {
		case track.lo+c.recvs <= m.behind:
			c.sending = blocked
			return false
		case m.exact:
			at = max(at, t.done[m.behind].head)
		default:
			at = max(at, t.done[m.behind].tail)
		}
	}
	c.sending = queued
	t.agenda.add(moment{at, 2 * n})
	return false
}

// mayReceive is maySend for the receiving half.
func (t *timeline) mayReceive(n int32) bool {
	c, track := &t.courses[n], &t.tracks[n]
	k := track.lo + c.recvs
	if c.receiving != ready || k == track.hi {
		return false
	}
	m := &t.moves[k]
	at, known := t.after(track.rank, m, c.recvsFree)
	if !known {
		c.receiving = held
		return false
	}
	if track.inline {
		if c.sends <= c.recvs {
			c.receiving = blocked
			return false
		}
		at = max(at, t.sent[k])
	}
	if m.in == 0 {
		t.over(k, 1, at)
		t.done[k], c.recvsFree = stretch{at, at}, at
		c.recvs++
		c.sending = c.sending.free(blocked)
		t.stir(n)
		return true
	}
	for i := c.read; i < len(c.inbox); i++ {
		if c.inbox[i].from != m.from {
			continue
		}
		c.taking = c.inbox[i].stretch
		copy(c.inbox[c.read+1:i+1], c.inbox[c.read:i]) // few: most come as they are received
		if c.read++; c.read == len(c.inbox) {
			c.inbox, c.read = c.inbox[:0], 0
		}
		at = max(at, c.taking.head)
		if t.cores == nil {
			t.take(n, at)
			return true
		}
		c.receiving = queued
		t.agenda.add(moment{at, 2*n + 1})
		return false
	}
	c.receiving = blocked
	return false
}

// after is when a half may begin that waits for steps of other tracks, if that is known yet.
func (t *timeline) after(rank int32, m *move, now float64) (at float64, known bool) {
	for _, ref := range t.refs[m.refs : m.refs+int32(m.after)] {
		if ref.Step < 0 {
			continue
		}
		n := t.first[rank] + int32(ref.Track)
		if c := &t.courses[n]; int(c.sends) <= ref.Step || int(c.recvs) <= ref.Step {
			return 0, false
		}
		k := t.tracks[n].lo + int32(ref.Step)
		now = max(now, t.sent[k], t.done[k].tail)
	}
	return now, true
}

// over notes that a half has ended.
func (t *timeline) over(k int32, half int, began float64) {
	if t.begins != nil {
		t.begins[k][half] = began
	}
}

// work has a host's cores busy with something that can begin at now, and is when it begins.
func (t *timeline) work(host int32, now, takes float64) float64 {
	if t.cores == nil {
		return now
	}
	cores := t.cores[host]
	first := 0
	for i := range cores {
		if cores[i] < cores[first] {
			first = i
		}
	}
	began := max(now, cores[first])
	cores[first] = began + takes
	return began
}
