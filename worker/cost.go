package worker

import "github.com/gorun-ml/gorun/topology"

// Links is what communication between the session's ranks is taken to cost, the same on
// all ranks. Algorithms and the sizes of buckets follow from it.
func (s *Session) Links() topology.Links { return s.links }

// limits is how large this session's buckets become.
func (s *Session) limits() limits {
	if n := s.st.BucketBytes; n > 0 {
		return limits{n, n}
	}
	return limitsFor(s.comm.World(), s.links, len(sharing(s.mesh, s.rank)) == s.size)
}

// Bounds on the buckets whose size follows from the cost.
const (
	leastBucket = 256 << 10
	mostBucket  = 32 << 20
	// mostLatency is the share of a bucket's time that its size has no part in.
	mostLatency = 0.1
	// opening is how many times smaller the first bucket is: the backward pass should not
	// have got far before the network has something to do.
	opening = 8
)

// limitsFor is the smallest bucket, as a power of two, of whose time at most mostLatency
// goes into what every all-reduce costs whatever its size. The cost of the best algorithms,
// alpha + beta·bytes, is taken from both ends of the sizes. shared says that all ranks reach
// each other's memory.
func limitsFor(w topology.World, l topology.Links, shared bool) limits {
	if w.Size() == 1 {
		return limits{mostBucket, mostBucket} // nothing is sent
	}
	took := func(bytes int64) float64 {
		if shared {
			return float64(topology.SharedTime(w.Size(), bytes, l, false))
		}
		return float64(topology.Select(w, topology.Collective{Kind: topology.AllReduce}, bytes, l).Time)
	}
	beta := (took(mostBucket) - took(leastBucket)) / (mostBucket - leastBucket)
	alpha := took(leastBucket) - beta*leastBucket
	rest := leastBucket
	for rest < mostBucket && alpha > mostLatency*(alpha+beta*float64(rest)) {
		rest *= 2
	}
	return limits{rest / opening, rest}
}
