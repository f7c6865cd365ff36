package launcher

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestMemoryGroupOf(t *testing.T) {
	const v1 = "23 30 0:27 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu\n" +
		"35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
	for name, c := range map[string]struct {
		cgroups, mounts string
		counter         string
		limits          []string
	}{
		"version 1": {
			"5:devices:/\n4:memory:/a/b\n0::/\n", v1 + "38 41 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
			"/sys/fs/cgroup/memory/a/b/memory.oom_control",
			[]string{"/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes"},
		},
		"version 2": {
			"0::/x\n", "38 41 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
			"/sys/fs/cgroup/x/memory.events",
			[]string{"/sys/fs/cgroup/x/memory.max", "/sys/fs/cgroup/memory.max"},
		},
		"a container that sees its own part": {
			"4:memory:/docker/7\n", "35 31 0:32 /docker/7 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
			"/sys/fs/cgroup/memory/memory.oom_control",
			[]string{"/sys/fs/cgroup/memory/memory.limit_in_bytes"},
		},
		"a part that isn't its own":       {"4:memory:/docker/7\n", "35 31 0:32 /docker/8 /m rw - cgroup cgroup rw,memory\n", "", nil},
		"above what is seen":              {"0::/../x\n", "38 41 0:38 /y /m rw - cgroup2 cgroup2 rw\n", "", nil},
		"not mounted":                     {"4:memory:/a\n", "", "", nil},
		"version 1 without its mount":     {"4:memory:/a\n0::/\n", "38 41 0:38 / /u rw - cgroup2 cgroup2 rw\n", "", nil},
		"nothing that can be made out of": {"x\n\n", "y - z\n- -\n", "", nil},
	} {
		g := memoryGroupOf(c.cgroups, c.mounts)
		if g == nil {
			g = &memoryGroup{}
		}
		if g.counter != c.counter || !slices.Equal(g.limits, c.limits) {
			t.Errorf("%s: counter %q, limits %q, want %q, %q", name, g.counter, g.limits, c.counter, c.limits)
		}
	}
}

// A kill explains one end, of a process that was there then.
func TestMemoryGroupClaims(t *testing.T) {
	dir := t.TempDir()
	g := &memoryGroup{counter: filepath.Join(dir, "events"), limits: []string{filepath.Join(dir, "max"), filepath.Join(dir, "none"), filepath.Join(dir, "up")}}
	write := func(file, text string) {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if g.claim(0) {
		t.Error("a kill without a file that counts them")
	}
	if n, ok := (*memoryGroup)(nil).kills(); ok || (*memoryGroup)(nil).claim(0) {
		t.Errorf("no group: %d kills", n)
	}
	kills := func(n string) { write("events", "low 0\nhigh 0\nmax 17\noom 1\noom_kill "+n+"\noom_group_kill 0\n") }
	for i, c := range []struct {
		kills  string
		before int64
		want   bool
	}{
		{"2", 2, false}, // both were before it
		{"3", 2, true},
		{"3", 2, false}, // it explains another's
		{"5", 2, true},
		{"5", 2, true},
		{"5", 2, false},
		{"6", 6, false},
		{"7", 6, true},
		{"x", 6, false},
	} {
		if kills(c.kills); g.claim(c.before) != c.want {
			t.Errorf("%d: with %s kills, of them %d before: claimed is not %v", i, c.kills, c.before, c.want)
		}
	}
	write("max", "max\n")
	write("up", "9223372036854771712\n")
	if n := g.limit(); n != 0 {
		t.Errorf("limit %d, want none", n)
	}
	write("up", "209715200\n")
	if text := starved(g.limit()); text != "was killed for memory: the limit of its cgroup is 200 MiB" {
		t.Errorf("with a limit above it: %s", text)
	}
	write("max", "104857600\n")
	if n := g.limit(); n != 100<<20 {
		t.Errorf("limit %d, want the lesser", n)
	}
}
