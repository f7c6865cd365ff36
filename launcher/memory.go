package launcher

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// memoryGroup is the cgroup that holds this process, and so what it starts, to a limit of
// memory. The kernel counts there whom it has killed for it: a SIGKILL that the count tells
// of came from the kernel, not from a person.
type memoryGroup struct {
	counter string   // file that says how many were killed
	limits  []string // files of the limits that hold, the group's own first

	mu      sync.Mutex
	claimed int64 // kills that a candidate's end has been explained by, or that were before it
}

// ownMemoryGroup is nil where the kernel doesn't tell.
func ownMemoryGroup() *memoryGroup {
	cgroups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	g := memoryGroupOf(string(cgroups), string(mounts))
	if _, ok := g.kills(); !ok {
		return nil
	}
	return g
}

// memoryGroupOf finds a process's group from its /proc/PID/cgroup and mountinfo; nil where
// its files can't be seen. Version 1 has a hierarchy for memory alone, where it is in use.
func memoryGroupOf(cgroups, mounts string) *memoryGroup {
	path, v1 := "", false
	for line := range strings.Lines(cgroups) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		switch {
		case len(f) < 3:
		case contains(f[1], "memory"):
			path, v1 = f[2], true
		case f[0] == "0" && !v1:
			path = f[2]
		}
	}
	for line := range strings.Lines(mounts) {
		before, after, _ := strings.Cut(line, " - ")
		f, fs := strings.Fields(before), strings.Fields(after)
		if len(f) < 5 || len(fs) < 3 || v1 && (fs[0] != "cgroup" || !contains(fs[2], "memory")) || !v1 && fs[0] != "cgroup2" {
			continue
		}
		root, mount := f[3], f[4]
		below, err := filepath.Rel(root, path)
		if err != nil || !filepath.IsLocal(below) {
			continue // the group is not in what is mounted here
		}
		counter, limit := "memory.events", "memory.max"
		if v1 {
			counter, limit = "memory.oom_control", "memory.limit_in_bytes"
		}
		g := &memoryGroup{counter: filepath.Join(mount, below, counter)}
		for dir := below; ; dir = filepath.Dir(dir) {
			g.limits = append(g.limits, filepath.Join(mount, dir, limit))
			if dir == "." {
				return g
			}
		}
	}
	return nil
}

// contains looks for a word in a list with commas.
func contains(list, word string) bool {
	return strings.Contains(","+list+",", ","+word+",")
}

// kills is how many processes of the group were killed for memory, if that is known.
func (g *memoryGroup) kills() (n int64, ok bool) {
	if g == nil {
		return 0, false
	}
	data, err := os.ReadFile(g.counter)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(data)) {
		if text, found := strings.CutPrefix(strings.TrimSpace(line), "oom_kill "); found {
			n, err = strconv.ParseInt(text, 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

// claim says whether there was a kill after the first so many that explains an end, and none
// other yet.
func (g *memoryGroup) claim(before int64) bool {
	n, ok := g.kills()
	if !ok {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.claimed = max(g.claimed, before)
	if n <= g.claimed {
		return false
	}
	g.claimed++
	return true
}

// limit is the least of the limits in force, in bytes; 0 for none.
func (g *memoryGroup) limit() int64 {
	least := int64(math.MaxInt64)
	for _, file := range g.limits {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // the root of version 2 has none
		}
		// "max" is no number, and version 1 writes all that pages can count for no limit.
		if n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64); err == nil && n < 1<<62 {
			least = min(least, n)
		}
	}
	if least == math.MaxInt64 {
		return 0
	}
	return least
}

// starved says why a rank was killed for memory.
func starved(limit int64) string {
	if limit == 0 {
		return "was killed for memory: its host has none left"
	}
	return fmt.Sprintf("was killed for memory: the limit of its cgroup is %d MiB", limit>>20)
}
