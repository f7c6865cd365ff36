//go:build unix && !linux

package launcher

import "syscall"

// groupOfItsOwn makes a process lead a group. Where there is no parent-death signal, ranks
// outlive a launcher that is killed until they notice that the control plane is gone.
func groupOfItsOwn() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// reap waits for the process to end and kills the rest of its group. In the moment between
// the two, the group's number could be given away; nothing better is portable.
func (p *process) reap() {
	_ = p.cmd.Wait() // its status is in ProcessState
	p.signal(syscall.SIGKILL)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
}

// adoptOrphans can't be done here: what has left its group is not found.
func adoptOrphans() error { return nil }

func (p *process) awaitGroup() {}

func sweep() {}
