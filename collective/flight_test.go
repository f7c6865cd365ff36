package collective_test

import (
	"errors"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/collective"
	"github.com/gorun-ml/gorun/collective/collectivetest"
	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/kernels"
)

// A rank knows its last operations: those of all lanes, in their order, and which of them
// has not ended.
func TestFlight(t *testing.T) {
	const reduces = 300
	loopback().Run(t, 2, func(t testing.TB, rank int, c *collective.Comm) { // where time passes
		if f := c.Flight(); len(f) != 0 {
			t.Fatalf("before any operation: %+v", f)
		}
		x := kernels.Of([]float32{1, 2, 3})
		for step := range reduces {
			c.At(step)
			if err := c.AllReduce(x, kernels.Max); err != nil {
				t.Fatal(err)
			}
		}
		c.At(reduces)
		if err := c.Lane(2).StartNamed("bucket w", x, kernels.Sum).Wait(); err != nil {
			t.Fatal(err)
		}
		if err := c.Barrier(); err != nil {
			t.Fatal(err)
		}
		all := c.Flight()
		if len(all) != 256 {
			t.Fatalf("%d operations, want the last 256", len(all))
		}
		began := time.Time{}
		for i, f := range all {
			if f.Begun.Before(began) || f.Ended.Before(f.Begun) {
				t.Fatalf("operation %d: begun %v after %v, ended %v", i, f.Begun, began, f.Ended)
			}
			began = f.Begun
		}
		for back, want := range []collective.Flown{
			{Operation: "barrier", Lane: 0, Seq: reduces, Step: reduces},
			{Operation: "all-reduce", Name: "bucket w", Type: "float32", Bytes: 12, Lane: 2, Step: reduces},
			{Operation: "all-reduce", Type: "float32", Bytes: 12, Lane: 0, Seq: reduces - 1, Step: reduces - 1},
		} {
			got := all[len(all)-1-back]
			got.Begun, got.Ended = time.Time{}, time.Time{}
			if got != want {
				t.Errorf("%d before the last: %+v, want %+v", back, got, want)
			}
		}
	})
}

func TestFlightShowsWhatHasFailed(t *testing.T) {
	collectivetest.Run(t, 2, func(t testing.TB, rank int, c *collective.Comm) {
		x := kernels.Of(make([]int64, 2+rank))
		if err := c.AllReduce(x, kernels.Sum); !errors.Is(err, transport.ErrMismatch) {
			t.Fatalf("all-reduce of different lengths: %v", err)
		}
		all := c.Flight()
		if len(all) != 1 || all[0].Bytes != int64(16+8*rank) || all[0].Begun.IsZero() || !all[0].Ended.IsZero() {
			t.Errorf("%+v, want one of %d bytes that has not ended", all, 16+8*rank)
		}
	})
}

// What it costs to note an operation.
func BenchmarkFlight(b *testing.B) {
	note, end := collective.Noting()
	defer end()
	b.ReportAllocs()
	for b.Loop() {
		note()
	}
}

func TestNotingAllocatesNothing(t *testing.T) {
	note, end := collective.Noting()
	defer end()
	if n := testing.AllocsPerRun(1000, note); n != 0 {
		t.Errorf("%v allocations an operation, want none", n)
	}
}
