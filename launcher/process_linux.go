package launcher

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// groupOfItsOwn makes a process lead a group, and end with the thread that started it.
func groupOfItsOwn() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// adoptOrphans makes this process the parent of what its candidates leave behind, so that
// it can wait until that has ended. It concerns all children of the process.
func adoptOrphans() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// reap waits for the process to end and kills the rest of its group while its leader is a
// zombie: as long as it is one, the group's number can't be another group's.
func (p *process) reap() {
	for errors.Is(unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
		continue
	}
	p.signal(syscall.SIGKILL)
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.cmd.Wait() // its status is in ProcessState
	p.gone = true
}

// awaitGroup waits for those of the group that were adopted. They have been killed.
func (p *process) awaitGroup() {
	for {
		_, err := unix.Wait4(-p.cmd.Process.Pid, nil, 0, nil)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return // there are none
		}
	}
}

// sweep kills and awaits all children of this process: those that candidates left behind,
// in groups of their own. Killing one may hand its children to us, hence the loop.
func sweep() {
	for range 100 {
		pids := children(os.Getpid())
		if len(pids) == 0 {
			return
		}
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL) // it may have ended
			for {
				if _, err := unix.Wait4(pid, nil, 0, nil); !errors.Is(err, unix.EINTR) {
					break
				}
			}
		}
	}
}

// children are the processes whose parent is pid.
func children(pid int) []int {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return nil
	}
	var pids []int
	for _, t := range tasks {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, t.Name()))
		if err != nil {
			continue
		}
		for _, f := range strings.Fields(string(data)) {
			if n, err := strconv.Atoi(f); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids
}
