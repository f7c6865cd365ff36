package faulty_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/collective/transport/faulty"
	"github.com/gorun-ml/gorun/collective/transport/inproc"
	"github.com/gorun-ml/gorun/collective/transport/tcp"
	"github.com/gorun-ml/gorun/collective/transport/transporttest"
)

func TestHealthyFrames(t *testing.T) {
	transporttest.Run(t, func(t *testing.T, n int) []transport.Fabric {
		network := inproc.NewNetwork()
		var fabrics []transport.Fabric
		for i := range n {
			fabrics = append(fabrics, faulty.Wrap(network.Fabric(fmt.Sprint("f", i)), faulty.Plan{}))
		}
		return fabrics
	})
}

func TestHealthyWindows(t *testing.T) {
	transporttest.RunWindows(t, func(t *testing.T, n int) []transport.Fabric {
		network := inproc.NewNetwork()
		var fabrics []transport.Fabric
		for i := range n {
			fabrics = append(fabrics, faulty.Wrap(network.Fabric(fmt.Sprint("f", i)), faulty.Plan{Window: true}))
		}
		return fabrics
	})
}

// A plan that does not ask for it hides that ranks reach each other's memory.
func TestHiddenWindow(t *testing.T) {
	f := faulty.Wrap(inproc.NewNetwork().Fabric("0"), faulty.Plan{})
	m, err := f.Mesh(t.Context(), 1, 0, []transport.Peer{{Host: "h", Addr: "0"}})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close(nil)
	if _, ok := m.(transport.Window); ok {
		t.Error("the mesh is a window")
	}
}

// listen opens n fabrics; rank 0's lanes have b's faults.
func listen(t *testing.T, n int, encrypt bool, b faulty.Bytes) []transport.Fabric {
	t.Helper()
	var fabrics []transport.Fabric
	for rank := range n {
		c := tcp.Config{Job: "faulty", Checksum: tcp.Always, Encrypt: encrypt}
		if rank == 0 {
			c.Wrap = faulty.Stream(b)
		}
		f, err := tcp.Listen(c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		fabrics = append(fabrics, f)
	}
	return fabrics
}

func TestPieces(t *testing.T) {
	for _, encrypt := range []bool{false, true} {
		transporttest.Run(t, func(t *testing.T, n int) []transport.Fabric {
			return listen(t, n, encrypt, faulty.Bytes{Seed: 7, Pieces: 5000})
		})
	}
}

// talk lets two ranks exchange frames of n bytes, rank 2 listen to rank 1, and returns how
// it ended for each.
func talk(t *testing.T, ctx context.Context, fabrics []transport.Fabric, gen uint64, n int) []error {
	var peers []transport.Peer
	for rank, f := range fabrics {
		peers = append(peers, transport.Peer{Rank: rank, Host: fmt.Sprint("h", rank), Addr: f.Addr()})
	}
	errs := make([]error, len(fabrics))
	var ranks sync.WaitGroup
	for rank, f := range fabrics {
		ranks.Go(func() {
			m, err := f.Mesh(ctx, gen, rank, peers)
			if err != nil {
				errs[rank] = err
				return
			}
			defer m.Close(nil)
			errs[rank] = func() error {
				c, err := m.Conn([]int{1, 0, 1}[rank], rank/2)
				if err != nil {
					return err
				}
				p := make([]byte, n)
				for i := range 10 {
					if rank == 2 {
						return c.Recv(transport.Tag{Kind: 9}, p, nil)
					}
					if rank == 0 {
						err = c.Send(transport.Tag{Seq: uint32(i)}, p)
					} else {
						err = c.Recv(transport.Tag{Seq: uint32(i)}, p, func(dst, src []byte) {})
					}
					if err != nil {
						return err
					}
				}
				return nil
			}()
		})
	}
	ranks.Wait()
	return errs
}

// Every byte of a frame is under a checksum: header, payload, and the checksum itself.
func TestFlipsAreFound(t *testing.T) {
	const n = 9000 // more than travels with its header
	var at []int64
	for i := int64(1); i <= 36; i++ {
		at = append(at, i)
	}
	at = append(at, 37, 5000, 36+n, 36+n+1, 36+n+4, 36+n+5, 3*(36+n)+17)
	for _, at := range at {
		flipped(t, false, n, at)
	}
}

// So is every byte of an encrypted frame, by the tags of its records and by their lengths.
func TestFlipsOfRecordsAreFound(t *testing.T) {
	const n = 9000
	for at := int64(1); at <= 8+36+16+8; at++ { // the header's record, and the head of the next
		flipped(t, true, n, at)
	}
	const frame = 8 + 36 + 16 + 8 + n + 16
	for _, at := range []int64{69, 5000, frame - 16, frame - 15, frame, frame + 1, 3*frame + 17} {
		flipped(t, true, n, at)
	}
}

// flipped has two ranks end because a bit of the byte at, from 1, of what rank 0 sends in
// frames of n bytes is not what it was.
func flipped(t *testing.T, encrypt bool, n int, at int64) {
	t.Helper()
	fabrics := listen(t, 3, encrypt, faulty.Bytes{Seed: uint64(at), FlipAt: at})
	errs := talk(t, t.Context(), fabrics, 1, n)
	for _, rank := range []int{1, 2} {
		if !errors.Is(errs[rank], transport.ErrCorrupt) {
			t.Errorf("byte %d flipped: rank %d ends with %v, want a corrupt frame", at, rank, errs[rank])
		}
	}
	if peer, ok := errors.AsType[*transport.PeerError](errs[1]); !ok || peer.Rank != 0 {
		t.Errorf("byte %d flipped: %v does not name the link to rank 0", at, errs[1])
	}
}

func TestResetEndsAll(t *testing.T) {
	for _, at := range []int64{1, 20, 37, 400, 9036, 9037, 50000} {
		for _, encrypt := range []bool{false, true} {
			errs := talk(t, t.Context(), listen(t, 3, encrypt, faulty.Bytes{ResetAt: at}), 1, 9000)
			for rank, err := range errs {
				if !errors.Is(err, transport.ErrLost) {
					t.Errorf("reset at byte %d, encrypted %v: rank %d ends with %v, want a lost connection", at, encrypt, rank, err)
				}
			}
		}
	}
}

func TestStallLastsUntilTheEnd(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("no progress")
	fabrics := listen(t, 3, false, faulty.Bytes{StallAt: 5000})
	timer := time.AfterFunc(300*time.Millisecond, func() { cancel(why) })
	defer timer.Stop()
	for rank, err := range talk(t, ctx, fabrics, 1, 9000) {
		if !errors.Is(err, why) && !errors.Is(err, transport.ErrAborted) {
			t.Errorf("rank %d ends with %v, want the context's cause", rank, err)
		}
	}
}

// bubble runs talk over goroutines, rank 0 with faults, and returns what the clock says.
func bubble(t *testing.T, p faulty.Plan, n int, check func(errs []error, took time.Duration)) {
	synctest.Test(t, func(t *testing.T) {
		network := inproc.NewNetwork()
		fabrics := []transport.Fabric{faulty.Wrap(network.Fabric("0"), p), network.Fabric("1")}
		start := time.Now()
		errs := talk(t, t.Context(), fabrics, 1, n)
		check(errs, time.Since(start))
	})
}

func TestPlans(t *testing.T) {
	const n = 100_000
	fine := func(errs []error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Error(err)
		}
	}
	bubble(t, faulty.Plan{BytesPerSecond: 1e6}, n, func(errs []error, took time.Duration) {
		fine(errs)
		if took != time.Second {
			t.Errorf("1 MB at 1 MB/s took %v", took)
		}
	})
	var first time.Duration
	for range 2 {
		bubble(t, faulty.Plan{Seed: 3, Delay: time.Second}, n, func(errs []error, took time.Duration) {
			fine(errs)
			if took == 0 || took > 10*time.Second || first != 0 && took != first {
				t.Errorf("10 frames delayed by up to a second took %v, the first time %v", took, first)
			}
			first = took
		})
	}
	bubble(t, faulty.Plan{StallAfter: 5, StallFor: time.Minute}, n, func(errs []error, took time.Duration) {
		fine(errs)
		if took != time.Minute {
			t.Errorf("a stall of a minute took %v", took)
		}
	})
	bubble(t, faulty.Plan{ResetAfter: 5}, n, func(errs []error, took time.Duration) {
		for rank, err := range errs {
			if !errors.Is(err, transport.ErrLost) {
				t.Errorf("rank %d ends with %v, want a lost connection", rank, err)
			}
		}
	})
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		plan faulty.Plan
		took time.Duration
		err  error
	}{
		{faulty.Plan{BytesPerSecond: transport.NoteBytes}, 10 * time.Second, nil},
		{faulty.Plan{StallAfter: 3, StallFor: time.Hour}, time.Hour, nil},
		{faulty.Plan{StallAfter: 3}, time.Minute, transport.ErrAborted},
		{faulty.Plan{ResetAfter: 3}, 0, transport.ErrLost},
	} {
		synctest.Test(t, func(t *testing.T) {
			c.plan.Window = true
			network := inproc.NewNetwork()
			fabrics := []transport.Fabric{faulty.Wrap(network.Fabric("0"), c.plan), network.Fabric("1")}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if c.took == time.Minute {
				defer time.AfterFunc(c.took, cancel).Stop()
			}
			peers := []transport.Peer{{Rank: 0, Host: "h", Addr: "0"}, {Rank: 1, Host: "h", Addr: "1"}}
			start := time.Now()
			var ranks sync.WaitGroup
			for rank, f := range fabrics {
				ranks.Go(func() {
					m, err := f.Mesh(ctx, 1, rank, peers)
					if err != nil {
						t.Error(err)
						return
					}
					defer m.Close(nil)
					b, err := m.(transport.Window).Board(0)
					for tick := uint32(1); tick <= 10 && err == nil; tick++ {
						b.Publish(tick)
						err = b.Await(1-rank, tick)
					}
					if c.err == nil && err != nil || c.err != nil && !errors.Is(err, c.err) && !errors.Is(err, context.Canceled) {
						t.Errorf("%+v: rank %d ends with %v, want %v", c.plan, rank, err, c.err)
					}
				})
			}
			ranks.Wait()
			if took := time.Since(start); took != c.took {
				t.Errorf("%+v: 10 ticks took %v, want %v", c.plan, took, c.took)
			}
		})
	}
}
