package control

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain fails where something that was closed still runs.
func TestMain(m *testing.M) {
	status := m.Run()
	if left := leftRunning(5 * time.Second); status == 0 && left != "" {
		fmt.Fprintf(os.Stderr, "still running after all was closed:\n%s\n", left)
		status = 1
	}
	os.Exit(status)
}

// leftRunning returns a goroutine of this package, or of the broker or its clients, that is
// still there when within has passed. The libraries don't wait for all of theirs to end.
func leftRunning(within time.Duration) string {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); ; <-tick.C {
		left := ""
		buf := make([]byte, 1<<20)
		for _, stack := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			ours := strings.Contains(stack, "internal/control.") || strings.Contains(stack, "nats-io/")
			if ours && !strings.Contains(stack, "TestMain") {
				left = stack
			}
		}
		if left == "" || time.Since(began) > within {
			return left
		}
	}
}
