//go:build unix

package topology

import (
	"syscall"
	"testing"
	"time"
)

// The processor's time is what counts: the clock's says how busy the machine is.
func TestRingOf1024IsVerifiedInTwoSeconds(t *testing.T) {
	plans := Plans(Uniform(1024, 128), Ring)
	start, before := time.Now(), processorTime(t)
	if err := Verify(Collective{Kind: AllReduce}, plans); err != nil {
		t.Fatal(err)
	}
	took := processorTime(t) - before
	t.Logf("took %v of the processor's time, %v in all", took, time.Since(start))
	if took > 2*time.Second && !raceEnabled {
		t.Errorf("took %v of the processor's time, want at most 2 s", took)
	}
}

func processorTime(t testing.TB) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
