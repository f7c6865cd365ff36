package topology

import (
	"fmt"
	"testing"
)

// layouts is worlds of n ranks: one host, one rank a host, even and uneven blocks, a big
// host with small ones, round robin.
func layouts(n int) []layout {
	uneven, big, robin := make([]int, n), make([]int, n), make([]int, n)
	for r, host, left := 0, 0, 1; r < n; r++ {
		uneven[r] = host
		if left--; left == 0 { // hosts of 1, 2, 3, … ranks
			host++
			left = host + 1
		}
		big[r] = max(0, r-n/2)
		robin[r] = r % 3
	}
	return []layout{
		{"one host", Uniform(n, 1)},
		{"a host a rank", Uniform(n, n)},
		{"three hosts", Uniform(n, 3)},
		{"uneven hosts", World{Hosts: uneven}},
		{"one big host", World{Hosts: big}},
		{"round robin", World{Hosts: robin}},
	}
}

type layout struct {
	name string
	World
}

// someLayouts is all layouts of few ranks and one of many, another for each number.
func someLayouts(n int) []layout {
	all, few := layouts(n), 32
	if raceEnabled {
		few = 12
	}
	if n > few {
		return all[n%len(all):][:1]
	}
	return all
}

func TestEveryAlgorithmIsVerified(t *testing.T) {
	for _, a := range Algorithms() {
		t.Run(fmt.Sprintf("%v/%s", a.Kind, a.Name), func(t *testing.T) {
			t.Parallel()
			for n := 1; n <= 64; n++ {
				for _, w := range someLayouts(n) {
					for _, root := range []int{0, n / 2, n - 1} {
						if root > 0 && !(Collective{Kind: a.Kind}).rooted() {
							continue
						}
						if err := Verify(Collective{a.Kind, root}, Plans(w.World, a.Algorithm(root))); err != nil {
							t.Fatalf("%d ranks, %s, root %d: %v", n, w.name, root, err)
						}
					}
				}
			}
		})
	}
}

func TestIDsAreUnique(t *testing.T) {
	seen := make(map[uint8]string)
	for _, a := range Algorithms() {
		if was, twice := seen[a.ID]; twice {
			t.Errorf("%s and %s both have ID %d", was, a.Name, a.ID)
		}
		seen[a.ID] = a.Name
	}
}
