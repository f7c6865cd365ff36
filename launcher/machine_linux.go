package launcher

import (
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

func thisMachine() machine {
	return machine{
		cores:     runtime.GOMAXPROCS(0),
		memory:    totalMemory(),
		processes: processLimit(),
		files:     softLimit(unix.RLIMIT_NOFILE),
	}
}

// processLimit is how many processes and threads this user may have; root is not limited.
func processLimit() uint64 {
	if os.Geteuid() == 0 {
		return 0
	}
	return softLimit(unix.RLIMIT_NPROC)
}

// softLimit is a limit in force, 0 for none.
func softLimit(resource int) uint64 {
	var l unix.Rlimit
	if unix.Getrlimit(resource, &l) != nil || l.Cur == unix.RLIM_INFINITY {
		return 0
	}
	return l.Cur
}

// totalMemory is what this process and its children may use: the machine's memory, or less
// where a control group says so. 0 if unknown.
func totalMemory() uint64 {
	total := meminfo("MemTotal")
	for _, name := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		data, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64); err == nil && n < total {
			total = n
		}
	}
	return total
}

// meminfo reads one line of /proc/meminfo, in bytes. 0 if unknown.
func meminfo(name string) uint64 {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			kib, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err == nil {
				return kib << 10
			}
		}
	}
	return 0
}

// limits fills in what the system bounds.
func (h *Health) limits() {
	h.OpenFiles = softLimit(unix.RLIMIT_NOFILE)
	h.Processes = softLimit(unix.RLIMIT_NPROC)
	h.LockedBytes = softLimit(unix.RLIMIT_MEMLOCK)
	var st unix.Statfs_t
	if unix.Statfs("/dev/shm", &st) == nil {
		h.SharedBytes = st.Blocks * uint64(st.Bsize)
		h.FreeSharedBytes = st.Bavail * uint64(st.Bsize)
	}
}
