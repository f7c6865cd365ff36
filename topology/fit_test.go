package topology

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// near says whether a number is within a part of what it should be.
func near(got, want, part float64) bool { return math.Abs(got-want) <= part*want }

// noisy is samples of a known cost, each a little off, some far off, as a busy machine gives.
func noisy(random *rand.Rand, cost func(bytes int64) float64) []Sample {
	var samples []Sample
	for bytes := int64(4); bytes <= 64<<20; bytes *= 4 {
		for range 15 {
			ns := cost(bytes) * (1 + 0.05*random.NormFloat64())
			if random.IntN(10) == 0 {
				ns *= 1 + 20*random.Float64()
			}
			samples = append(samples, Sample{bytes, time.Duration(max(1, ns))})
		}
	}
	return samples
}

func TestFitFindsWhatTheSamplesWereMadeOf(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 7))
	want := Links{
		Local: Link{8 * time.Microsecond, 3}, Remote: Link{40 * time.Microsecond, 1.1}, Overhead: 2 * time.Microsecond,
		CopyGBps: 4, FoldGBps: 6, Cores: 2, HostGBps: 4, NICGBps: 1.15, Memory: Memory{500 * time.Nanosecond, 20, 10, Cache{}},
	}
	pair := func(l Link) func(int64) float64 {
		return func(bytes int64) float64 { return float64(l.Latency+2*want.Overhead) + over(bytes, l.GBps) }
	}
	each := func(gbps float64) func(int64) float64 { // of 4 ranks
		return func(bytes int64) float64 { return 20e3 + over(4*bytes, gbps) }
	}
	got, residual, err := Fit(Probes{
		Local: noisy(random, pair(want.Local)), Remote: noisy(random, pair(want.Remote)),
		Burst:    noisy(random, func(int64) float64 { return float64(want.Overhead) })[:30],
		Together: noisy(random, each(want.HostGBps)), Outward: noisy(random, each(want.NICGBps)),
		Fold:   noisy(random, func(bytes int64) float64 { return 30 + over(bytes, want.FoldGBps) }),
		Tick:   noisy(random, func(int64) float64 { return float64(want.Memory.Tick) }),
		Memory: noisy(random, each(want.Memory.GBps)), Ranks: 4,
	}, Links{Cores: 2})
	if err != nil || residual > 0.05 {
		t.Fatalf("misses by %v, %v", residual, err)
	}
	for name, pair := range map[string][2]float64{
		"local latency":  {float64(got.Local.Latency), float64(want.Local.Latency)},
		"local rate":     {got.Local.GBps, want.Local.GBps},
		"remote latency": {float64(got.Remote.Latency), float64(want.Remote.Latency)},
		"remote rate":    {got.Remote.GBps, want.Remote.GBps},
		"overhead":       {float64(got.Overhead), float64(want.Overhead)},
		"copies":         {got.CopyGBps, want.CopyGBps},
		"folds":          {got.FoldGBps, want.FoldGBps},
		"host":           {got.HostGBps, want.HostGBps},
		"card":           {got.NICGBps, want.NICGBps},
		"tick":           {float64(got.Memory.Tick), float64(want.Memory.Tick)},
		"memory":         {got.Memory.GBps, want.Memory.GBps},
		"memory, a core": {got.Memory.CoreGBps, want.Memory.CoreGBps},
	} {
		if !near(pair[0], pair[1], 0.08) {
			t.Errorf("%s: %g, want %g", name, pair[0], pair[1])
		}
	}
}

func TestFitOfLittle(t *testing.T) {
	link, residual, err := FitLink([]Sample{{0, 10000}, {1 << 20, 10000 + 1<<20}})
	if err != nil || residual > 1e-6 || link.Latency < 9999 || link.Latency > 10001 || !near(link.GBps, 1, 1e-6) {
		t.Errorf("two points: %v, misses by %v, %v", link, residual, err)
	}
	if rate, _, err := FitRate([]Sample{{1000, 500}}); err != nil || !near(rate, 2, 1e-9) {
		t.Errorf("one point: %v, %v", rate, err)
	}
	// Noise can make longer messages faster: that is no limit, not a negative one.
	if link, _, err := FitLink([]Sample{{4, 1000}, {400, 990}}); err != nil || link.GBps != 0 || link.Latency < 990 || link.Latency > 1000 {
		t.Errorf("falling times: %v, %v", link, err)
	}
	for _, samples := range [][]Sample{nil, {{4, 0}}, {{-1, 5}}} {
		if _, _, err := FitLink(samples); err == nil || !strings.Contains(err.Error(), "no times above 0") {
			t.Errorf("%v: %v", samples, err)
		}
	}
	l := TenGigabit()
	if got, _, err := Fit(Probes{}, l); err != nil || got.Remote != l.Remote || got.Overhead != l.Overhead {
		t.Errorf("no probes: %+v, %v", got, err)
	}
}
