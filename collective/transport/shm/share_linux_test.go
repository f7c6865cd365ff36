package shm

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/collective/transport/tcp"
)

// joinAll has fabrics join a generation on the hosts named, one letter a rank.
func joinAll(t *testing.T, gen uint64, hosts string, fabrics ...*Fabric) ([]*Mesh, []error) {
	t.Helper()
	var peers []transport.Peer
	for rank, f := range fabrics {
		peers = append(peers, transport.Peer{Rank: rank, Host: hosts[rank : rank+1], Addr: f.Addr()})
	}
	meshes, errs := make([]*Mesh, len(fabrics)), make([]error, len(fabrics))
	var ranks sync.WaitGroup
	for rank, f := range fabrics {
		ranks.Go(func() {
			m, err := f.Mesh(t.Context(), gen, rank, peers)
			meshes[rank], _ = m.(*Mesh)
			errs[rank] = err
		})
	}
	ranks.Wait()
	return meshes, errs
}

func closeAll(t *testing.T, meshes []*Mesh) {
	t.Helper()
	var ranks sync.WaitGroup
	for _, m := range meshes {
		ranks.Go(func() {
			if err := m.Close(nil); err != nil {
				t.Error(err)
			}
		})
	}
	ranks.Wait()
}

// Ranks 0, 2 and 3 share a host, 1 and 4 another. Frames go round, near and far in turns.
func TestHosts(t *testing.T) {
	const n = 5
	var fabrics []*Fabric
	for range n {
		fabrics = append(fabrics, open(t, Config{Require: true}))
	}
	for gen := range uint64(3) {
		meshes, errs := joinAll(t, gen+1, "xyxxy", fabrics...)
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		var ranks sync.WaitGroup
		for rank, m := range meshes {
			want := []int{0, 2, 3}
			if rank%3 == 1 {
				want = []int{1, 4}
			}
			if got := m.Sharing(); !slices.Equal(got, want) {
				t.Errorf("rank %d shares with %v, want %v", rank, got, want)
			}
			if _, err := m.Memory([]int{1, 0, 1, 4, 2}[rank], blocksAt(m.arena.size, m.arena.page), 1); err == nil {
				t.Errorf("rank %d reaches another host's memory", rank)
			}
			ranks.Go(func() {
				next, last := (rank+1)%n, (rank+n-1)%n
				to, err := m.Conn(next, 0)
				from, err2 := m.Conn(last, 0)
				if err := errors.Join(err, err2); err != nil {
					t.Error(err)
					return
				}
				for _, size := range []int{4, 10_000, 3 << 20} {
					out, in := bytes.Repeat([]byte{byte(rank)}, size), make([]byte, size)
					sent := make(chan error, 1)
					go func() { sent <- to.Send(transport.Tag{}, out) }()
					if err := errors.Join(from.Recv(transport.Tag{}, in, nil), <-sent); err != nil {
						t.Errorf("rank %d: %v", rank, err)
						return
					}
					if !bytes.Equal(in, bytes.Repeat([]byte{byte(last)}, size)) {
						t.Errorf("rank %d: others arrived", rank)
					}
				}
			})
		}
		ranks.Wait()
		closeAll(t, meshes)
	}
}

// Where one rank can't share, none of its host does, and all know why.
func TestOneCannot(t *testing.T) {
	fabrics := []*Fabric{open(t, Config{}), open(t, Config{}), open(t, Config{Forbid: true}), open(t, Config{})}
	meshes, errs := joinAll(t, 1, "xxxy", fabrics...)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for rank, m := range meshes[:3] {
		ok, why := m.Shared()
		if ok || !strings.Contains(why, "rank 0: the memory of rank 2") {
			t.Errorf("rank %d: shared %v, because of %q", rank, ok, why)
		}
		if got := m.Sharing(); !slices.Equal(got, []int{rank}) {
			t.Errorf("rank %d shares with %v", rank, got)
		}
		c, err := m.Conn((rank+1)%3, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := c.(*lane); ok {
			t.Errorf("rank %d has a lane in shared memory", rank)
		}
	}
	if ok, _ := meshes[3].Shared(); !ok {
		t.Error("rank 3 does not share with itself")
	}
	closeAll(t, meshes)

	// And then it has gone.
	meshes, errs = joinAll(t, 2, "xxx", fabrics[0], fabrics[1], fabrics[3])
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for rank, m := range meshes {
		if ok, why := m.Shared(); !ok || len(m.Sharing()) != 3 {
			t.Errorf("rank %d shares with %v: %s", rank, m.Sharing(), why)
		}
	}
	closeAll(t, meshes)
}

func TestRequired(t *testing.T) {
	_, errs := joinAll(t, 1, "xx", open(t, Config{Require: true}), open(t, Config{Forbid: true}))
	if err := errs[0]; err == nil || !strings.Contains(err.Error(), "cannot share memory") {
		t.Errorf("rank 0 joins with %v, want to read that memory is not shared", err)
	}
}

func TestBadOffers(t *testing.T) {
	f := open(t, Config{})
	good := f.offer()
	for name, change := range map[string]func(*offer){
		"none to share": func(o *offer) { o.size = 0 },
		"namespace":     func(o *offer) { o.space++ },
		"no process":    func(o *offer) { o.start++ },
		"/proc/":        func(o *offer) { o.fd = 0 },
		"no such":       func(o *offer) { o.fd = 1 << 20 },
		"what was":      func(o *offer) { o.nonce[3]++ },
		"may change":    func(o *offer) { o.size += 4096 },
		"it offers":     func(o *offer) { o.size = 4096 },
	} {
		bad := good
		change(&bad)
		if m, err := bad.open(f.arena.page); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v and %v", name, m, err)
		}
	}
	m, err := good.open(f.arena.page)
	if err != nil {
		t.Fatal(err)
	}
	m.unmap()
}

func TestConfig(t *testing.T) {
	inner, err := tcp.Listen(tcp.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	for _, c := range []Config{{Require: true, Forbid: true}, {Ring: 100 << 10}, {Ring: 4096}, {Ring: -1}} {
		if _, err := New(inner, c); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}

func TestReach(t *testing.T) {
	f := open(t, Config{Reach: 1})
	if p, err := f.Alloc(int(f.arena.size)); !errors.Is(err, unix.ENOMEM) {
		t.Errorf("got %d bytes and %v, want there to be no memory", len(p), err)
	}
	p, err := f.Alloc(32 << 20)
	if err != nil {
		t.Fatal(err)
	}
	p[len(p)-1] = 1
	if err := f.Free(p); err != nil {
		t.Error(err)
	}
}

// kept is how many bytes of memory the fabric takes.
func (f *Fabric) kept(t *testing.T) int64 {
	var stat unix.Stat_t
	if err := unix.Fstat(f.arena.fd, &stat); err != nil {
		t.Fatal(err)
	}
	return stat.Blocks * 512
}

func TestLeaks(t *testing.T) {
	var fabrics []*Fabric
	for range 3 {
		fabrics = append(fabrics, open(t, Config{Require: true}))
	}
	var maps int
	var kept int64
	for gen := range uint64(100) {
		members := fabrics
		if gen%10 == 9 { // one stays away, so that its view of the memory must be taken away
			members = fabrics[:2]
		}
		meshes, errs := joinAll(t, gen+1, "xxx", members...)
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		var ranks sync.WaitGroup
		for rank, m := range meshes {
			ranks.Go(func() {
				c, err := m.Conn((rank+1)%2, int(gen%5))
				if err == nil && rank < 2 {
					p, big := make([]byte, 1), make([]byte, 1<<20)
					if rank == 0 {
						err = errors.Join(c.Send(transport.Tag{}, big), c.Recv(transport.Tag{}, p, nil))
					} else {
						err = errors.Join(c.Recv(transport.Tag{}, big, nil), c.Send(transport.Tag{}, p))
					}
				}
				if err == nil && rank == 0 {
					p, e := m.Alloc(5 << 20)
					err = errors.Join(e, m.Free(p))
				}
				if err != nil {
					t.Errorf("generation %d, rank %d: %v", gen, rank, err)
				}
			})
		}
		ranks.Wait()
		if gen%7 == 3 {
			meshes[0].Close(fmt.Errorf("try again"))
		}
		closeAll(t, meshes)
		if gen == 18 {
			maps, kept = strings.Count(mapped(t), "\n"), fabrics[0].kept(t)
		}
	}
	if n := strings.Count(mapped(t), "\n"); n > maps {
		t.Errorf("%d mappings after 100 generations, %d before", n, maps)
	}
	if n := fabrics[0].kept(t); n > kept {
		t.Errorf("%d bytes of memory after 100 generations, %d before", n, kept)
	}
}
