//go:build unix

package topology

import (
	"fmt"
	"testing"
	"time"
)

func BenchmarkEstimateOf8192(b *testing.B) {
	w := Uniform(8192, 1024)
	for _, bytes := range []int64{4, 1 << 20, 256 << 20} {
		for _, a := range AlgorithmsFor(AllReduce) {
			b.Run(fmt.Sprintf("%d/%s", bytes, a.Name), func(b *testing.B) {
				before := processorTime(b)
				for b.Loop() {
					Estimate(w, a.Algorithm(0), bytes, TenGigabit())
				}
				processor(b, before)
			})
		}
	}
}

func BenchmarkSelectOf(b *testing.B) {
	for _, n := range []int{2, 4, 16, 1024} {
		for _, bytes := range []int64{4, 64 << 10, 1 << 20, 256 << 20} {
			b.Run(fmt.Sprintf("%d/%d", n, bytes), func(b *testing.B) {
				before := processorTime(b)
				for b.Loop() {
					Select(Uniform(n, max(1, n/8)), Collective{}, bytes, TenGigabit())
				}
				processor(b, before)
			})
		}
	}
}

// processor reports the processor's time, which a busy machine does not change.
func processor(b *testing.B, before time.Duration) {
	b.Helper()
	b.ReportMetric(1e3*(processorTime(b)-before).Seconds()/float64(b.N), "cpu-ms/op")
}
