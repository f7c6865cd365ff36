package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/internal/rendezvous"
)

// freePort is a port that was free just now.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

func bareMember(rank int) rendezvous.Member {
	return rendezvous.Member{ID: fmt.Sprintf("r%d", rank), Host: "h1", Addr: fmt.Sprintf("h1:%d", rank), Slot: rank}
}

// enter dials and registers.
func enter(t testing.TB, rank, size, port int) *Bare {
	t.Helper()
	b, err := DialBare(t.Context(), rank, size, "127.0.0.1", port)
	if err != nil {
		t.Errorf("rank %d: %v", rank, err)
		return nil
	}
	if err := b.Register(t.Context(), bareMember(rank)); err != nil {
		t.Errorf("rank %d: %v", rank, err)
	}
	return b
}

func TestBareJobFromStartToEnd(t *testing.T) {
	const size = 5
	port := freePort(t)
	var done sync.WaitGroup
	var secrets [size][SecretBytes]byte
	var jobs [size]string
	start := make([]chan struct{}, size) // ranks start from the last to the first
	for r := range start {
		start[r] = make(chan struct{})
	}
	for rank := range size {
		done.Go(func() {
			<-start[rank]
			if rank > 0 {
				close(start[rank-1])
			}
			b := enter(t, rank, size, port)
			if b == nil {
				return
			}
			defer func() { _ = b.Close() }()
			secrets[rank], jobs[rank] = b.Secret(), b.Job()
			g, err := b.Watch(t.Context(), 0)
			if err != nil || g.ID != 1 || len(g.Members) != size {
				t.Errorf("rank %d: first generation is %+v (%v)", rank, g, err)
				return
			}
			for r, m := range g.Members {
				if m != bareMember(r) {
					t.Errorf("rank %d sees %+v as rank %d", rank, m, r)
				}
			}
			if b.Bind() != "127.0.0.1" {
				t.Errorf("rank %d binds %s", rank, b.Bind())
			}
			if err := errors.Join(b.Report(Report{}), b.Say(t.Context(), "x"), b.Saved(t.Context(), Saved{}), b.Finish(t.Context(), Finish{})); err != nil {
				t.Errorf("rank %d: %v", rank, err)
			}
			if g, err := b.Watch(t.Context(), 1); err != nil || !g.Done || g.ID != 2 {
				t.Errorf("rank %d: the last generation is %+v (%v)", rank, g, err)
			}
		})
	}
	close(start[size-1])
	done.Wait()
	for r := range size {
		if secrets[r] != secrets[0] || jobs[r] != jobs[0] || jobs[r] == "" {
			t.Errorf("rank %d has another secret or job (%q) than rank 0 (%q)", r, jobs[r], jobs[0])
		}
	}
	if secrets[0] == [SecretBytes]byte{} {
		t.Error("the secret is all zeros")
	}
}

func TestBareRefusals(t *testing.T) {
	port := freePort(t)
	zero := enter(t, 0, 3, port)
	defer func() { _ = zero.Close() }()
	one := enter(t, 1, 3, port)
	defer func() { _ = one.Close() }()

	for _, x := range []struct {
		name       string
		rank, size int
		addr       string
		port       int
		want       string
	}{
		{"a rank that is there", 1, 3, "127.0.0.1", port, "RANK=1 is there already"},
		{"another size", 2, 4, "127.0.0.1", port, "rank 2 has WORLD_SIZE=4, rank 0 has 3"},
		{"a second rank 0", 0, 3, "127.0.0.1", port, fmt.Sprintf("MASTER_PORT=%d on 127.0.0.1 is in use", port)},
		{"rank 0 elsewhere", 0, 3, "192.0.2.1", port, "MASTER_ADDR=192.0.2.1, which is not an address of this host"},
		{"no size", 0, 0, "127.0.0.1", port, "WORLD_SIZE=0"},
		{"no such rank", 3, 3, "127.0.0.1", port, "RANK=3 is not within 0 to 2"},
		{"no address", 1, 3, "", port, "MASTER_ADDR is empty"},
		{"no port", 1, 3, "127.0.0.1", 0, "MASTER_PORT=0"},
	} {
		b, err := DialBare(t.Context(), x.rank, x.size, x.addr, x.port)
		if err == nil {
			_ = b.Close()
		}
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", x.name, err, x.want)
		}
	}
	if err := one.Register(t.Context(), bareMember(1)); err != nil {
		t.Errorf("registering twice: %v, want nothing to happen", err)
	}
	two, err := DialBare(t.Context(), 2, 3, "127.0.0.1", port)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = two.Close() }()
	if err := two.Finish(t.Context(), Finish{}); err == nil || !strings.Contains(err.Error(), "before the job has begun") {
		t.Errorf("an early finish: %v", err)
	}
	if err := two.Register(t.Context(), bareMember(1)); err == nil || !strings.Contains(err.Error(), "rank 2 registers for slot 1") {
		t.Errorf("registering for another's slot: %v", err)
	}
}

func TestBareNobodyThere(t *testing.T) {
	cause := errors.New("the user has waited enough")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, cause)
	defer cancel()
	_, err := DialBare(ctx, 1, 2, "127.0.0.1", freePort(t))
	if !errors.Is(err, cause) || !strings.Contains(err.Error(), "is rank 0 running") {
		t.Errorf("dialling nobody: %v", err)
	}
}

// What one rank does ends the watches of the others.
func TestBareEndsWithARank(t *testing.T) {
	for _, x := range []struct {
		name string
		end  func(t *testing.T, ranks []*Bare)
		want string
	}{
		{"lost", func(_ *testing.T, r []*Bare) { _ = r[2].Close() }, "rank 2 was lost"},
		{"failed", func(t *testing.T, r []*Bare) {
			if err := r[2].Fail(t.Context(), Failure{Detail: "out of memory"}); err != nil {
				t.Error(err)
			}
		}, "rank 2 failed: out of memory"},
		{"without rank 0", func(_ *testing.T, r []*Bare) { _ = r[0].Close() }, "rank 0"},
	} {
		t.Run(x.name, func(t *testing.T) {
			port := freePort(t)
			var ranks []*Bare
			for r := range 3 {
				b := enter(t, r, 3, port)
				defer func() { _ = b.Close() }()
				ranks = append(ranks, b)
			}
			if _, err := ranks[1].Watch(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			result := make(chan error)
			go func() {
				_, err := ranks[1].Watch(t.Context(), 1)
				result <- err
			}()
			x.end(t, ranks)
			if err := <-result; !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), x.want) {
				t.Errorf("rank 1's watch says %v, want %v and %q", err, ErrLost, x.want)
			}
		})
	}
}

func TestBareSurvivesStrangers(t *testing.T) {
	port := freePort(t)
	zero := enter(t, 0, 2, port)
	defer func() { _ = zero.Close() }()
	for _, said := range []string{
		"", "\n", "GET / HTTP/1.1\r\n\r\n", "{}\n", `{"op":"watch"}` + "\n", `{"op":"hello","body":[]}` + "\n",
		strings.Repeat("x", MaxMessage+10),
	} {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte(said))
		_ = c.Close()
	}
	one := enter(t, 1, 2, port)
	defer func() { _ = one.Close() }()
	if g, err := one.Watch(t.Context(), 0); err != nil || g.ID != 1 {
		t.Errorf("the job has not begun: %v", err)
	}
}
