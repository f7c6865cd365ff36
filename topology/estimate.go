package topology

import (
	"math"
	"time"
)

// Estimate predicts how long a takes for an operation on that many bytes: the whole of
// buffer 0, cut evenly into chunks.
func Estimate(w World, a Algorithm, bytes int64, l Links) time.Duration {
	return duration(simulate(w, a, bytes, l, math.Inf(1)))
}

// EstimatePlans is Estimate for plans that exist already and are such as Verify accepts.
func EstimatePlans(w World, plans []Plan, bytes int64, l Links) time.Duration {
	return duration(newTimeline(w, plans, bytes, l).run(math.Inf(1)))
}
