package worker

import (
	"slices"
	"testing"
)

func TestSamplerIsAPartition(t *testing.T) {
	for _, p := range []Sampler{
		{Samples: 100, Batch: 8, Epochs: 3, Seed: 1},
		{Samples: 7, Batch: 64, Epochs: 2},
		{Samples: 64, Batch: 3, Epochs: 2, Seed: 9},
		{Samples: 50, Batch: 4, Epochs: 2, ScaleBatch: true},
	} {
		for _, size := range []int{1, 2, 3, 4, 7, 16} {
			per := p.stepsPerEpoch(size)
			for epoch := range p.Epochs {
				var all []int
				for i := range per {
					var ofStep, weight int
					for rank := range size {
						step := newShares(p, nil).step(epoch*per+i, rank, size)
						if len(step.Samples) > p.rows(size) {
							t.Fatalf("%+v on %d: a share of %d, compiled for %d rows", p, size, len(step.Samples), p.rows(size))
						}
						if step.Epoch != epoch {
							t.Fatalf("%+v: step %d is of epoch %d, want %d", p, step.Number, step.Epoch, epoch)
						}
						all = append(all, step.Samples...)
						ofStep, weight = ofStep+len(step.Samples), step.Weight
					}
					if ofStep != weight {
						t.Fatalf("%+v on %d: weight %d for %d samples", p, size, weight, ofStep)
					}
				}
				slices.Sort(all)
				if len(all) != p.Samples || len(slices.Compact(all)) != p.Samples {
					t.Fatalf("%+v on %d ranks, epoch %d: not every sample exactly once", p, size, epoch)
				}
			}
		}
	}
}

func TestStepConsumesTheSameWhateverTheWorld(t *testing.T) {
	p := Sampler{Samples: 1000, Batch: 60, Epochs: 2, Seed: 5}
	for t0 := range p.stepsPerEpoch(1) * p.Epochs {
		want := newShares(p, nil).step(t0, 0, 1).Samples
		for _, size := range []int{2, 5, 8} {
			var got []int
			for rank := range size {
				got = append(got, newShares(p, nil).step(t0, rank, size).Samples...)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("step %d on %d ranks: %v, want %v", t0, size, got, want)
			}
		}
	}
}

func TestEpochsAreShuffledAnew(t *testing.T) {
	s := newShares(Sampler{Samples: 100, Batch: 100, Epochs: 2, Seed: 3}, nil)
	a := slices.Clone(s.step(0, 0, 1).Samples)
	b := s.step(1, 0, 1).Samples
	if slices.Equal(a, b) {
		t.Fatal("two epochs have the same order")
	}
}

func TestSchedules(t *testing.T) {
	s := WarmUp(4, Decay(10, 0.5, Scaled(Constant(0.1))))
	for _, c := range []struct {
		step int
		want float64
	}{{0, 0.04}, {3, 0.16}, {4, 0.2}, {9, 0.2}, {10, 0.1}, {20, 0.05}} {
		if got := s(c.step, 2); got < c.want-1e-12 || got > c.want+1e-12 {
			t.Errorf("rate of step %d on 2 ranks = %g, want %g", c.step, got, c.want)
		}
	}
}
