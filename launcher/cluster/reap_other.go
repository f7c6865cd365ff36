//go:build unix && !linux

package cluster

import "syscall"

// reap waits for the child to end and kills the rest of its group. In the moment between
// the two, the group's number could be given away; nothing better is portable.
func (c *child) reap() {
	_ = c.cmd.Wait() // its status is in ProcessState
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL) // there may be nobody
	c.gone = true
}
