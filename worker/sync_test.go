package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/gorun-ml/gorun/collective"
	"github.com/gorun-ml/gorun/collective/collectivetest"
	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/collective/transport/inproc"
	"github.com/gorun-ml/gorun/kernels"
	"github.com/gorun-ml/gorun/topology"
)

// trained is a state of two tensors full of a number.
func trained(step int, ready bool, value float32) *State {
	full := func(n int) kernels.Vector { return kernels.Of(slices.Repeat([]float32{value}, n)) }
	return &State{step: step, ready: ready, all: []Tensor{{Name: "a", Data: full(1000)}, {Name: "b", Data: full(7)}}}
}

// values are the different numbers in a state.
func (st *State) values() []float32 {
	var all []float32
	for _, t := range st.all {
		all = append(all, kernels.As[float32](t.Data)...)
	}
	return slices.Compact(all)
}

// Who lacks the newest state gets it, from one that has it, and nobody else waits for that.
func TestTheNewestStateGoesToWhoLacksIt(t *testing.T) {
	ready := func(step int) standing { return standing{ready: true, step: step} }
	for _, c := range []struct {
		all  []standing
		from int
		want []int
	}{
		{[]standing{{}, {}, {}}, 0, []int{0, 1, 2}},
		{[]standing{ready(7), ready(7), {}, ready(7)}, 0, []int{0, 2}},
		{[]standing{ready(6), ready(7), ready(7), {}}, 1, []int{0, 1, 3}},
		{[]standing{{}, {}, ready(0)}, 2, []int{0, 1, 2}},
	} {
		if from, _ := newest(c.all); from != c.from || !slices.Equal(takers(c.all, from), c.want) {
			t.Errorf("%v: from rank %d to %v, want from %d to %v", c.all, from, takers(c.all, from), c.from, c.want)
		}
	}
	collectivetest.Run(t, 5, func(t testing.TB, rank int, c *collective.Comm) {
		st := trained(9, true, 9)
		switch rank {
		case 1:
			st = trained(8, true, 8) // was about to apply the step
		case 3:
			st = trained(0, false, 0) // has just been started
		}
		err := synchronise(c, st, "", func() error { return errors.New("begun anew") })
		if err != nil || st.step != 9 || !st.ready || !slices.Equal(st.values(), []float32{9}) {
			t.Errorf("step %d of %v: %v", st.step, st.values(), err)
		}
		x := []int64{1}
		if err := c.AllReduce(kernels.Of(x), kernels.Sum); err != nil || x[0] != 5 {
			t.Errorf("%d ranks go on, want 5: %v", x[0], err)
		}
	})
}

// A rank that is lost while it gives its state leaves the others with theirs.
func TestHalfAStateIsWorthNothing(t *testing.T) {
	network := inproc.NewNetwork()
	peers := []transport.Peer{{Rank: 0, ID: "0", Host: "h", Addr: "0"}, {Rank: 1, ID: "1", Host: "h", Addr: "1"}}
	fabrics := []transport.Fabric{network.Fabric("0"), network.Fabric("1")}
	lost := errors.New("it is lost")
	st := trained(8, true, 8)
	var ranks sync.WaitGroup
	errs := make([]error, len(peers))
	for rank, f := range fabrics {
		ranks.Go(func() {
			errs[rank] = func() error {
				mesh, err := f.Mesh(context.Background(), 1, rank, peers)
				if err != nil {
					return err
				}
				c := collective.New(mesh, topology.World{Hosts: []int{0, 0}}, rank, collective.Options{})
				if rank == 0 {
					counts := []int64{9, 0, 0, 0, 0}
					err = errors.Join(c.Broadcast(kernels.Of(counts), 0), c.Broadcast(trained(9, true, 9).all[0].Data, 0))
					if err != nil {
						return err
					}
					_ = c.AllReduce(kernels.Of([]int64{1}), kernels.Sum) // returns once the other has noticed that this is no broadcast
					return errors.Join(mesh.Close(lost), c.Close(), f.Close())
				}
				if err := stream(c, st, 0); err == nil {
					return fmt.Errorf("it has a whole state from a rank that was lost")
				}
				return errors.Join(mesh.Close(nil), c.Close(), f.Close())
			}()
		})
	}
	ranks.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	if !slices.Equal(st.values(), []float32{8}) || st.step != 8 || !st.ready {
		t.Errorf("left with %v of step %d, want what it had of step 8", st.values(), st.step)
	}
}
