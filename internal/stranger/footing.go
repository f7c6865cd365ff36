package stranger

import (
	"os"
	"runtime"
	"testing"
	"time"
)

// footing is what strangers could use up.
type footing struct {
	goroutines, files int
	heap              uint64
}

const (
	lookEvery = 5 * time.Millisecond
	heapMore  = 4 << 20 // that may remain: buffers that libraries keep for the next to come
)

func measure(t *testing.T) footing {
	t.Helper()
	runtime.GC()
	runtime.GC() // what the first finalized
	f := footing{goroutines: runtime.NumGoroutine(), heap: heap()}
	if all, err := os.ReadDir("/proc/self/fd"); err == nil { // else there is none to count in
		f.files = len(all)
	}
	return f
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// returns waits until all is as it was.
func (f footing) returns(t *testing.T) {
	t.Helper()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for began := time.Now(); ; <-tick.C {
		now := measure(t)
		if now.goroutines <= f.goroutines && now.files <= f.files && now.heap <= f.heap+heapMore {
			t.Logf("goroutines %d → %d, descriptors %d → %d, heap %d KiB → %d KiB", f.goroutines, now.goroutines, f.files, now.files, f.heap>>10, now.heap>>10)
			return
		}
		if time.Since(began) > 2*slack {
			t.Errorf("goroutines %d → %d, descriptors %d → %d, heap %d KiB → %d KiB: something has stayed", f.goroutines, now.goroutines, f.files, now.files, f.heap>>10, now.heap>>10)
			return
		}
	}
}

// most is how many bytes more than before were in use at some time while f ran. Garbage
// counts where it does no harm.
func (p Port) most(f func()) (most uint64) {
	runtime.GC()
	before := heap()
	over, looked := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(looked)
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case <-tick.C:
				now := heap()
				if now > before+p.Memory {
					runtime.GC()
					now = heap()
				}
				most = max(most, now-min(now, before))
			}
		}
	}()
	f()
	close(over)
	<-looked
	return most
}
