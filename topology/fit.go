package topology

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// Sample is how long a probe took for that many bytes.
type Sample struct {
	Bytes int64
	Time  time.Duration
}

// Probes are the times that Fit makes Links of. Those that are empty leave their parameters
// as they are.
type Probes struct {
	Local    []Sample // half a round trip between two ranks of a host, all else quiet, small messages and long ones
	Remote   []Sample // the same between hosts
	Burst    []Sample // many messages of that size one way between two ranks of a host: the time a message
	Together []Sample // every rank of a host sends to the next at once: the time of a rank's message
	Outward  []Sample // every rank of a host sends to another host at once: the time of a rank's message
	Fold     []Sample // one rank folds
	Tick     []Sample // all ranks of a host arrive at a point in shared memory; bytes do not matter
	Memory   []Sample // all ranks of a host copy at once, bytes read and written by each
	Ranks    int      // of a host, in Together, Outward and Memory
}

// Fit makes Links of probes, the rest as in l. It also says by how much, in the median, the
// fit misses the samples, relative to them. It has no opinion of its own: the same probes
// give the same Links.
func Fit(p Probes, l Links) (fitted Links, residual float64, err error) {
	f := fitter{}
	if len(p.Burst) > 0 {
		l.Overhead = f.level("a burst of messages", p.Burst)
	}
	ranks := float64(max(1, p.Ranks))
	if len(p.Together) > 0 {
		_, rate := f.line("messages of all ranks", p.Together)
		l.HostGBps = rate * ranks
		if l.Cores > 0 && p.Ranks >= l.Cores {
			// A core has to do with a byte twice, at the sender and at the receiver, and
			// all cores are busy with those of all ranks.
			l.CopyGBps = 2 * l.HostGBps / float64(l.Cores)
		}
	}
	if len(p.Local) > 0 {
		l.Local = f.link("messages in a host", p.Local, l.Overhead)
	}
	if len(p.Remote) > 0 {
		l.Remote = f.link("messages between hosts", p.Remote, l.Overhead)
	}
	if len(p.Outward) > 0 {
		_, rate := f.line("messages of all ranks to another host", p.Outward)
		l.NICGBps = rate * ranks
	}
	if len(p.Fold) > 0 {
		_, l.FoldGBps = f.line("folding", p.Fold)
	}
	if len(p.Tick) > 0 {
		l.Memory.Tick = f.level("ticks", p.Tick)
	}
	if len(p.Memory) > 0 {
		_, rate := f.line("copies of all ranks", p.Memory)
		l.Memory.GBps = rate * ranks
		cores := ranks
		if l.Cores > 0 {
			cores = min(cores, float64(l.Cores))
		}
		l.Memory.CoreGBps = l.Memory.GBps / cores
	}
	return l, median(f.misses), f.err
}

// FitLink is the latency and the bandwidth of messages that take Latency + bytes/GBps, and
// the median by which it misses the samples.
func FitLink(samples []Sample) (link Link, residual float64, err error) {
	f := fitter{}
	latency, rate := f.line("messages", samples)
	return Link{duration(latency), rate}, median(f.misses), f.err
}

// FitRate is the rate of something that takes bytes/GBps and a start, which is left out.
func FitRate(samples []Sample) (gbps, residual float64, err error) {
	f := fitter{}
	_, rate := f.line("bytes", samples)
	return rate, median(f.misses), f.err
}

// fitter gathers by how much fits miss, and the first that fails.
type fitter struct {
	misses []float64
	err    error
}

// link is a line from which a message's overhead on both ends is taken.
func (f *fitter) link(what string, samples []Sample, overhead time.Duration) Link {
	latency, rate := f.line(what, samples)
	return Link{duration(max(0, latency-2*float64(overhead))), rate}
}

// level is the median of times that do not depend on bytes.
func (f *fitter) level(what string, samples []Sample) time.Duration {
	points := medians(samples)
	if len(points) == 0 {
		f.fail(what, "there are no times above 0")
		return 0
	}
	var times []float64
	for _, p := range points {
		times = append(times, p.y)
	}
	at := median(times)
	for _, y := range times {
		f.misses = append(f.misses, math.Abs(at-y)/y)
	}
	return duration(at)
}

// line is a and the inverse of b in time = a + b·bytes, a and b not negative, in nanoseconds.
// The sum of squared relative errors is least over the medians of each size; what misses by
// far more than the rest is then left out once, as long as most remains.
func (f *fitter) line(what string, samples []Sample) (start, gbps float64) {
	points := medians(samples)
	if len(points) == 0 {
		f.fail(what, "there are no times above 0")
		return 0, 0
	}
	a, b := weighted(points)
	if misses := missesOf(points, a, b); len(points) > 4 {
		limit := max(4*median(misses), 0.02)
		kept := make([]point, 0, len(points))
		for i, p := range points {
			if misses[i] <= limit {
				kept = append(kept, p)
			}
		}
		if 2*len(kept) > len(points) && spread(kept) == spread(points) {
			a, b = weighted(kept)
		}
	}
	f.misses = append(f.misses, missesOf(points, a, b)...)
	if b <= 0 {
		if spread(points) {
			return a, 0 // as fast as can be told
		}
		f.fail(what, "all samples have the same size, and one can't tell the start from the rate")
		return a, 0
	}
	return a, 1 / b
}

func (f *fitter) fail(what, why string) {
	if f.err == nil {
		f.err = fmt.Errorf("topology: can't fit %s: %w", what, errors.New(why))
	}
}

type point struct{ x, y float64 }

// medians is a point for each size. Times that are not above 0 are no times.
func medians(samples []Sample) []point {
	bySize := make(map[int64][]float64)
	for _, s := range samples {
		if s.Time > 0 && s.Bytes >= 0 {
			bySize[s.Bytes] = append(bySize[s.Bytes], float64(s.Time))
		}
	}
	points := make([]point, 0, len(bySize))
	for bytes, times := range bySize {
		points = append(points, point{float64(bytes), median(times)})
	}
	slices.SortFunc(points, func(p, q point) int { return cmp.Compare(p.x, q.x) })
	return points
}

// spread says whether there are two sizes, so that a line has a slope.
func spread(points []point) bool { return len(points) > 1 }

// weighted is the line of least squared relative error, neither a nor b negative.
func weighted(points []point) (a, b float64) {
	var w, wx, wxx, wy, wxy float64
	for _, p := range points {
		v := 1 / (p.y * p.y)
		w, wx, wxx, wy, wxy = w+v, wx+v*p.x, wxx+v*p.x*p.x, wy+v*p.y, wxy+v*p.x*p.y
	}
	if d := w*wxx - wx*wx; d > 1e-12*w*wxx {
		a, b = (wy*wxx-wx*wxy)/d, (w*wxy-wx*wy)/d
	}
	switch {
	case a > 0 && b > 0:
		return a, b
	case b <= 0 && len(points) > 1, wxx == 0:
		return wy / w, 0
	}
	return 0, wxy / wxx
}

func missesOf(points []point, a, b float64) []float64 {
	misses := make([]float64, len(points))
	for i, p := range points {
		misses[i] = math.Abs(a+b*p.x-p.y) / p.y
	}
	return misses
}

// median is 0 of nothing.
func median(x []float64) float64 {
	if len(x) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(x))
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}
