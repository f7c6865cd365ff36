package cluster

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// reap waits for the child to end and kills the rest of its group while its leader is a
// zombie: as long as it is one, the group's number can't be another group's.
func (c *child) reap() {
	for errors.Is(unix.Waitid(unix.P_PID, c.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
		continue
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL) // there may be nobody
	_ = c.cmd.Wait()                                      // its status is in ProcessState
	c.gone = true
}
