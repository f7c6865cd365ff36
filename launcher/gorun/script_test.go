package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"gorun":  main,
		"joiner": joiner,
	})
}

func TestScript(t *testing.T) {
	// Scripts build Go programs, with the cache of whoever runs the tests.
	out, err := exec.Command("go", "env", "-json", "GOCACHE", "GOMODCACHE", "GOPROXY", "GOFLAGS").Output()
	if err != nil {
		t.Fatal(err)
	}
	var goenv map[string]string
	if err := json.Unmarshal(out, &goenv); err != nil {
		t.Fatal(err)
	}
	mountable := mayMount(t.TempDir())
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			for name, value := range goenv {
				e.Setenv(name, value)
			}
			repo, err := filepath.Abs("../..")
			if err != nil {
				return err
			}
			e.Setenv("REPO", repo)
			e.Setenv("XDG_RUNTIME_DIR", filepath.Join(e.WorkDir, "run"))
			e.Setenv("XDG_CACHE_HOME", filepath.Join(e.WorkDir, "cache"))
			e.Setenv("XDG_STATE_HOME", filepath.Join(e.WorkDir, "state"))
			return os.MkdirAll(filepath.Join(e.WorkDir, "run"), 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": status,
			"gone":   gone,
			"screen": screen,
			"lines":  lines,
			"losses": losses,
			"flip":   flip,

			"parameters": parameters,

			"reach":     await,
			"leave":     leave,
			"clock":     clock,
			"since":     since,
			"port":      port,
			"smalldisk": smalldisk,
			"besiege":   besiege,
			"heard":     heard,
			"confine":   confine,
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "mount":
				return mountable, nil
			case "confine":
				return mayConfine(), nil
			case "capture":
				return mayCapture(), nil
			case "torch":
				return exec.Command("/usr/bin/python3", "-c", "import importlib.util as u; exit(u.find_spec('torch') is None)").Run() == nil, nil
			}
			return false, fmt.Errorf("unknown condition %s", name)
		},
	})
}

// status N COMMAND... runs a command that must end with the status N.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("ended with status %d, want %d", got, want)
	}
}

// gone FILE checks that no process whose number is on a line of the file exists.
func gone(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: gone FILE")
	}
	pids := strings.Fields(ts.ReadFile(args[0]))
	if len(pids) == 0 {
		ts.Fatalf("%s names no process", args[0])
	}
	for _, text := range pids {
		pid, err := strconv.Atoi(text)
		ts.Check(err)
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			ts.Fatalf("process %d is there: %v", pid, err)
		}
	}
}

// screen FILE checks that a text fits on a terminal of 24 by 80.
func screen(ts *testscript.TestScript, neg bool, args []string) {
	text := strings.TrimRight(ts.ReadFile(args[0]), "\n")
	if n := strings.Count(text, "\n") + 1; n > 24 {
		ts.Fatalf("%d lines, want at most 24", n)
	}
	for line := range strings.Lines(text) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > 80 {
			ts.Fatalf("%d columns, want at most 80: %s", n, line)
		}
	}
}

// lines N FILE checks how many lines a text has.
func lines(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	text := ts.ReadFile(args[1])
	if got := strings.Count(text, "\n"); got != want {
		ts.Fatalf("%s has %d lines, want %d:\n%s", args[1], got, want, text)
	}
}

// losses A B TOLERANCE checks that each step of metrics B has the loss that it has in A.
func losses(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: losses A B TOLERANCE")
	}
	tolerance, err := strconv.ParseFloat(args[2], 64)
	ts.Check(err)
	want, got := lossOfSteps(ts, args[0]), lossOfSteps(ts, args[1])
	if len(got) == 0 {
		ts.Fatalf("%s has no step", args[1])
	}
	for step, g := range got {
		if w, ok := want[step]; !ok || math.Abs(g-w) > tolerance {
			ts.Fatalf("step %d: loss %g, want %g within %g", step, g, w, tolerance)
		}
	}
}

func lossOfSteps(ts *testscript.TestScript, file string) map[int]float64 {
	losses := map[int]float64{}
	for line := range strings.Lines(ts.ReadFile(file)) {
		var m struct {
			Step int
			Loss float64
		}
		ts.Check(json.Unmarshal([]byte(line), &m))
		losses[m.Step] = m.Loss
	}
	return losses
}

// flip FILE alters one bit in the last byte of a file.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: flip FILE")
	}
	path := ts.MkAbs(args[0])
	data, err := os.ReadFile(path)
	ts.Check(err)
	data[len(data)-1] ^= 1
	ts.Check(os.WriteFile(path, data, 0o600))
}

// parameters A B checks that two models hold the same bits.
func parameters(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: parameters A B")
	}
	tensors := func(path string) string {
		text := ts.ReadFile(path)
		if len(text) < 8 {
			ts.Fatalf("%s is no model", path)
		}
		header := 8 + binary.LittleEndian.Uint64([]byte(text)) // which names the job
		if header >= uint64(len(text)) {
			ts.Fatalf("%s holds no tensors", path)
		}
		return text[header:]
	}
	if tensors(args[0]) != tensors(args[1]) {
		ts.Fatalf("%s and %s differ", args[0], args[1])
	}
}
