package topology

import (
	"testing"
	"time"
)

func TestSharedMemoryCostsTicksAndBytes(t *testing.T) {
	l := Links{Memory: Memory{Tick: time.Microsecond, GBps: 32, CoreGBps: 16}}
	for _, c := range []struct {
		ranks, cores int
		bytes        int64
		copies       bool
		want         time.Duration
	}{
		{1, 2, 1 << 20, false, 0},
		{2, 2, 0, false, 2 * time.Microsecond},
		{2, 2, 16e6, false, 2*time.Microsecond + 2*time.Millisecond},   // 32 MB each at 16 GB/s
		{4, 2, 16e6, false, 2*time.Microsecond + 4*time.Millisecond},   // in turns
		{4, 0, 16e6, false, 2*time.Microsecond + 4*time.Millisecond},   // 128 MB in all at 32 GB/s
		{2, 2, 16e6, true, 2*time.Microsecond + 5500*time.Microsecond}, // 88 MB each
	} {
		l.Cores = c.cores
		if got := SharedTime(c.ranks, c.bytes, l, c.copies); got != c.want {
			t.Errorf("%d ranks on %d cores, %d bytes, copies %v: %v, want %v", c.ranks, c.cores, c.bytes, c.copies, got, c.want)
		}
	}
	l.Memory.Cache = Cache{Bytes: 4 << 20, GBps: 320, CoreGBps: 160}
	if in, out := SharedTime(2, 2<<20, l, false), SharedTime(2, 3<<20, l, false); 10*in > out {
		t.Errorf("in the caches %v, beyond them %v", in, out)
	}
}
