package worker

import (
	"testing"
	"time"

	"github.com/gorun-ml/gorun/topology"
)

// Buckets grow with what an all-reduce costs whatever its size, and stay within bounds.
func TestLimitsFollowFromCost(t *testing.T) {
	slow := topology.TenGigabit()
	slow.Remote.Latency = 20 * time.Millisecond
	var last int
	for _, c := range []struct {
		name string
		w    topology.World
		l    topology.Links
	}{
		{"gigabit", topology.Uniform(4, 4), topology.Gigabit()},
		{"10 gigabit", topology.Uniform(4, 4), topology.TenGigabit()},
		{"10 gigabit far away", topology.Uniform(4, 4), slow},
	} {
		got := limitsFor(c.w, c.l, false)
		t.Logf("%s: first %d KiB, then %d KiB", c.name, got.first>>10, got.rest>>10)
		if got.rest < last || got.rest < leastBucket || got.rest > mostBucket || got.first*opening != got.rest {
			t.Errorf("%s: %+v after %d", c.name, got, last)
		}
		if again := limitsFor(c.w, c.l, false); again != got {
			t.Errorf("%s: %+v, then %+v", c.name, got, again)
		}
		last = got.rest
	}
	if last != mostBucket {
		t.Errorf("far away: %d, want the most, %d", last, mostBucket)
	}
}
