package hosts

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func withSlots(slots ...int) []Host {
	hosts := make([]Host, len(slots))
	for i, n := range slots {
		hosts[i] = Host{Name: fmt.Sprintf("h%d", i+1), Slots: n}
	}
	return hosts
}

// shares counts the ranks of each host, which must be in blocks.
func shares(t *testing.T, hosts []Host, places []int) []int {
	t.Helper()
	if !slices.IsSorted(places) {
		t.Errorf("not in blocks: %v", places)
	}
	n := make([]int, len(hosts))
	for _, p := range places {
		n[p]++
	}
	return n
}

func TestPlace(t *testing.T) {
	for _, c := range []struct {
		slots []int
		np    int
		p     Policy
		over  bool
		want  []int // ranks of each host
	}{
		{[]int{4, 4}, 8, Pack, false, []int{4, 4}},
		{[]int{4, 4}, 8, Spread, false, []int{4, 4}},
		{[]int{4, 4}, 5, Pack, false, []int{4, 1}},
		{[]int{4, 4}, 5, Spread, false, []int{3, 2}},
		{[]int{4, 4, 4}, 2, Pack, false, []int{2, 0, 0}},
		{[]int{4, 4, 4}, 2, Spread, false, []int{1, 1, 0}},
		{[]int{1, 8, 4}, 10, Pack, false, []int{1, 8, 1}},
		{[]int{1, 8, 4}, 10, Spread, false, []int{1, 5, 4}},
		{[]int{8, 1, 8}, 4, Spread, false, []int{2, 1, 1}},
		{[]int{1, 3, 3}, 6, Spread, false, []int{1, 3, 2}},
		{[]int{4, 4}, 8, Spread, true, []int{4, 4}},
		{[]int{4, 4}, 9, Pack, true, []int{5, 4}},
		{[]int{4, 4}, 16, Spread, true, []int{8, 8}},
		{[]int{1, 8}, 18, Pack, true, []int{2, 16}},
		{[]int{1, 8}, 10, Pack, true, []int{1, 9}},
		{[]int{2, 2, 1}, 8, Pack, true, []int{3, 3, 2}},
		{[]int{1}, 3, Pack, true, []int{3}},
		{[]int{65536}, 1 << 20, Pack, true, []int{1 << 20}},
	} {
		hosts := withSlots(c.slots...)
		places, err := Place(hosts, c.np, c.p, c.over)
		if err != nil {
			t.Errorf("%d on %v: %v", c.np, c.slots, err)
			continue
		}
		if got := shares(t, hosts, places); !slices.Equal(got, c.want) {
			t.Errorf("%d on %v, policy %d: %v, want %v", c.np, c.slots, c.p, got, c.want)
		}
	}
}

func TestPlaceRefuses(t *testing.T) {
	twelve := withSlots(slices.Repeat([]int{1}, 12)...)
	for _, c := range []struct {
		hosts []Host
		np    int
		over  bool
		want  string
	}{
		{withSlots(4, 4), 9, false, "need 9 slots, have 8 (h1:4 h2:4): lower -np, list more hosts or pass --oversubscribe"},
		{[]Host{{"anna@fe80::1", 1}}, 2, false, "need 2 slots, have 1 (anna@[fe80::1]:1): lower -np, list more hosts or pass --oversubscribe"},
		{twelve, 13, false, "need 13 slots, have 12 (h1:1 h2:1 h3:1 h4:1 h5:1 h6:1 h7:1 h8:1 and 4 more): lower -np, list more hosts or pass --oversubscribe"},
		{withSlots(4), 0, false, "-np 0: want 1 to 1048576 ranks"},
		{withSlots(4), 1<<20 + 1, true, "-np 1048577: want 1 to 1048576 ranks"},
		{nil, 1, true, "no hosts to place ranks on"},
		{withSlots(4, 0), 1, true, "h2 has 0 slots, want 1 to 65536"},
		{withSlots(4, -1), 1, true, "h2 has -1 slots, want 1 to 65536"},
		{withSlots(1 << 30), 1, true, "h1 has 1073741824 slots, want 1 to 65536"},
		{make([]Host, 0, 1), 1, false, "no hosts to place ranks on"},
	} {
		for _, p := range []Policy{Pack, Spread} {
			if places, err := Place(c.hosts, c.np, p, c.over); err == nil || err.Error() != c.want || places != nil {
				t.Errorf("%v, %v; want\n%s", places, err, c.want)
			}
		}
	}
}

// TestPlaceLikeByHand compares with giving out one rank after the other.
func TestPlaceLikeByHand(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		hosts := make([]Host, 1+r.IntN(6))
		sum := 0
		for i := range hosts {
			hosts[i] = Host{"h", 1 + r.IntN(9)}
			sum += hosts[i].Slots
		}
		np := 1 + r.IntN(2*sum)
		for _, p := range []Policy{Pack, Spread} {
			places, err := Place(hosts, np, p, true)
			if err != nil || len(places) != np {
				t.Fatalf("%d on %v: %d ranks, %v", np, hosts, len(places), err)
			}
			got := shares(t, hosts, places)
			if np > sum {
				for i, h := range hosts {
					if exact := float64(np) * float64(h.Slots) / float64(sum); float64(got[i]) <= exact-1 || float64(got[i]) >= exact+1 || got[i] < h.Slots {
						t.Errorf("%d on %v: %v, but host %d should have about %.2f", np, hosts, got, i, exact)
					}
				}
			} else if want := byHand(hosts, np, p); !slices.Equal(got, want) {
				t.Errorf("%d on %v, policy %d: %v, want %v", np, hosts, p, got, want)
			}
		}
	}
}

func byHand(hosts []Host, np int, p Policy) []int {
	n := make([]int, len(hosts))
	for i := 0; np > 0; i = (i + 1) % len(hosts) {
		for n[i] < hosts[i].Slots && np > 0 {
			n[i]++
			np--
			if p == Spread {
				break
			}
		}
	}
	return n
}
