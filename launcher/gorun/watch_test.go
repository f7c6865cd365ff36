package main

import (
	"errors"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gorun-ml/gorun/launcher"
	"github.com/rogpeppe/go-internal/testscript"
)

// Bounds on looking again and again at what other processes do.
const (
	lookEvery = 5 * time.Millisecond
	lookFor   = 30 * time.Second
)

// look calls seen until it is true, and fails the script if that takes too long.
func look(ts *testscript.TestScript, what string, bound time.Duration, seen func() bool) {
	again := time.NewTicker(lookEvery)
	defer again.Stop()
	late := time.NewTimer(bound)
	defer late.Stop()
	for !seen() {
		select {
		case <-again.C:
		case <-late.C:
			ts.Fatalf("%s: not within %v", what, bound)
		}
	}
}

// reach RANK LOW HIGH NAME waits until the rank of the only job has done a step that is
// drawn between LOW and HIGH, and sets NAME to its process number.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: reach RANK LOW HIGH NAME")
	}
	var n [3]int
	for i := range n {
		var err error
		n[i], err = strconv.Atoi(args[i])
		ts.Check(err)
	}
	rank, step := n[0], n[1]+rand.IntN(n[2]-n[1])
	ts.Logf("waiting for step %d", step)
	dir := launcher.RuntimeFolder(func(name string) (string, bool) { return ts.Getenv(name), true })
	look(ts, "step "+strconv.Itoa(step), lookFor, func() bool {
		jobs, err := launcher.Jobs(dir)
		if err != nil {
			ts.Logf("%v", err) // it may be about to begin, or have ended
		}
		if len(jobs) != 1 || len(jobs[0].Ranks) <= rank || jobs[0].Ranks[rank].Step < step {
			return false
		}
		ts.Setenv(args[3], strconv.Itoa(jobs[0].Ranks[rank].PID))
		return true
	})
}

// leave FILE BOUND waits until no process whose number is on a line of the file exists.
func leave(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: leave FILE BOUND")
	}
	bound, err := time.ParseDuration(args[1])
	ts.Check(err)
	pids := strings.Fields(ts.ReadFile(args[0]))
	if len(pids) == 0 {
		ts.Fatalf("%s names no process", args[0])
	}
	for _, text := range pids {
		pid, err := strconv.Atoi(text)
		ts.Check(err)
		look(ts, "the end of process "+text, bound, func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) })
	}
}

// clock notes the time. since BOUND fails if that was longer ago.
func clock(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Setenv("CLOCK", strconv.FormatInt(time.Now().UnixNano(), 10))
}

func since(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: since BOUND")
	}
	bound, err := time.ParseDuration(args[0])
	ts.Check(err)
	start, err := strconv.ParseInt(ts.Getenv("CLOCK"), 10, 64)
	ts.Check(err)
	if took := time.Since(time.Unix(0, start)); took > bound {
		ts.Fatalf("it took %v, want at most %v", took, bound)
	}
}

// port sets MASTER_PORT to a port that is free.
func port(ts *testscript.TestScript, _ bool, _ []string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	_, number, err := net.SplitHostPort(ln.Addr().String())
	ts.Check(err)
	ts.Check(ln.Close())
	ts.Setenv("MASTER_PORT", number)
}

// smalldisk DIR KIB [FILES] makes a folder on a disk with room for so many KiB, and files.
func smalldisk(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: smalldisk DIR KIB [FILES]")
	}
	dir, size := ts.MkAbs(args[0]), args[1]+"k"
	if len(args) > 2 {
		n, err := strconv.Atoi(args[2])
		ts.Check(err)
		size += ",nr_inodes=" + strconv.Itoa(n+1) // the folder itself is one
	}
	ts.Check(ts.Exec("mkdir", dir))
	ts.Check(mountSmall(dir, size))
	ts.Defer(func() { ts.Check(unmountSmall(dir)) })
}

// mayMount says whether this user may mount a file system in dir.
func mayMount(dir string) bool {
	if mountSmall(dir, "64k") != nil {
		return false
	}
	return unmountSmall(filepath.Clean(dir)) == nil
}
