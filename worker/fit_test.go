package worker

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/internal/rendezvous"
	"github.com/gorun-ml/gorun/topology"
	"github.com/gorun-ml/gorun/worker/probe"
)

// linksIn runs a job of three ranks that keep their costs in dir, and returns what each
// session of each rank took communication to cost.
func linksIn(t *testing.T, dir string, network Network, kill bool) []topology.Links {
	t.Helper()
	var mu sync.Mutex
	var all []topology.Links
	began := make(chan struct{}, 16)
	p := Sampler{Samples: 64, Batch: 16, Epochs: 20, Seed: 1}
	data := newWaves(p.Samples, 5)
	errs, _ := RunCluster(t, 3, control.Checkpointing{}, func(r *Rank) error {
		r.P.cache = dir
		st := &State{Model: newRegression(5, 8, 1), Optimizer: &heavyBall{}, Rate: Constant(0.01), Network: network}
		return r.Run(st, func(_ context.Context, s *Session) error {
			mu.Lock()
			all = append(all, s.Links())
			mu.Unlock()
			began <- struct{}{}
			for step := range s.Steps(p) {
				if _, err := s.Train(step, data.row); err != nil {
					return err
				}
			}
			return s.Err()
		})
	}, func(c *Cluster) {
		<-began
		if kill {
			c.Kill(0)
		}
	})
	if len(errs) > 0 {
		t.Fatal(errors.Join(errs...))
	}
	return all
}

func sameLinks(t *testing.T, all []topology.Links, want topology.Links) {
	t.Helper()
	for _, l := range all {
		if !reflect.DeepEqual(l, want) {
			t.Fatalf("links %+v, want %+v", l, want)
		}
	}
}

// What one job has measured, the next one takes, and so do all ranks and generations, or
// two runs with one seed would differ. Who asks for it measures anew.
func TestCostsAreKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	usual := probe.Usual(topology.Uniform(3, 1))
	first := linksIn(t, dir, Network{}, true)
	if reflect.DeepEqual(first[0], usual) {
		t.Fatal("nothing was measured")
	}
	sameLinks(t, first, first[0])
	sameLinks(t, linksIn(t, dir, Network{}, true), first[0])
	sameLinks(t, linksIn(t, dir, Network{Deterministic: true}, true), usual)
	anew := linksIn(t, dir, Network{Measure: true}, false)
	sameLinks(t, anew, anew[0])
	if reflect.DeepEqual(anew[0], first[0]) {
		t.Error("the same to the last digit, measured anew")
	}
	sameLinks(t, linksIn(t, dir, Network{}, false), anew[0])

	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files %q, %v, want one", files, err)
	}
	for path, want := range map[string]os.FileMode{files[0]: 0o600, dir: 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v %v, want %v", path, info.Mode(), err, want)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("%q are left", left)
	}
}

// A job that encrypts pays more: it takes nothing from one that doesn't.
func TestCostsOfEncryptionAreItsOwn(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	plain := linksIn(t, dir, Network{}, false)
	secret := linksIn(t, dir, Network{Encrypt: true}, false)
	if reflect.DeepEqual(plain[0], secret[0]) {
		t.Error("the same to the last digit, measured apart")
	}
	sameLinks(t, linksIn(t, dir, Network{Encrypt: true}, false), secret[0])
	sameLinks(t, linksIn(t, dir, Network{}, false), plain[0])
}

// Where costs can't be kept, every job takes the same ones.
func TestCostsThatCannotBeKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	usual := probe.Usual(topology.Uniform(3, 1))
	sameLinks(t, linksIn(t, filepath.Join(file, "cache"), Network{}, false), usual)
	sameLinks(t, linksIn(t, "", Network{}, false), usual)
	if anew := linksIn(t, filepath.Join(file, "cache"), Network{Measure: true}, false); reflect.DeepEqual(anew[0], usual) {
		t.Error("nothing was measured, though it was asked for")
	}
}

// Old and damaged files are as good as none; the earlier of two jobs at once wins.
func TestRecall(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	path := fittingPath(dir, "here")
	if _, ok := recall(dir, "here", now); ok {
		t.Error("found what is not there")
	}
	a, b := newKeeper(dir, "here", false), newKeeper(dir, "here", false)
	if got := a.keep("here", topology.Gigabit(), now); !reflect.DeepEqual(got, topology.Gigabit()) {
		t.Errorf("kept %+v", got)
	}
	if got := b.keep("here", topology.Loopback(), now); !reflect.DeepEqual(got, topology.Gigabit()) {
		t.Errorf("the later job has %+v, want what the earlier kept", got)
	}
	for when, want := range map[time.Duration]bool{0: true, 6 * 24 * time.Hour: true, 8 * 24 * time.Hour: false, -2 * time.Hour: false} {
		if _, ok := recall(dir, "here", now.Add(when)); ok != want {
			t.Errorf("after %v: %v, want %v", when, ok, want)
		}
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "{}", string(good[:len(good)/2]), strings.Replace(string(good), "here", "there", 1), strings.Replace(string(good), `"GBps": `, `"GBps": -`, 1)} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, ok := recall(dir, "here", now); ok {
			t.Errorf("%q was believed", bad)
		}
		k := newKeeper(dir, "here", false)
		if got := k.keep("here", topology.Loopback(), now); !reflect.DeepEqual(got, topology.Loopback()) {
			t.Errorf("kept %+v", got)
		}
		if got, ok := recall(dir, "here", now); !ok || !reflect.DeepEqual(got, topology.Loopback()) {
			t.Errorf("%q was not replaced", bad)
		}
	}
}

// Which number a host has changes with who survives; what its links cost doesn't.
func TestLinksFollowHosts(t *testing.T) {
	members := func(hosts ...string) (gen rendezvous.Generation) {
		for _, h := range hosts {
			gen.Members = append(gen.Members, rendezvous.Member{Host: h})
		}
		return gen
	}
	before, after := members("c", "a", "b", "a"), members("a", "b", "c", "a")
	name, order := hostsOf(world(before), before.Members)
	later, turned := hostsOf(world(after), after.Members)
	if name != later || name != "a:2 b:1 c:1" || !slices.Equal(order, []int{2, 0, 1}) || !slices.Equal(turned, []int{0, 1, 2}) {
		t.Fatalf("%q %v, then %q %v", name, order, later, turned)
	}
	l := topology.Links{Pairs: map[[2]int]topology.Link{{0, 1}: {GBps: 1}}} // c to a
	l = renumber(renumber(l, order), inverse(turned))
	if want := map[[2]int]topology.Link{{2, 0}: {GBps: 1}}; !reflect.DeepEqual(l.Pairs, want) {
		t.Errorf("%v, want %v", l.Pairs, want)
	}
}
