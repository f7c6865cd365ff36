package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"
)

// confined is a cgroup that limits the memory of what is started in it.
type confined struct{ dir string }

// newConfined makes one below the root of the hierarchy, as an administrator would.
func newConfined(mib int) (confined, error) {
	const v1, v2 = "/sys/fs/cgroup/memory", "/sys/fs/cgroup"
	root, limit, swap := v1, "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
	if _, err := os.Stat(filepath.Join(v1, "memory.oom_control")); err != nil {
		root, limit, swap = v2, "memory.max", "memory.swap.max"
	}
	dir, err := os.MkdirTemp(root, "gorun-test-")
	if err != nil {
		return confined{}, err
	}
	c := confined{dir}
	bytes := []byte(strconv.Itoa(mib << 20))
	if err := os.WriteFile(filepath.Join(dir, limit), bytes, 0); err != nil {
		return c, errors.Join(err, c.remove())
	}
	if root == v2 {
		bytes = []byte("0")
	}
	_ = os.WriteFile(filepath.Join(dir, swap), bytes, 0) // where swap is counted
	return c, nil
}

// command is one that runs in the group, with all that it starts.
func (c confined) command(args ...string) []string {
	return append([]string{"sh", "-c", `echo $$ >"$0/cgroup.procs" && exec "$@"`, c.dir}, args...)
}

// remove fails where anything still runs in the group.
func (c confined) remove() error { return os.Remove(c.dir) }

// mayConfine says whether such groups can be made here, and processes moved into them.
func mayConfine() bool {
	c, err := newConfined(64)
	if err != nil {
		return false
	}
	args := c.command("true")
	ran := exec.Command(args[0], args[1:]...).Run()
	return errors.Join(ran, c.remove()) == nil
}

// confine MIB STATUS COMMAND... runs a command with so much memory, which must end with the
// status.
func confine(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: confine MIB STATUS COMMAND...")
	}
	mib, err := strconv.Atoi(args[0])
	ts.Check(err)
	c, err := newConfined(mib)
	ts.Check(err)
	defer func() { ts.Check(c.remove()) }()
	status(ts, false, append([]string{args[1]}, c.command(args[2:]...)...))
}
