package bench

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gorun-ml/gorun/collective"
	"github.com/gorun-ml/gorun/collective/collectivetest"
	"github.com/gorun-ml/gorun/topology"
)

func TestParseSizes(t *testing.T) {
	got, err := ParseSizes("4,64K,16m")
	if err != nil || !slices.Equal(got, []int{4, 64 << 10, 16 << 20}) {
		t.Errorf("4,64K,16m = %v, %v", got, err)
	}
	for _, bad := range []string{"", "3", "4,", "x", "-4", "0", "4G", "99999999999999999999", "1048576000M"} {
		if got, err := ParseSizes(bad); err == nil {
			t.Errorf("%q = %v, want an error", bad, got)
		}
	}
}

func FuzzParseSizes(f *testing.F) {
	f.Add("4,64K,16M")
	f.Fuzz(func(t *testing.T, list string) {
		sizes, err := ParseSizes(list)
		for _, n := range sizes {
			if err == nil && (n < 4 || n%4 != 0) {
				t.Errorf("%q gave %d", list, n)
			}
		}
	})
}

func TestRow(t *testing.T) {
	r := measured("x", 4, 1<<20, []float64{0.004, 0.001, 0.002})
	if got, want := r.row(), "x,4,1048576,3,1000.00,2000.00,4000.00,0.5243,0.7864"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := strings.Count(r.row(), ","), strings.Count(columns, ","); got != want {
		t.Errorf("%d commas, the columns' names have %d", got, want)
	}
}

func TestGoroutines(t *testing.T) {
	for _, alloc := range []string{allocShared, allocSlice} {
		o := Options{Name: "test", Seconds: 0.01, Alloc: alloc}
		if err := o.goroutines(t.Context(), 3, []int{4, 4096}); err != nil {
			t.Errorf("%s: %v", alloc, err)
		}
	}
}

func TestCheckOptions(t *testing.T) {
	good := Options{Sizes: "4", Seconds: 1, Ranks: 1, Alloc: allocSlice}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*Options){
		`-s 3: "3" is not a size`:           func(o *Options) { o.Sizes = "3" },
		"-t 0: want more than 0":            func(o *Options) { o.Seconds = 0 },
		"-t NaN: want more":                 func(o *Options) { o.Seconds = math.NaN() },
		"-ranks 0":                          func(o *Options) { o.Ranks = 0 },
		"-alloc heap: want shared or slice": func(o *Options) { o.Alloc = "heap" },
		`transport "rdma": want one of inproc, auto, shm, tcp`:  func(o *Options) { o.Transport = "rdma" },
		`there is no all-reduce algorithm "square": choose one`: func(o *Options) { o.Algorithm = "square" },
		"leave out -algorithm":                                  func(o *Options) { o.Explain, o.Algorithm = true, "ring" },
		"choose another -transport":                             func(o *Options) { o.Explain, o.Transport = true, InProcess },
	} {
		o := good
		change(&o)
		if err := o.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// The chosen algorithm is judged by medians, and the best comes first.
func TestJudge(t *testing.T) {
	collectivetest.Run(t, 2, func(t testing.TB, _ int, c *collective.Comm) {
		b := &benchmark{Options: &Options{}, comm: c, links: topology.Loopback()}
		e := b.judge(4096, "ring", []Trial{
			{Algorithm: "direct", Predicted: 900},
			{Algorithm: "ring", Predicted: 100, times: []float64{3e-4, 1e-4, 2e-4}},
			{Algorithm: "tree", Predicted: 120, times: []float64{1e-4}},
		})
		if e.Best != "tree" || e.Measured != 200 || math.Abs(e.Regret-100) > 1e-9 || math.Abs(e.Error+50) > 1e-9 {
			t.Errorf("%+v", e)
		}
		var out strings.Builder
		if err := e.write(&out); err != nil {
			t.Error(err)
		}
		for _, want := range []string{
			"4 KiB: ring, because: all-reduce of 4 KiB on 2 ranks on 1 host: ",
			"  measured 200 µs, predicted 100 µs, error -50 %, regret 100.0 % against tree\n",
			"not tried     900 µs  direct\n",
		} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q is missing in\n%s", want, out.String())
			}
		}
		if tree, direct := strings.Index(out.String(), "  tree\n"), strings.Index(out.String(), "  direct\n"); tree > direct {
			t.Errorf("the best isn't first:\n%s", out.String())
		}
	})
}
