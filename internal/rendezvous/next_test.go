package rendezvous

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// at is a time in seconds after epoch.
func at(seconds float64) time.Time {
	return epoch.Add(time.Duration(seconds * float64(time.Second)))
}

// member makes the member "SLOT.N" with a pid made of both.
func member(slot, n int) Member {
	return Member{
		ID: fmt.Sprintf("%d.%d", slot, n), Host: "h1", Addr: fmt.Sprintf("h1:%d", 1000*n+slot),
		Slot: slot, PID: 100*n + slot,
	}
}

func generation(id uint64, members ...Member) Generation {
	return Generation{ID: id, Members: members}
}

func sight(m Member, s State, since float64) Sighting {
	return Sighting{Member: m, By: "h1", State: s, Since: at(since)}
}

func (s Sighting) by(who string) Sighting    { s.By = who; return s }
func (s Sighting) failed(times int) Sighting { s.Failures = times; return s }
func (s Sighting) stranded(in uint64) Sighting {
	s.Stranded = in
	return s
}
func (m Member) on(host string) Member { m.Host = host; return m }
func fixed(n int) Policy               { return Policy{Min: n, Max: n, Settle: 10 * time.Second} }

func elastic(min, max int) Policy             { return Policy{Min: min, Max: max, Settle: 10 * time.Second} }
func registered(members ...Member) []Sighting { return all(Registered, 0, members...) }

func all(s State, since float64, members ...Member) []Sighting {
	var seen []Sighting
	for _, m := range members {
		seen = append(seen, sight(m, s, since))
	}
	return seen
}

func join(parts ...[]Sighting) []Sighting {
	var seen []Sighting
	for _, p := range parts {
		seen = append(seen, p...)
	}
	return seen
}

// ids are the members' IDs in order of rank.
func ids(g Generation) string {
	var s []string
	for _, m := range g.Members {
		s = append(s, m.ID)
	}
	return strings.Join(s, " ")
}

func TestNext(t *testing.T) {
	a, b, c, d := member(0, 1), member(1, 1), member(2, 1), member(3, 1)
	b2, c2, d2 := member(1, 2), member(2, 2), member(3, 2)
	four := generation(7, a, b, c, d)

	for _, x := range []struct {
		name   string
		prev   Generation
		seen   []Sighting
		now    float64
		policy Policy
		want   string // IDs; "" for no change
		why    string
	}{
		// A fixed world.
		{
			"start waits for all",
			Generation{},
			registered(a, c, d), 100, fixed(4),
			"", "3 of 4 ranks ready: waiting for 1 more",
		},
		{
			"start is ordered by slot",
			Generation{},
			registered(d, b, a, c), 0, fixed(4),
			"0.1 1.1 2.1 3.1", "4 ranks on 1 host",
		},
		{
			"start counts hosts",
			Generation{},
			registered(a, b.on("h2")), 0, fixed(2),
			"0.1 1.1", "2 ranks on 2 hosts",
		},
		{
			"only the registered are ranked",
			Generation{},
			join(registered(a, b), all(Suspect, 0, c), all(Finished, 0, d)), 100, fixed(4),
			"", "2 of 4 ranks ready: waiting for 2 more",
		},
		{"nothing happens", four, registered(a, b, c, d), 100, fixed(4), "", ""},
		{"nobody was seen", four, nil, 100, fixed(4), "", ""},
		{"suspicion is not enough", four, all(Suspect, 0, a, b, c, d), 100, fixed(4), "", ""},
		{
			"stranded ranks connect anew", four, join(registered(a, c, d), []Sighting{sight(b, Registered, 0).stranded(7)}), 100, fixed(4),
			"0.1 1.1 2.1 3.1", "rank 1 (pid 101 on h1) lost connections to ranks that live; connecting anew",
		},
		{"stranded in a former generation", four, []Sighting{sight(b, Registered, 0).stranded(6)}, 100, fixed(4), "", ""},
		{
			"a death explains who is stranded", four, join(all(Dead, 5, b), []Sighting{sight(a, Registered, 0).stranded(7)}), 100, fixed(4),
			"", "rank 1 (pid 101 on h1) died; 3 of 4 ranks ready: waiting for 1 more",
		},
		{"finished ranks stay", four, all(Finished, 0, a, b, c, d), 100, fixed(4), "", ""},
		{
			"a loss waits for its replacement", four, join(registered(a, b, d), all(Dead, 50, c)), 100, fixed(4),
			"", "rank 2 (pid 102 on h1) died; 3 of 4 ranks ready: waiting for 1 more",
		},
		{
			"a replacement goes last, at once", four,
			join(registered(a, b, d), all(Dead, 50, c), all(Registered, 100, c2)), 100, fixed(4),
			"0.1 1.1 3.1 2.2", "rank 2 (pid 102 on h1) died; replaced by pid 202 as rank 3",
		},
		{
			"a replacement that has failed before is needed all the same", four,
			join(registered(a, b, d), all(Dead, 50, c), []Sighting{sight(c2, Registered, 100).failed(9)}), 100, fixed(4),
			"0.1 1.1 3.1 2.2", "rank 2 (pid 102 on h1) died; replaced by pid 202 as rank 3",
		},
		{
			"two are replaced in order of slot", four,
			join(registered(a, c), all(Dead, 50, b, d), all(Registered, 100, d2, b2)), 100, fixed(4),
			"0.1 2.1 1.2 3.2",
			"ranks 1 (pid 101 on h1) and 3 (pid 103 on h1) died; replaced by pid 201 as rank 2 and pid 203 as rank 3",
		},
		{
			"a replacement on another host is named with it", four,
			join(registered(a, b, d), all(Leaving, 50, c), all(Registered, 100, c2.on("h2"))), 100, fixed(4),
			"0.1 1.1 3.1 2.2", "rank 2 (pid 102 on h1) left; replaced by pid 202 on h2 as rank 3",
		},
		{
			"finished ranks serve the one that comes back", four,
			join(all(Finished, 60, a, b, d), all(Dead, 50, c), all(Registered, 100, c2)), 100, fixed(4),
			"0.1 1.1 3.1 2.2", "rank 2 (pid 102 on h1) died; replaced by pid 202 as rank 3",
		},
		{
			"after the loss of all it starts anew", generation(7, a, b),
			join(all(Dead, 1, a, b), registered(member(1, 2), member(0, 2))), 2, fixed(2),
			"0.2 1.2", "all 2 ranks were lost; started anew with 2 ranks on 1 host",
		},
		{
			"a held slot can't be taken", four, registered(a, b, c, d, c2), 100, elastic(2, 8), "", "",
		},
		{
			"of two for one slot the first is ranked",
			Generation{},
			join(registered(a), all(Registered, 5, b), all(Registered, 6, b2)), 6, fixed(2),
			"0.1 1.1", "2 ranks on 1 host",
		},
		{"after the last generation nothing comes", Generation{ID: 7, Members: four.Members, Done: true}, all(Dead, 0, a, b, c, d), 100, fixed(4), "", ""},

		// Contradictions and what is out of date.
		{
			"dead is final, whoever says otherwise and later", four,
			join(all(Dead, 50, c), []Sighting{sight(c, Registered, 90), sight(c, Registered, 99).by("h2")}, registered(a, b, d), all(Registered, 100, c2)),
			100, fixed(4), "0.1 1.1 3.1 2.2", "rank 2 (pid 102 on h1) died; replaced by pid 202 as rank 3",
		},
		{
			"dead wins over leaving", four, join(all(Dead, 50, c), all(Leaving, 60, c)), 100, elastic(2, 4),
			"0.1 1.1 3.1", "rank 2 (pid 102 on h1) died; going on with 3 ranks",
		},
		{
			"the dead of long ago don't matter", four, join(all(Dead, 50, member(2, 0)), registered(a, b, c, d)), 100, fixed(4),
			"", "",
		},
		{
			"an observer's newest word counts",
			Generation{},
			join(registered(a), []Sighting{sight(b, Registered, 9), sight(b, Suspect, 5)}), 100, fixed(2),
			"0.1 1.1", "2 ranks on 1 host",
		},
		{
			"one suspicion keeps a newcomer waiting",
			Generation{},
			join(registered(a, b), []Sighting{sight(b, Suspect, 5).by("h2")}), 100, fixed(2),
			"", "1 of 2 ranks ready: waiting for 1 more",
		},
		{
			"the same word twice is one member",
			Generation{},
			registered(a, a, a), 100, fixed(2),
			"", "1 of 2 ranks ready: waiting for 1 more",
		},
		{
			"a member without a name is nobody",
			Generation{},
			registered(a, Member{Slot: 1}), 100, fixed(2),
			"", "1 of 2 ranks ready: waiting for 1 more",
		},

		// An elastic world.
		{
			"a start waits for the wanted size",
			Generation{},
			registered(a, b), 5, elastic(2, 4),
			"", "2 ranks are ready: waiting a little for up to 4",
		},
		{"but not for ever", Generation{}, registered(a, b), 10, elastic(2, 4), "0.1 1.1", "2 ranks on 1 host"},
		{"nor when all are there", Generation{}, registered(a, b, c, d), 0, elastic(2, 4), "0.1 1.1 2.1 3.1", "4 ranks on 1 host"},
		{"nor for more", Generation{}, registered(a, b, c, d), 0, elastic(2, 3), "0.1 1.1 2.1", "3 ranks on 1 host"},
		{
			"a loss is acted on at once", four, join(registered(a, b, d), all(Dead, 100, c)), 100, elastic(2, 4),
			"0.1 1.1 3.1", "rank 2 (pid 102 on h1) died; going on with 3 ranks",
		},
		{
			"but not below the minimum", generation(7, a, b), all(Dead, 100, b), 100, elastic(2, 4),
			"", "rank 1 (pid 101 on h1) died; 1 of 2 ranks ready: waiting for 1 more",
		},
		{
			"a loss takes along who has never failed", four,
			join(all(Dead, 100, c), all(Registered, 99, member(4, 1)), []Sighting{sight(member(5, 2), Registered, 99).failed(1)}), 100, elastic(2, 8),
			"0.1 1.1 3.1 4.1", "rank 2 (pid 102 on h1) died; replaced by pid 104 as rank 3",
		},
		{"growth settles", generation(7, a, b), all(Registered, 95, c), 100, elastic(2, 4), "", ""},
		{
			"grown", generation(7, a, b), all(Registered, 90, c), 100, elastic(2, 4),
			"0.1 1.1 2.1", "joined by pid 102 on h1 as rank 2",
		},
		{
			"growth takes along the younger", generation(7, a, b), join(all(Registered, 90, c), all(Registered, 99, d)), 100, elastic(2, 4),
			"0.1 1.1 2.1 3.1", "joined by pid 102 on h1 as rank 2 and pid 103 on h1 as rank 3",
		},
		{
			"a flapping one waits longer", generation(7, a, b),
			[]Sighting{sight(c, Registered, 61).failed(2)},
			100, elastic(2, 4),
			"", "",
		},
		{
			"then it may come", generation(7, a, b),
			[]Sighting{sight(c, Registered, 60).failed(2)},
			100, elastic(2, 4),
			"0.1 1.1 2.1", "joined by pid 102 on h1 as rank 2",
		},
		{
			"nobody joins a job that is ending", generation(7, a, b), join(all(Finished, 80, a), all(Registered, 0, c)), 100, elastic(2, 4),
			"", "",
		},
		{
			"a lower limit releases the last", four, registered(a, b, c, d), 100, elastic(1, 2),
			"0.1 1.1", "ranks 2 (pid 102 on h1) and 3 (pid 103 on h1) released, the limit is 2; going on with 2 ranks",
		},
		{
			"many are counted, not named", generation(7, member(0, 1), member(1, 1), member(2, 1), member(3, 1), member(4, 1), member(5, 1)),
			all(Dead, 0, member(1, 1), member(2, 1), member(3, 1), member(4, 1), member(5, 1)), 100, elastic(1, 6),
			"0.1", "ranks 1 (pid 101 on h1), 2 (pid 102 on h1), 3 (pid 103 on h1) and 2 others died; going on with 1 rank",
		},
		{"a policy of nothing is one rank", Generation{}, registered(a, b), 0, Policy{}, "0.1", "1 rank on 1 host"},
	} {
		t.Run(x.name, func(t *testing.T) {
			next, why, ok := Next(x.prev, x.seen, at(x.now), x.policy)
			if ok != (x.want != "") || ids(next) != x.want {
				t.Fatalf("next is %q (%v), want %q", ids(next), ok, x.want)
			}
			if why != x.why {
				t.Errorf("it says\n %s\nwant\n %s", why, x.why)
			}
			if ok && (next.ID != x.prev.ID+1 || next.Why != why || next.Done) {
				t.Errorf("next is %+v after %d", next, x.prev.ID)
			}
		})
	}
}

// history makes up what could be seen of some slots' members, with contradictions.
type history struct {
	random *rand.Rand
	now    float64
	seen   []Sighting
	born   map[int]int // incarnations by slot
	slots  int
}

func (h *history) step() {
	h.now += h.random.Float64() * 4
	slot := h.random.IntN(h.slots)
	by := fmt.Sprintf("h%d", h.random.IntN(3))
	n := h.born[slot]
	switch {
	case n == 0 || h.random.IntN(10) < 5:
		h.born[slot]++
		h.seen = append(h.seen, sight(member(slot, h.born[slot]), Registered, h.now).by(by).failed(n))
	default:
		n = 1 + h.random.IntN(n)
		states := []State{Registered, Suspect, Suspect, Dead, Dead, Leaving, Finished}
		state := states[h.random.IntN(len(states))]
		h.seen = append(h.seen, sight(member(slot, n), state, h.now-h.random.Float64()*3).by(by).failed(n-1))
	}
	if len(h.seen) > 40 {
		h.seen = h.seen[10:] // what is forgotten isn't unseen
	}
}

func TestNextKeepsItsPromises(t *testing.T) {
	changes := 0
	for seed := range uint64(2000) {
		random := rand.New(rand.NewPCG(seed, 1))
		h := &history{random: random, slots: 1 + random.IntN(9), born: make(map[int]int)}
		p := Policy{Min: 1 + random.IntN(4), Settle: 5 * time.Second}
		p.Max = p.Min + random.IntN(5)
		var prev Generation
		for range 20 {
			h.step()
			next, ok := checkNext(t, prev, h.seen, at(h.now), p, random)
			if ok {
				prev = next
				changes++
			}
			if t.Failed() {
				t.Fatalf("seed %d, policy %+v, sightings %+v", seed, p, h.seen)
			}
		}
	}
	if changes < 3_000 {
		t.Errorf("only %d changes were made: the histories are too dull to prove anything", changes)
	}
}

// checkNext asks for the next generation and checks what holds for every one.
func checkNext(t *testing.T, prev Generation, seen []Sighting, now time.Time, p Policy, random *rand.Rand) (Generation, bool) {
	t.Helper()
	next, why, ok := Next(prev, seen, now, p)

	shuffled := append([]Sighting(nil), seen...)
	random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	if again, said, too := Next(prev, shuffled, now, p); too != ok || !again.equal(next) || said != why {
		t.Errorf("the order of sightings matters: %q or %q", why, said)
	}
	if !ok {
		if next.ID != 0 || next.Members != nil {
			t.Errorf("there is no next generation, but it is %+v", next)
		}
		return next, false
	}
	if next.ID != prev.ID+1 {
		t.Errorf("generation %d follows %d", next.ID, prev.ID)
	}
	if why == "" || strings.ContainsRune(why, '\n') {
		t.Errorf("generation %d says why: %q", next.ID, why)
	}
	if n := len(next.Members); n < max(p.Min, 1) || n > max(p.Min, p.Max, 1) {
		t.Errorf("generation %d has %d ranks, want %d to %d", next.ID, n, p.Min, p.Max)
	}
	gone, ready := make(map[string]bool), make(map[string]bool)
	for _, s := range seen {
		gone[s.Member.ID] = gone[s.Member.ID] || s.State == Dead || s.State == Leaving
		ready[s.Member.ID] = ready[s.Member.ID] || s.State == Registered
	}
	last, held, slots := -1, make(map[string]bool), make(map[int]bool)
	for r, m := range next.Members {
		if gone[m.ID] {
			t.Errorf("rank %d of generation %d is %s, which is dead or leaving", r, next.ID, m.ID)
		}
		if held[m.ID] || slots[m.Slot] {
			t.Errorf("%s is in generation %d twice, or its slot is", m.ID, next.ID)
		}
		held[m.ID], slots[m.Slot] = true, true
		switch was, stayed := prev.Rank(m.ID); {
		case stayed && was < last:
			t.Errorf("rank %d of generation %d was %d, after one that was %d: survivors must keep their order", r, next.ID, was, last)
		case stayed:
			last = was
		case !ready[m.ID]:
			t.Errorf("%s joined generation %d without having registered", m.ID, next.ID)
		default:
			last = len(prev.Members) // newcomers go last
		}
	}
	if p.Max >= len(prev.Members) {
		for _, m := range prev.Members {
			if !held[m.ID] && !gone[m.ID] {
				t.Errorf("generation %d has lost %s, which lives", next.ID, m.ID)
			}
		}
	}
	if after, said, too := Next(next, seen, now, p); too {
		t.Errorf("generation %d is followed at once by %d (%s), with nothing new seen", next.ID, after.ID, said)
	}

	// Who suspects everybody changes nothing: at most, newcomers wait.
	doubted := append([]Sighting(nil), seen...)
	for _, s := range seen {
		doubted = append(doubted, Sighting{Member: s.Member, By: "paranoid", State: Suspect, Since: now})
	}
	if less, _, too := Next(prev, doubted, now, p); too {
		for _, m := range prev.Members {
			_, stays := next.Rank(m.ID)
			if _, stayed := less.Rank(m.ID); stays && !stayed {
				t.Errorf("suspicion alone removed %s", m.ID)
			}
		}
	}
	return next, true
}

func FuzzNext(f *testing.F) {
	f.Add(uint64(1), uint8(4), uint8(4), uint8(30))
	f.Add(uint64(2), uint8(0), uint8(0), uint8(60))
	f.Add(uint64(3), uint8(1), uint8(9), uint8(200))
	f.Add(uint64(4), uint8(9), uint8(2), uint8(90))
	f.Fuzz(func(t *testing.T, seed uint64, least, most, steps uint8) {
		random := rand.New(rand.NewPCG(seed, 2))
		h := &history{random: random, slots: 1 + random.IntN(12), born: make(map[int]int)}
		p := Policy{Min: int(least % 16), Max: int(most % 16), Settle: time.Duration(random.IntN(10)) * time.Second}
		var prev Generation
		for range steps {
			h.step()
			if next, ok := checkNext(t, prev, h.seen, at(h.now), p, random); ok {
				prev = next
			}
		}
	})
}

func BenchmarkNext(b *testing.B) {
	const n = 1024
	var members []Member
	for slot := range n {
		members = append(members, member(slot, 1))
	}
	seen := join(registered(members...), all(Dead, 1, members[5]), all(Registered, 2, member(5, 2)))
	prev := generation(1, members...)
	for b.Loop() {
		if _, _, ok := Next(prev, seen, at(10), fixed(n)); !ok {
			b.Fatal("nothing follows")
		}
	}
}
