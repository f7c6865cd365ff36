package topology

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// mutation changes one step of a plan, and says whether what is left must be wrong.
type mutation struct {
	name   string
	deadly bool
	change func(p *Plan, track, step int, random *rand.Rand) bool
}

var mutations = []mutation{
	{"drop a step", true, func(p *Plan, t, i int, _ *rand.Rand) bool {
		p.Tracks[t] = slices.Delete(p.Tracks[t], i, i+1)
		return true
	}},
	{"do a step twice", true, func(p *Plan, t, i int, _ *rand.Rand) bool {
		p.Tracks[t] = slices.Insert(p.Tracks[t], i, p.Tracks[t][i])
		return true
	}},
	{"change whom it sends to", true, func(p *Plan, t, i int, random *rand.Rand) bool {
		return elsewhere(&p.Tracks[t][i].SendTo, p.Size, random)
	}},
	{"change whom it receives from", true, func(p *Plan, t, i int, random *rand.Rand) bool {
		return elsewhere(&p.Tracks[t][i].RecvFrom, p.Size, random)
	}},
	{"change what it sends", true, func(p *Plan, t, i int, random *rand.Rand) bool {
		s := &p.Tracks[t][i]
		return s.SendTo != None && shifted(&s.Send, random)
	}},
	{"change what it receives", true, func(p *Plan, t, i int, random *rand.Rand) bool {
		s := &p.Tracks[t][i]
		return s.RecvFrom != None && shifted(&s.Recv, random)
	}},
	{"flip Reduce", true, func(p *Plan, t, i int, _ *rand.Rand) bool {
		p.Tracks[t][i].Reduce = !p.Tracks[t][i].Reduce
		return true
	}},
	{"no longer send", true, func(p *Plan, t, i int, _ *rand.Rand) bool {
		s := &p.Tracks[t][i]
		was := s.SendTo
		s.SendTo = None
		return was != None
	}},
	{"forget After", false, func(p *Plan, t, i int, _ *rand.Rand) bool {
		was := p.Tracks[t][i].After
		p.Tracks[t][i].After = nil
		return was != nil
	}},
	{"swap two steps", false, func(p *Plan, t, i int, random *rand.Rand) bool {
		j := random.IntN(len(p.Tracks[t]))
		p.Tracks[t][i], p.Tracks[t][j] = p.Tracks[t][j], p.Tracks[t][i]
		return i != j
	}},
	{"move a step to the end", false, func(p *Plan, t, i int, _ *rand.Rand) bool {
		s := p.Tracks[t][i]
		p.Tracks[t] = append(slices.Delete(p.Tracks[t], i, i+1), s)
		return i != len(p.Tracks[t])-1
	}},
}

func elsewhere(peer *int, size int, random *rand.Rand) bool {
	was := *peer
	*peer = random.IntN(size)
	return was != None && *peer != was
}

func shifted(s *Span, random *rand.Rand) bool {
	was := *s
	switch random.IntN(3) {
	case 0:
		s.Lo, s.Hi = s.Lo+1, s.Hi+1
	case 1:
		s.Lo--
	default:
		s.Hi++
	}
	return *s != was
}

// mutant is plans with one step of one rank changed, the rest untouched.
func mutant(plans []Plan, m mutation, random *rand.Rand) ([]Plan, string) {
	plans = slices.Clone(plans)
	p := &plans[random.IntN(len(plans))]
	p.Tracks = slices.Clone(p.Tracks)
	t := random.IntN(max(1, len(p.Tracks)))
	if len(p.Tracks) == 0 || len(p.Tracks[t]) == 0 {
		return nil, ""
	}
	p.Tracks[t] = slices.Clone(p.Tracks[t])
	i := random.IntN(len(p.Tracks[t]))
	if !m.change(p, t, i, random) {
		return nil, ""
	}
	return plans, fmt.Sprintf("rank %d track %d step %d: %s", p.Rank, t, i, m.name)
}

// checkMutant says what is wrong with Verify's opinion of a mutant: a deadly change must
// be rejected, and what is accepted must work in whatever order things happen.
func checkMutant(c Collective, plans []Plan, m mutation, what string, random *rand.Rand) error {
	if Verify(c, plans) != nil {
		return nil
	}
	if m.deadly {
		return fmt.Errorf("%s: accepted", what)
	}
	for i := range 6 {
		if err := runs(c, plans, i%2 == 0, random); err != nil {
			return fmt.Errorf("%s: accepted but %w", what, err)
		}
	}
	return nil
}

func TestMutantsAreRejected(t *testing.T) {
	for _, a := range Algorithms() {
		t.Run(fmt.Sprintf("%v/%s", a.Kind, a.Name), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(uint64(a.ID), 2))
			for range 40 {
				n := 2 + random.IntN(9)
				c := Collective{Kind: a.Kind}
				if c.rooted() {
					c.Root = random.IntN(n)
				}
				plans := Plans(Uniform(n, 1+random.IntN(4)), a.Algorithm(c.Root))
				for _, m := range mutations {
					if mutated, what := mutant(plans, m, random); mutated != nil {
						if err := checkMutant(c, mutated, m, what, random); err != nil {
							t.Fatalf("%d ranks, root %d: %v", n, c.Root, err)
						}
					}
				}
			}
		})
	}
}

// FuzzVerify looks for plans that Verify accepts and that do not work, over worlds and
// mutants of all algorithms.
func FuzzVerify(f *testing.F) {
	f.Add(uint8(0), uint8(4), uint8(2), uint64(1), uint8(0))
	f.Add(uint8(12), uint8(7), uint8(3), uint64(2), uint8(9))
	f.Add(uint8(29), uint8(5), uint8(1), uint64(3), uint8(8))
	f.Fuzz(func(t *testing.T, algorithm, np, hosts uint8, seed uint64, change uint8) {
		random := rand.New(rand.NewPCG(seed, 3))
		a := algorithms[int(algorithm)%len(algorithms)]
		w := World{Hosts: make([]int, 1+int(np)%16)}
		for i := range w.Hosts {
			w.Hosts[i] = random.IntN(1 + int(hosts)%8)
		}
		c := Collective{Kind: a.Kind}
		if c.rooted() {
			c.Root = random.IntN(w.Size())
		}
		plans := Plans(w, a.Algorithm(c.Root))
		if err := Verify(c, plans); err != nil {
			t.Fatalf("%s over %v: %v", a.Name, w.Hosts, err)
		}
		m := mutations[int(change)%len(mutations)]
		if mutated, what := mutant(plans, m, random); mutated != nil {
			if err := checkMutant(c, mutated, m, what, random); err != nil {
				t.Fatalf("%s over %v, root %d: %v", a.Name, w.Hosts, c.Root, err)
			}
		}
	})
}
