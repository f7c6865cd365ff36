package probe

import (
	"math"
	"time"

	"github.com/gorun-ml/gorun/topology"
)

// cachePerCore is how much data is taken to stay in the caches, for each core.
const cachePerCore = 1 << 20

// Usual is what communication is taken to cost in a world where nothing was measured.
func Usual(w topology.World) topology.Links {
	if len(w.ByHost()) == 1 {
		return topology.Loopback()
	}
	return topology.TenGigabit()
}

// links fits costs to what all ranks have measured, on hosts of that many cores. What was
// not measured stays usual.
func links(w topology.World, all []times, cores int) (topology.Links, error) {
	hosts := w.ByHost()
	most := 0
	for _, ranks := range hosts {
		most = max(most, len(ranks))
	}
	usual := Usual(w)
	usual.Cores = cores
	inHost := topology.Probes{
		Local: worst(all, local), Burst: worst(all, burst), Together: worst(all, together),
		Fold: fromNothing(worst(all, folding)), Tick: worst(all, ticking), Ranks: most,
	}
	l, _, err := topology.Fit(inHost, usual)
	if err != nil {
		return usual, err
	}
	// A copy is so short that ranks which are more than the cores don't disturb it: they copy
	// one after the other.
	busy := min(most, cores)
	if l, _, err = topology.Fit(topology.Probes{Memory: copied(all, copying, most), Ranks: busy}, l); err != nil {
		return usual, err
	}
	if rate, _, err := topology.FitRate(copied(all, cached, most)); err == nil && rate > 0 {
		l.Memory.Cache = topology.Cache{Bytes: int64(cores) * cachePerCore, GBps: rate * float64(busy), CoreGBps: rate}
	}
	if len(hosts) == 1 {
		return l, nil
	}
	outside := topology.Probes{Outward: worst(all, outward), Ranks: rails(hosts)}
	for round := range mostRounds {
		outside.Remote = append(outside.Remote, worst(all, remote+round)...)
	}
	if l, _, err = topology.Fit(outside, l); err != nil {
		return usual, err
	}
	l.Pairs = map[[2]int]topology.Link{}
	for round, differ := range rounds(len(hosts)) {
		for h, ranks := range hosts {
			other := h ^ differ
			if other >= len(hosts) || h > other {
				continue
			}
			// Half a round trip holds the overhead of both ends.
			link, _, err := topology.FitLink(samples(&all[ranks[0]], remote+round))
			if err != nil {
				return usual, err
			}
			link.Latency = max(0, link.Latency-2*l.Overhead)
			l.Pairs[[2]int{h, other}], l.Pairs[[2]int{other, h}] = link, link
		}
	}
	return l, nil
}

// copied is how long the copies of the slowest rank took, by the bytes that it read and wrote.
func copied(all []times, kind, ranks int) []topology.Sample {
	found := worst(all, kind)
	for i := range found {
		found[i].Bytes = 2 * int64(share(kind, i, ranks))
	}
	return fromNothing(found)
}

// fromNothing adds that no bytes take no time, for what has no start worth mentioning: a
// disturbed sample then cannot turn the line.
func fromNothing(found []topology.Sample) []topology.Sample {
	if len(found) == 0 {
		return nil
	}
	return append(found, topology.Sample{Time: time.Nanosecond})
}

// samples is what a rank has measured of a kind.
func samples(t *times, kind int) []topology.Sample {
	var found []topology.Sample
	for i, bytes := range sizes[kind] {
		if s := t[kind][i]; s > 0 {
			found = append(found, topology.Sample{Bytes: int64(bytes), Time: time.Duration(math.Ceil(s * 1e9))})
		}
	}
	return found
}

// worst is what the slowest rank has measured: what many do at once has ended then.
func worst(all []times, kind int) []topology.Sample {
	var slowest times
	for _, t := range all {
		for i := range t[kind] {
			slowest[kind][i] = max(slowest[kind][i], t[kind][i])
		}
	}
	return samples(&slowest, kind)
}
