package worker

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// What was trained with one version goes on with another: the order is rand.Perm's.
func TestOrderIsThatOfPerm(t *testing.T) {
	for _, samples := range []int{1, 2, 3, ahead - 1, ahead, ahead + 1, ahead + 2, 1000, 100_003} {
		for epoch := range 3 {
			want := rand.New(rand.NewPCG(7, uint64(epoch))).Perm(samples)
			if got := shuffle(samples, 7, epoch).deal(nil, 0, samples); !slices.Equal(got, want) {
				t.Errorf("epoch %d of %d samples is not in the order of rand.Perm", epoch, samples)
			}
		}
	}
}

// A session goes on with the order of the one before it where that is the same.
func TestOrderIsKept(t *testing.T) {
	p := Sampler{Samples: 100, Batch: 10, Epochs: 2, Seed: 3}
	was := newShares(p, nil)
	was.step(3, 0, 2)
	s := newShares(p, was)
	s.step(3, 0, 4)
	if s.order != was.order {
		t.Error("the order was drawn anew within an epoch")
	}
	for _, other := range []Sampler{{Samples: 100, Batch: 10, Seed: 4}, {Samples: 99, Batch: 10, Seed: 3}} {
		got, want := newShares(other, was), newShares(other, nil)
		if !slices.Equal(got.step(3, 0, 1).Samples, want.step(3, 0, 1).Samples) {
			t.Errorf("%v deals from another's order", other)
		}
	}
}

func BenchmarkShuffle(b *testing.B) {
	for b.Loop() {
		shuffle(16<<20, 1, 0)
	}
}
