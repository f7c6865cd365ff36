package shm

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// process names a process of this host, also after its number was given to another.
type process struct {
	pid   uint32
	start uint64 // in ticks since the system's start
}

func thisProcess() process {
	p := process{pid: uint32(os.Getpid())}
	p.start, _ = started(p.pid)
	return p
}

// alive says whether the process can still do something.
func (p process) alive() bool {
	start, ok := started(p.pid)
	return ok && start == p.start
}

// started is when a process was started, where there is one and it has not ended.
func started(pid uint32) (ticks uint64, ok bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false
	}
	// The name before the last parenthesis may hold anything.
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 20 || fields[0][0] == 'Z' || fields[0][0] == 'X' {
		return 0, false
	}
	ticks, err = strconv.ParseUint(string(fields[19]), 10, 64)
	return ticks, err == nil
}

// namespace is the number of the namespace in which this process's number holds, 0 where
// the system does not tell.
func namespace() uint64 {
	link, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseUint(strings.Trim(link, "pid:[]"), 10, 64)
	return n
}
