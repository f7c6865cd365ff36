package worker

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/kernels"
)

// counted knows what of a fabric's memory is in use.
type counted struct {
	transport.Fabric
	mu    sync.Mutex
	live  map[*byte]int
	calls int
	bad   error
}

func (c *counted) Alloc(bytes int) ([]byte, error) {
	p, err := c.Fabric.Alloc(bytes)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.live[&p[0]] = len(p)
	c.calls++
	return p, err
}

func (c *counted) Free(p []byte) error {
	c.mu.Lock()
	if c.live[&p[0]] != len(p) {
		c.bad = errors.New("freed what Alloc did not return so")
	}
	delete(c.live, &p[0])
	c.mu.Unlock()
	return c.Fabric.Free(p)
}

// Sessions give back their buckets, however they end: generations don't add up.
func TestBucketsAreFreed(t *testing.T) {
	const kills = 20
	p := Sampler{Samples: 64, Batch: 16, Epochs: 100, Seed: 1}
	data := newWaves(p.Samples, 5)
	var mu sync.Mutex
	var all []*counted
	l := newLedger()
	errs, cluster := RunCluster(t, 3, control.Checkpointing{}, func(r *Rank) error {
		c := &counted{Fabric: r.P.fabric, live: map[*byte]int{}}
		r.P.fabric = c
		mu.Lock()
		all = append(all, c)
		mu.Unlock()
		m := newRegression(5, 8, 1)
		st := &State{Model: m, Optimizer: &heavyBall{}, Rate: Constant(0.01), BucketBytes: 64}
		return r.Run(st, func(_ context.Context, s *Session) error {
			// The second loop begins where the first has ended.
			for range 2 {
				for step := range s.Steps(p) {
					if _, err := l.train(s, step, data.row); err != nil {
						return err
					}
				}
			}
			return s.Err()
		})
	}, func(c *Cluster) {
		for kill := range kills {
			<-l.done
			c.Kill(kill % 3)
		}
	})
	if len(errs) > 0 {
		t.Fatal(errors.Join(errs...))
	}
	if gen := cluster.Generation(); gen < 3 {
		t.Errorf("only %d generations", gen)
	}
	for i, c := range all {
		if c.bad != nil || len(c.live) > 0 {
			t.Errorf("process %d: %d buckets of %d are left: %v", i, len(c.live), c.calls, c.bad)
		}
	}
}

type noMemory struct{ left int }

var errNoMemory = errors.New("no memory")

func (n *noMemory) Alloc(bytes int) ([]byte, error) {
	if n.left--; n.left < 0 {
		return nil, errNoMemory
	}
	return transport.Pages(bytes)
}

func (n *noMemory) Free([]byte) error { n.left++; return nil }

// Where memory ends, what was had of it is given back.
func TestBucketsWithoutMemory(t *testing.T) {
	params := []Tensor{{Name: "a", Data: kernels.Of(make([]float32, 4))}, {Name: "b", Data: kernels.Of(make([]float32, 4))}}
	n := &noMemory{left: 1}
	if _, err := newBuckets(params, []int{0, 1}, limits{16, 16}, n); !errors.Is(err, errNoMemory) {
		t.Fatal(err)
	}
	if n.left != 0 { // -1 was refused, 1 came back
		t.Errorf("%d allocations are left, want all but the refused", n.left)
	}
	b, err := newBuckets(params, []int{0, 1}, limits{16, 16}, &noMemory{left: 2})
	if err != nil || len(b.list) != 2 {
		t.Fatal(b, err)
	}
	if err := errors.Join(b.free(), b.free()); err != nil {
		t.Error(err)
	}
}

func TestBucketLimits(t *testing.T) {
	var params []Tensor
	for range 6 {
		params = append(params, Tensor{Name: "p", Data: kernels.Of(make([]float32, 4))})
	}
	b, err := newBuckets(params, []int{5, 4, 3, 2, 1, 0}, limits{first: 16, rest: 48}, &noMemory{left: 9})
	if err != nil {
		t.Fatal(err)
	}
	var sizes []int
	for _, k := range b.list {
		sizes = append(sizes, len(k.data))
	}
	if len(sizes) != 3 || sizes[0] != 4 || sizes[1] != 12 || sizes[2] != 8+1 {
		t.Errorf("buckets of %v numbers, want 4, 12 and 9, the last with the loss", sizes)
	}
}
