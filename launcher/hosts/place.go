package hosts

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

const maxRanks = 1 << 20 // of a job

// A Policy says which slots are taken where there are more than ranks.
type Policy uint8

const (
	Pack   Policy = iota // fill a host before the next
	Spread               // give every host as many, as far as its slots go
)

// Place gives each rank its host, as an index of hosts. Ranks of a host are neighbours,
// under either policy: most of what a rank sends goes to its neighbours.
//
// If there are fewer slots than ranks, and oversubscribe allows it, all hosts get more than
// their slots in the same proportion.
func Place(hosts []Host, np int, p Policy, oversubscribe bool) ([]int, error) {
	slots := 0
	for _, h := range hosts {
		if h.Slots < 1 || h.Slots > maxSlots {
			return nil, fmt.Errorf("%s has %d slots, want 1 to %d", h.Name, h.Slots, maxSlots)
		}
		slots += min(h.Slots, maxRanks-min(slots, maxRanks)) // more are of no use
	}
	switch {
	case len(hosts) == 0:
		return nil, errors.New("no hosts to place ranks on")
	case len(hosts) > maxHosts:
		return nil, fmt.Errorf("%d hosts, want at most %d", len(hosts), maxHosts)
	case np < 1 || np > maxRanks:
		return nil, fmt.Errorf("-np %d: want 1 to %d ranks", np, maxRanks)
	case np > slots && !oversubscribe:
		return nil, fmt.Errorf("need %s, have %d (%s): lower -np, list more hosts or pass --oversubscribe", number(np, "slot"), slots, summary(hosts))
	}
	var shares []int
	switch {
	case np > slots:
		shares = proportional(hosts, np, slots)
	case p == Spread:
		shares = level(hosts, np)
	default:
		shares = fill(hosts, np)
	}
	places := make([]int, 0, np)
	for i, n := range shares {
		for range n {
			places = append(places, i)
		}
	}
	return places, nil
}

// fill gives each host all of its slots until no rank is left.
func fill(hosts []Host, np int) []int {
	shares := make([]int, len(hosts))
	for i, h := range hosts {
		shares[i] = min(h.Slots, np)
		np -= shares[i]
	}
	return shares
}

// level pours ranks over the hosts like water over vessels of different depth: up to the
// same level in all that are deep enough. What does not suffice for another level goes to
// the first of them.
func level(hosts []Host, np int) []int {
	shares := make([]int, len(hosts))
	pour := func(depth int) (sum int) {
		for i, h := range hosts {
			shares[i] = min(h.Slots, depth)
			sum += shares[i]
		}
		return sum
	}
	// The greatest depth that np suffices for.
	low, high := 0, maxSlots
	for low < high {
		if middle := (low + high + 1) / 2; pour(middle) <= np {
			low = middle
		} else {
			high = middle - 1
		}
	}
	rest := np - pour(low)
	for i, h := range hosts {
		if rest > 0 && h.Slots > low {
			shares[i]++
			rest--
		}
	}
	return shares
}

// proportional gives each host np/slots of its slots, rounded by the largest remainder.
func proportional(hosts []Host, np, slots int) []int {
	shares := make([]int, len(hosts))
	order := make([]int, len(hosts))
	rest := np
	remainder := func(i int) uint64 { return uint64(np) * uint64(hosts[i].Slots) % uint64(slots) }
	for i, h := range hosts {
		shares[i] = int(uint64(np) * uint64(h.Slots) / uint64(slots))
		rest -= shares[i]
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(remainder(b), remainder(a)) })
	for _, i := range order[:rest] {
		shares[i]++
	}
	return shares
}

// summary lists hosts and slots, shortened where there are many.
func summary(hosts []Host) string {
	const most = 8
	var words []string
	for _, h := range hosts[:min(len(hosts), most)] {
		words = append(words, h.String())
	}
	if more := len(hosts) - most; more > 0 {
		words = append(words, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(words, " ")
}

func number(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
