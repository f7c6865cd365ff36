package probe

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/collective/transport/inproc"
	"github.com/gorun-ml/gorun/collective/transport/shm"
	"github.com/gorun-ml/gorun/collective/transport/tcp"
	"github.com/gorun-ml/gorun/topology"
)

// run has f on every rank of a world, over the fabrics that make gives.
func run(t *testing.T, w topology.World, make func(rank int) transport.Fabric, f func(rank int, mesh transport.Mesh) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var peers []transport.Peer
	var fabrics []transport.Fabric
	for r, host := range w.Hosts {
		fabrics = append(fabrics, make(r))
		peers = append(peers, transport.Peer{Rank: r, ID: strconv.Itoa(r), Host: fmt.Sprintf("h%d", host), Addr: fabrics[r].Addr()})
	}
	errs := slices.Repeat([]error{nil}, len(peers))
	var ranks sync.WaitGroup
	for r := range peers {
		ranks.Go(func() {
			mesh, err := fabrics[r].Mesh(ctx, 1, r, peers)
			if err == nil {
				err = f(r, mesh)
				mesh.Close(err)
			}
			errs[r] = err
		})
	}
	ranks.Wait()
	for r := range peers {
		if errs[r] != nil {
			t.Errorf("rank %d of %v: %v", r, w, errs[r])
		}
		if err := fabrics[r].Close(); err != nil {
			t.Error(err)
		}
	}
}

func overInproc() func(int) transport.Fabric {
	network := inproc.NewNetwork()
	return func(rank int) transport.Fabric { return network.Fabric(strconv.Itoa(rank)) }
}

// over is tcp, and shared memory inside hosts where that is asked for.
func over(t *testing.T, share bool) func(int) transport.Fabric {
	return func(int) transport.Fabric {
		f, err := tcp.Listen(tcp.Config{Job: "probe", Version: "test"})
		if err != nil {
			t.Fatal(err)
		}
		s, err := shm.New(f, shm.Config{Forbid: !share})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

// measured is what rank 0 finds, and how long that took.
func measured(t *testing.T, w topology.World, make func(int) transport.Fabric) (l topology.Links, took time.Duration) {
	run(t, w, make, func(rank int, mesh transport.Mesh) error {
		start := time.Now()
		found, err := Measure(mesh, w, rank)
		if rank == 0 {
			l, took = found, time.Since(start)
		}
		return err
	})
	return l, took
}

// All that a world of that shape has is measured, whatever the shape.
func TestMeasure(t *testing.T) {
	for _, w := range []topology.World{
		topology.Uniform(2, 1), topology.Uniform(3, 1), topology.Uniform(2, 2), topology.Uniform(5, 5),
		topology.Uniform(4, 2), topology.Uniform(7, 3),
		{Hosts: []int{0, 1, 1, 1}},
		{Hosts: []int{0, 1, 0, 1, 2, 0}},
	} {
		for name, make := range map[string]func(int) transport.Fabric{"inproc": overInproc(), "tcp": over(t, false), "shm": over(t, true)} {
			l, took := measured(t, w, make)
			t.Logf("%v over %s in %v: %+v", w, name, took.Round(time.Millisecond), l)
			if err := check(l); err != nil {
				t.Errorf("%v over %s: %v", w, name, err)
			}
			before := Usual(w)
			switch one := len(w.ByHost()) == 1; {
			case l.FoldGBps == before.FoldGBps, l.Overhead == before.Overhead, l.Memory.GBps == before.Memory.GBps, l.Memory.Cache.Bytes == 0:
				t.Errorf("%v over %s: the processor was not measured: %+v", w, name, l)
			case !one && (l.Remote == before.Remote || l.NICGBps == before.NICGBps || len(l.Pairs) == 0):
				t.Errorf("%v over %s: the hosts' links were not measured: %+v", w, name, l)
			case len(w.ByHost()) < w.Size() && (l.Local == before.Local || l.HostGBps == before.HostGBps):
				t.Errorf("%v over %s: messages in a host were not measured: %+v", w, name, l)
			}
		}
	}
}

// Up to four hosts are measured pair by pair, and no host is in two pairs at once.
func TestRounds(t *testing.T) {
	for hosts := 1; hosts < 40; hosts++ {
		pairs := map[[2]int]bool{}
		for _, differ := range rounds(hosts) {
			if differ <= 0 {
				t.Fatalf("%d hosts: a host is its own partner", hosts)
			}
			for h := range hosts {
				if h^differ < hosts {
					pairs[[2]int{h, h ^ differ}] = true
				}
			}
		}
		if hosts <= 4 && len(pairs) != hosts*(hosts-1) {
			t.Errorf("%d hosts: %d pairs, want all", hosts, len(pairs))
		}
		if len(rounds(hosts)) > mostRounds {
			t.Errorf("%d hosts: %d rounds", hosts, len(rounds(hosts)))
		}
	}
}

// What many measured becomes one cost: the slowest rank counts, the rest is fitted.
func TestLinksOfTimes(t *testing.T) {
	const latency, gbps, overhead = 50e-6, 0.112, 4e-6
	w := topology.Uniform(2, 2)
	all := make([]times, 2)
	for i, bytes := range sizes[remote] {
		all[0][remote][i] = latency + 2*overhead + float64(bytes)/gbps*1e-9
	}
	all[0][burst][0] = overhead
	for i, bytes := range sizes[outward] {
		all[0][outward][i] = 1e-6
		all[1][outward][i] = 2*latency + float64(bytes)/0.1*1e-9
	}
	l, err := links(w, all, 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range []topology.Link{l.Remote, l.Pairs[[2]int{0, 1}], l.Pairs[[2]int{1, 0}]} {
		if d := link.Latency - 50*time.Microsecond; d < -time.Microsecond || d > time.Microsecond || math.Abs(link.GBps-gbps) > 1e-3 {
			t.Errorf("a link of %v and %g GB/s, want 50µs and %g", link.Latency, link.GBps, gbps)
		}
	}
	if math.Abs(l.NICGBps-0.1) > 1e-3 || l.Overhead != 4*time.Microsecond {
		t.Errorf("NIC %g GB/s, overhead %v", l.NICGBps, l.Overhead)
	}
}

func TestTell(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5, 8, 13} {
		for _, said := range []string{"", "x", string(make([]byte, 100_000))} {
			run(t, topology.Uniform(n, 1), overInproc(), func(rank int, mesh transport.Mesh) error {
				mine := []byte("nonsense")
				if rank == 0 {
					mine = []byte(said)
				}
				heard, err := Tell(mesh, rank, n, mine)
				if err == nil && string(heard) != said {
					err = fmt.Errorf("heard %d bytes, want %d", len(heard), len(said))
				}
				if err == nil { // nobody leaves before all have heard
					_, err = newTree(mesh, rank, n).barrier(0)
				}
				return err
			})
		}
	}
}

func TestEncode(t *testing.T) {
	for _, l := range []topology.Links{{}, topology.Gigabit(), {
		Pairs: map[[2]int]topology.Link{{0, 1}: {Latency: 3, GBps: 0.5}, {7, 2}: {Latency: 4, GBps: 1.5}}, Racks: []int{0, 1},
	}} {
		got, err := Decode(Encode(l))
		if err != nil || !reflect.DeepEqual(got, l) {
			t.Errorf("%+v, %v, want %+v", got, err, l)
		}
	}
	for _, bad := range []string{"", "{", `{"Local":{"GBps":-1}}`, `{"Overhead":-5}`, `{"Pairs":[{"GBps":-2}]}`} {
		if _, err := Decode([]byte(bad)); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(Encode(topology.Gigabit()))
	f.Fuzz(func(t *testing.T, text []byte) {
		if l, err := Decode(text); err == nil {
			if _, err := Decode(Encode(l)); err != nil {
				t.Error(err)
			}
		}
	})
}
