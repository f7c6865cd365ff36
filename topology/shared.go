package topology

import "time"

// Memory is what an operation through memory that the ranks of a host share costs.
//
//	Tick      ranks tell each other that they have arrived, nothing else: the time of one round
//	GBps      every core copies at once: bytes read and bytes written, all together
//	CoreGBps  one core copies, the others rest: bytes read and bytes written
//	Cache     the same for data that stays in the caches, where it was measured
//
// Zero rates are no limit.
type Memory struct {
	Tick     time.Duration // until every rank knows that all have come to some point
	GBps     float64       // all cores together
	CoreGBps float64       // one core
	Cache    Cache
}

// Cache is the rates for operations whose data stays in the caches of a host.
type Cache struct {
	Bytes          int64 // that all ranks' data may have together; 0: not measured
	GBps, CoreGBps float64
}

// SharedTime predicts an all-reduce among the ranks of one host that fold straight out of
// each other's memory:
//
//	tick                 all have arrived
//	ranks × share        each rank reads its share of all ranks' data and writes the sum to all
//	tick                 all have left
//
// A share is an n-th of the data, so each rank reads and writes the data once. With copies
// the data lies in slices of each rank's own: it is copied into shared memory first (once
// read, once written), the sum of a share is written once, and after the second tick every
// rank copies all of it out. Ranks that are more than the cores take turns.
func SharedTime(ranks int, bytes int64, l Links, copies bool) time.Duration {
	if ranks <= 1 {
		return 0
	}
	n, m := float64(ranks), l.Memory
	moved := 2 * float64(bytes) // by each rank
	if copies {
		moved = (2 + 1 + 1/n + 2) * float64(bytes)
	}
	all, one := m.GBps, m.CoreGBps
	if c := m.Cache; c.Bytes > 0 && int64(ranks)*bytes <= c.Bytes {
		all, one = c.GBps, c.CoreGBps
	}
	turns := 1
	if l.Cores > 0 {
		turns = (ranks + l.Cores - 1) / l.Cores
	}
	return duration(2*float64(m.Tick) + max(n*moved*gap(all), float64(turns)*moved*gap(one)))
}
