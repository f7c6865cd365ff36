package topology

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// Choice is the algorithm for an operation, and why.
type Choice struct {
	ID        uint8  // as in Named
	Name      string // as in Named
	Algorithm Algorithm
	Time      time.Duration // predicted
	Why       string        // for people: what it was compared with
}

// margin is how much better than a plainer algorithm a prediction has to be, so that what
// the model leaves out does not decide.
const margin = 1.1

// smallWorld is up to how many ranks all plans of all algorithms are made.
const smallWorld = 8

// Select is the first algorithm, in the order of Algorithms, whose time for c on that many
// bytes is predicted to be at most a tenth above the best. It depends on nothing but its
// arguments, so ranks that have the same links choose alike. It simulates what may win, in
// the order of what each takes at least, no longer than the best so far and only until
// the choice is known. That takes milliseconds for 16 ranks and up to a second for 1,024:
// call it once for a class of sizes and keep what it says.
func Select(w World, c Collective, bytes int64, l Links) Choice {
	w = w.indexed()
	candidates := AlgorithmsFor(c.Kind)
	times, least := make([]float64, len(candidates)), make([]float64, len(candidates))
	small := w.Size() <= smallWorld // where the bound costs as much as all it takes to know
	scripts := make([]*script, len(candidates))
	for i, n := range candidates {
		a := n.Algorithm(c.Root)
		times[i] = math.Inf(1)
		if small {
			scripts[i] = written(w, a, a(w, w.order()[0]), bytes, &l, wheel{})
			least[i] = scripts[i].least()
		} else {
			least[i] = lower(w, a, bytes, l)
		}
	}
	best := math.Inf(1)
	for _, i := range promising(least) {
		if least[i] > margin*best {
			continue
		}
		if small {
			times[i] = start(scripts[i]).run(margin * best)
		} else {
			times[i] = simulate(w, candidates[i].Algorithm(c.Root), bytes, l, margin*best)
		}
		least[i] = times[i]
		if best = min(best, times[i]); decided(least, times, best) {
			break
		}
	}
	winner, next := -1, -1
	for i, took := range times {
		switch {
		case winner < 0 && took <= margin*best:
			winner = i
		case winner >= 0 && !math.IsInf(took, 1) && (next < 0 || took < times[next]):
			next = i
		}
	}
	n := candidates[winner]
	why := fmt.Sprintf("%v of %s on %v: %s %v", c.Kind, size(bytes), w, n.Name, round(duration(times[winner])))
	switch {
	case next >= 0:
		why += fmt.Sprintf(", %s %v", candidates[next].Name, round(duration(times[next])))
	case len(candidates) > 1:
		why += ", the rest slower or little faster"
	}
	return Choice{ID: n.ID, Name: n.Name, Algorithm: n.Algorithm(c.Root), Time: duration(times[winner]), Why: why}
}

// promising is the order in which to simulate algorithms of which it is known what they
// take at least: plain ones first where that is near the least of all, then the rest by it.
func promising(least []float64) []int {
	near := margin * slices.Min(least)
	order := naturals(len(least))
	slices.SortStableFunc(order, func(i, j int) int {
		return cmp.Compare(max(least[i], near), max(least[j], near))
	})
	return order
}

// decided says whether the first good algorithm is found, whatever the others turn out to
// take: all plainer ones are too slow, and none can be better by more than the margin.
func decided(least, times []float64, best float64) bool {
	good := margin * slices.Min(least)
	for i, took := range times {
		switch {
		case took <= good:
			return true
		case least[i] <= margin*best:
			return false
		}
	}
	return false
}

// size is bytes as people write them: 64 KiB, 1.5 MiB.
func size(bytes int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	x, unit := float64(bytes), 0
	for x >= 1024 && unit < len(units)-1 {
		x /= 1024
		unit++
	}
	return fmt.Sprintf("%.4g %s", x, units[unit])
}

// round keeps three digits.
func round(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit)
}
