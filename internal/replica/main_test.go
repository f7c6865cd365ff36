package replica

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain is also what tests start as processes of their own: members. It fails where
// something that was closed still runs.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "member" {
		os.Exit(process())
	}
	status := m.Run()
	if left := leftRunning(10 * time.Second); status == 0 && left != "" {
		fmt.Fprintf(os.Stderr, "still running after all was closed:\n%s\n", left)
		status = 1
	}
	os.Exit(status)
}

// leftRunning returns a goroutine of this package, of TLS or of raft that is still there
// when within has passed. The library doesn't wait for all of its own to end.
func leftRunning(within time.Duration) string {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); ; <-tick.C {
		left := ""
		buf := make([]byte, 8<<20)
		for _, stack := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			ours := strings.Contains(stack, "internal/replica.") || strings.Contains(stack, "internal/pinned.") ||
				strings.Contains(stack, "hashicorp/raft")
			if ours && !strings.Contains(stack, "TestMain") {
				left = stack
			}
		}
		if left == "" || time.Since(began) > within {
			return left
		}
	}
}
