package collective_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/gorun-ml/gorun/collective"
	"github.com/gorun-ml/gorun/collective/collectivetest"
	"github.com/gorun-ml/gorun/kernels"
)

// reduce checks one all-reduce on a lane, told from others by salt.
func reduce(l *collective.Lane, n, rank, size, salt int) error {
	x := make([]int64, size)
	for i := range x {
		x[i] = int64(salt*1000 + rank + i)
	}
	if err := l.AllReduce(kernels.Of(x), kernels.Sum); err != nil {
		return err
	}
	return summed(x, n, salt)
}

func summed(x []int64, n, salt int) error {
	for i := range x {
		if want := int64(n*(salt*1000+i) + n*(n-1)/2); x[i] != want {
			return fmt.Errorf("operation with salt %d: x[%d] = %d, want %d", salt, i, x[i], want)
		}
	}
	return nil
}

func TestLanesRunAtOnce(t *testing.T) {
	setup := collectivetest.Setup{Options: collective.Options{Lanes: 6, Tracks: 4}}
	for _, n := range []int{1, 2, 5} {
		setup.Run(t, n, func(t testing.TB, rank int, c *collective.Comm) {
			var all sync.WaitGroup
			for lane := range c.Lanes() {
				all.Go(func() {
					for k, size := range []int{1, 70_000, 0, 300, 20_000} {
						if err := reduce(c.Lane(lane), n, rank, size*(lane+1), 10*lane+k); err != nil {
							t.Errorf("lane %d: %v", lane, err)
							return
						}
					}
				})
			}
			all.Wait()
		})
	}
}

// A rank may be busy on one lane while the others wait for it on another.
func TestLanesDoNotWaitForEachOther(t *testing.T) {
	collectivetest.Run(t, 3, func(t testing.TB, rank int, c *collective.Comm) {
		lanes := []int{1, 2}
		if rank == 2 {
			lanes = []int{2, 1}
		}
		var handles []*collective.Handle
		x := [2][]int64{make([]int64, 5), make([]int64, 5)}
		for _, l := range lanes {
			handles = append(handles, c.Lane(l).Start(kernels.Of(x[l-1]), kernels.Sum))
		}
		for _, h := range handles {
			if err := h.Wait(); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestStartedOperationsRunInOrder(t *testing.T) {
	setup := collectivetest.Setup{Options: collective.Options{Queue: 3}}
	for _, n := range []int{1, 2, 4} {
		setup.Run(t, n, func(t testing.TB, rank int, c *collective.Comm) {
			const operations = 40
			l := c.Lane(1)
			var handles []*collective.Handle
			var data [][]int64
			for k := range operations {
				x := make([]int64, 1+k*k*k%997)
				for i := range x {
					x[i] = int64(k*1000 + rank + i)
				}
				data = append(data, x)
				handles = append(handles, l.StartNamed(fmt.Sprintf("bucket %d", k), kernels.Of(x), kernels.Sum))
			}
			// Waits for those started before, and comes after them on all ranks.
			if err := reduce(l, n, rank, 17, 99); err != nil {
				t.Fatal(err)
			}
			for k := range handles {
				k = operations - 1 - k // in any order
				if err := handles[k].Wait(); err != nil {
					t.Fatal(err)
				}
				if err := summed(data[k], n, k); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestClosedCommunicator(t *testing.T) {
	collectivetest.Run(t, 2, func(t testing.TB, rank int, c *collective.Comm) {
		h := c.Lane(0).Start(floats(1000), kernels.Sum)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if err := h.Wait(); err != nil {
			t.Fatalf("what was started before Close did not end well: %v", err)
		}
		want := "all-reduce 1 (4 B float32 sum): the communicator is closed"
		if err := c.AllReduce(floats(1), kernels.Sum); err == nil || err.Error() != want {
			t.Errorf("AllReduce: %v, want %s", err, want)
		}
		if err := c.Lane(0).Start(floats(1), kernels.Sum).Wait(); err == nil {
			t.Error("Start worked on a closed communicator")
		}
		if err := c.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
	})
}
