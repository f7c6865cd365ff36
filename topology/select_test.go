package topology

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func find(t *testing.T, k Kind, name string) Algorithm {
	t.Helper()
	n, err := Find(k, name)
	if err != nil {
		t.Fatal(err)
	}
	return n.Algorithm(0)
}

// The model has to agree with the closed forms where these hold.
func TestEstimateOfARing(t *testing.T) {
	const n, bytes = 8, 64 << 20
	l := Links{Remote: Link{20 * time.Microsecond, 1}, NICGBps: 1}
	got := Estimate(Uniform(n, n), Ring, bytes, l)
	want := 2 * (n - 1) * (20*time.Microsecond + time.Duration(bytes/n)) // 1 GB/s is 1 ns a byte
	if diff := got - want; diff < -want/100 || diff > want/100 {
		t.Errorf("%d ranks on hosts of their own: %v, want %v", n, got, want)
	}
	l.FoldGBps = 2 // half of the steps fold
	want += (n - 1) * bytes / n / 2
	if got = Estimate(Uniform(n, n), Ring, bytes, l); got < want-want/100 || got > want+want/100 {
		t.Errorf("with the time for folding: %v, want %v", got, want)
	}
}

func TestEstimateOfDoubling(t *testing.T) {
	l := Links{Remote: Link{Latency: 20 * time.Microsecond}, Overhead: time.Microsecond}
	if got, want := Estimate(Uniform(16, 16), Doubling, 4, l), 4*22*time.Microsecond; got != want {
		t.Errorf("16 ranks: %v, want 4 steps of 22 µs, %v", got, want)
	}
}

// Four ranks of a host send over one link: sharing it costs what it would take one rank to
// send everything.
func TestHostsShareTheirLinks(t *testing.T) {
	w := World{Hosts: []int{0, 0, 0, 0, 1, 1, 1, 1}}
	var plans []Plan
	for rank := range 8 {
		steps := []Step{send(rank+4, Span{0, 0, 1})}
		if rank >= 4 {
			steps = []Step{recv(rank-4, Span{0, 0, 1}, true)}
		}
		plans = append(plans, Plan{Rank: rank, Size: 8, Chunks: 1, Tracks: [][]Step{steps}})
	}
	l := Links{Remote: Link{GBps: 1}, NICGBps: 1}
	if got, want := EstimatePlans(w, plans, 1e6, l), 4*time.Millisecond; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	l.NICGBps = 0
	if got, want := EstimatePlans(w, plans, 1e6, l), time.Millisecond; got != want {
		t.Errorf("with links of their own: got %v, want %v", got, want)
	}
	l.Pairs = map[[2]int]Link{{0, 1}: {time.Millisecond, 0.5}}
	if got, want := EstimatePlans(w, plans, 1e6, l), 3*time.Millisecond; got != want {
		t.Errorf("with a slow pair: got %v, want %v", got, want)
	}
}

func TestEstimateRanksAlgorithmsAsThePapersDo(t *testing.T) {
	flat, hosts := Uniform(16, 16), Uniform(32, 4)
	links := TenGigabit()
	links.Handoff = 0 // papers know nothing of goroutines
	for _, c := range []struct {
		w              World
		bytes          int64
		faster, slower string
	}{
		{flat, 4, "doubling", "ring"},
		{flat, 4, "halving-doubling", "ring"},
		{flat, 4, "doubling", "halving-doubling"},
		{flat, 64 << 10, "halving-doubling", "ring"},
		{flat, 64 << 20, "ring", "doubling"},
		{flat, 64 << 20, "ring", "tree"},
		{flat, 64 << 20, "double-tree-32", "tree-8"},
		{Uniform(15, 15), 64 << 20, "circulant", "halving-doubling"}, // not a power of two
		{Uniform(64, 64), 1 << 20, "double-tree-8", "ring"},
		{hosts, 64 << 10, "hierarchical", "ring"},
		{hosts, 64 << 20, "hierarchical-16", "hierarchical"},
		{hosts, 64 << 20, "hierarchical-16", "direct"},
	} {
		fast := Estimate(c.w, find(t, AllReduce, c.faster), c.bytes, links)
		slow := Estimate(c.w, find(t, AllReduce, c.slower), c.bytes, links)
		if fast >= slow {
			t.Errorf("%v, %s: %s %v, %s %v: want the first to be faster", c.w, size(c.bytes), c.faster, fast, c.slower, slow)
		}
	}
	// On large data nothing is much better than a ring.
	best := Select(flat, Collective{}, 256<<20, Gigabit())
	if best.Name != "ring" {
		t.Errorf("256 MiB over 16 hosts: %s", best.Why)
	}
}

func TestLowerBoundsAreBounds(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 4))
	for _, a := range Algorithms() {
		for range 20 {
			w := Uniform(1+random.IntN(20), 1+random.IntN(5))
			bytes := int64(1) << random.IntN(28)
			for _, n := range networks {
				l := n.links()
				took := newTimeline(w, Plans(w, a.Algorithm(0)), bytes, l).run(1e18)
				if low := lower(w, a.Algorithm(0), bytes, l); low > took*(1+1e-9) {
					t.Errorf("%v %s, %v, %s: at least %v, predicted %v", a.Kind, a.Name, w, size(bytes), low, took)
				}
			}
		}
	}
}

func TestTimelineHasEveryStepOnce(t *testing.T) {
	for _, a := range Algorithms() {
		w := Uniform(7, 3)
		plans := Plans(w, a.Algorithm(0))
		left := make(map[[3]int]bool)
		for rank, p := range plans {
			for track, steps := range p.Tracks {
				for step := range steps {
					left[[3]int{rank, track, step}] = true
				}
			}
		}
		total := time.Duration(0)
		for _, e := range Timeline(w, plans, 1<<20, TenGigabit()) {
			if !left[[3]int{e.Rank, e.Track, e.Step}] || e.End < e.Start || e.End < total {
				t.Errorf("%v %s: %+v again or out of order", a.Kind, a.Name, e)
			}
			total = e.End
			delete(left, [3]int{e.Rank, e.Track, e.Step})
		}
		if len(left) > 0 {
			t.Errorf("%v %s: %d steps never end: %v", a.Kind, a.Name, len(left), left)
		}
		if want := Estimate(w, a.Algorithm(0), 1<<20, TenGigabit()); total != want {
			t.Errorf("%v %s: the last step ends at %v, Estimate says %v", a.Kind, a.Name, total, want)
		}
	}
}

func TestSelectIsWithinATenthOfTheBest(t *testing.T) {
	for _, w := range []World{Uniform(1, 1), Uniform(2, 1), Uniform(4, 1), Uniform(12, 3), Uniform(13, 4), Uniform(24, 3)} {
		for k := range Kind(len(kindNames)) {
			for bytes := int64(4); bytes <= 64<<20; bytes *= 64 {
				for _, n := range networks {
					c := Collective{Kind: k, Root: w.Size() - 1}
					choice := Select(w, c, bytes, n.links())
					var times []time.Duration
					for _, a := range AlgorithmsFor(k) {
						times = append(times, Estimate(w, a.Algorithm(c.Root), bytes, n.links()))
					}
					if best := slices.Min(times); float64(choice.Time) > 1.1*float64(best)+1 {
						t.Errorf("%v, best %v: %v", choice.Why, best, times)
					}
					if again := Select(w, c, bytes, n.links()); again.ID != choice.ID || again.Why != choice.Why {
						t.Errorf("first %s, then %s", choice.Why, again.Why)
					}
					if err := Verify(c, Plans(w, choice.Algorithm)); err != nil {
						t.Error(err)
					}
				}
			}
		}
	}
}

func TestNetworksAreNamed(t *testing.T) {
	if _, err := Network("10g"); err != nil {
		t.Error(err)
	}
	if _, err := Network("pigeon"); err == nil || !strings.Contains(err.Error(), `no network "pigeon": choose one of loopback, 1g, 10g`) {
		t.Errorf("got %v", err)
	}
}

func TestAgendaIsInOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 5))
	var a agenda
	last := moment{}
	for i := range 10000 {
		if len(a) == 0 || random.IntN(2) == 0 {
			a.add(moment{last.at + float64(random.IntN(8)), int32(i)})
			continue
		}
		next := a.next()
		if next.before(last) && next.at < last.at {
			t.Fatalf("%v after %v", next, last)
		}
		last = next
	}
}
