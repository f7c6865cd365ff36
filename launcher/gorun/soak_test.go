package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/launcher"
)

var (
	soakFaults = flag.Int("faults", 6, "of TestSoak")
	soakSeed   = flag.Uint64("seed", 1, "of TestSoak's faults")
)

// soaked is a job that has to survive one fault after the other.
type soaked struct {
	*testing.T
	dir   string
	env   []string
	gorun string
	train string
	job   *exec.Cmd
	gone  chan struct{}
	said  bytes.Buffer // to be read once it is gone
}

// TestSoak breaks a job at random: ranks are killed, or stopped, for a while or for good, and
// their number changes. Each step must be done, of all its samples, and what gorun's process
// and the ranks hold must not grow.
func TestSoak(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("what processes hold is read from /proc")
	}
	s := newSoaked(t)
	metrics := filepath.Join(s.dir, "m.jsonl")
	s.start("-np", "2", "--restarts", "1000000", "--stall", "1s", "--metrics", metrics, s.train, "--epochs", "10000000", "--census", s.dir)
	s.advance(2, 20)
	before := s.holds()
	random := rand.New(rand.NewPCG(*soakSeed, 0))
	size := 2
	for i := range *soakFaults {
		ranks := s.state().Ranks
		victim := ranks[random.IntN(len(ranks))]
		switch what := random.IntN(4); what {
		case 0:
			s.signal(victim.PID, syscall.SIGKILL)
		case 1:
			s.signal(victim.PID, syscall.SIGSTOP)
			<-time.After(time.Duration(random.IntN(100)) * time.Millisecond) // how long it is stopped is the fault
			s.signal(victim.PID, syscall.SIGCONT)
		case 2:
			s.signal(victim.PID, syscall.SIGSTOP) // until it is replaced
			s.until("the end of a rank that hangs", func() bool { return errors.Is(syscall.Kill(victim.PID, 0), syscall.ESRCH) })
		default:
			size = 5 - size // a rank that is killed leaves one that holds the state
			resize := exec.Command(s.gorun, "resize", s.state().Job, strconv.Itoa(size))
			resize.Env = s.env
			if out, err := resize.CombinedOutput(); err != nil {
				t.Fatalf("fault %d of seed %d: resize to %d: %v: %s", i, *soakSeed, size, err, out)
			}
		}
		s.advance(size, 20)
	}
	after := s.holds()
	t.Logf("%v after %d faults, %v before", after, *soakFaults, before)
	if after.grew(before) {
		t.Errorf("%v after %d faults, %v before", after, *soakFaults, before)
	}
	pids := []int{}
	for _, r := range s.state().Ranks {
		pids = append(pids, r.PID)
	}
	if len(pids) != size {
		t.Errorf("%d ranks, want %d", len(pids), size)
	}
	s.signal(s.job.Process.Pid, syscall.SIGINT)
	select {
	case <-s.gone:
	case <-time.After(time.Minute):
		t.Fatal("the job has not ended a minute after SIGINT")
	}
	if status := s.job.ProcessState.ExitCode(); status != 130 {
		t.Errorf("status %d, want 130:\n%s", status, s.said.String())
	}
	checkSteps(t, metrics)
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); err == nil {
			t.Errorf("rank's process %d is left", pid)
		}
	}
}

// newSoaked builds what is to train.
func newSoaked(t *testing.T) *soaked {
	t.Helper()
	gorun, err := exec.LookPath("gorun") // this program, as TestMain has put it there
	if err != nil {
		t.Fatal(err)
	}
	s := &soaked{T: t, dir: t.TempDir(), gorun: gorun, gone: make(chan struct{})}
	s.env = append(os.Environ(), "XDG_RUNTIME_DIR="+s.dir)
	s.train = filepath.Join(s.dir, "train")
	if out, err := exec.Command("go", "build", "-o", s.train, "./testdata/train").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return s
}

// start starts the job.
func (s *soaked) start(args ...string) {
	s.Helper()
	s.job = exec.Command(s.gorun, args...)
	s.job.Env, s.job.Stdout, s.job.Stderr = s.env, &s.said, &s.said
	s.job.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.job.Start(); err != nil {
		s.Fatal(err)
	}
	go func() {
		_ = s.job.Wait() // its status is looked at once it is gone
		close(s.gone)
	}()
	s.Cleanup(func() {
		_ = s.job.Process.Kill() // its ranks go with it
		<-s.gone
	})
}

// state is the only job's, once its launcher answers.
func (s *soaked) state() launcher.JobState {
	s.Helper()
	var state launcher.JobState
	s.until("the job's state", func() bool {
		jobs, err := launcher.Jobs(filepath.Join(s.dir, "gorun"))
		if err != nil || len(jobs) != 1 || len(jobs[0].Ranks) == 0 {
			return false
		}
		state = jobs[0]
		return true
	})
	return state
}

// advance waits until a generation of so many ranks has done some more steps.
func (s *soaked) advance(size, steps int) {
	s.Helper()
	began := -1
	s.until(fmt.Sprintf("%d more steps on %d ranks", steps, size), func() bool {
		ranks := s.state().Ranks
		if len(ranks) != size {
			return false
		}
		slowest := ranks[0].Step
		for _, r := range ranks {
			if r.Generation == 0 || r.Step == 0 {
				return false
			}
			slowest = min(slowest, r.Step)
		}
		if began < 0 {
			began = slowest
		}
		return slowest >= began+steps
	})
}

// until is await while the job lives.
func (s *soaked) until(what string, seen func() bool) {
	s.Helper()
	s.await(what, func() bool {
		select {
		case <-s.gone:
			s.Fatalf("%s: the job has ended:\n%s", what, s.said.String())
		default:
		}
		return seen()
	})
}

// await waits for something that has to be so within two minutes.
func (s *soaked) await(what string, seen func() bool) {
	s.Helper()
	again := time.NewTicker(lookEvery)
	defer again.Stop()
	late := time.NewTimer(2 * time.Minute)
	defer late.Stop()
	for !seen() {
		select {
		case <-again.C:
		case <-late.C:
			s.Fatalf("%s: not within two minutes (seed %d)", what, *soakSeed)
		}
	}
}

// signal sends a signal to a process, which may just have ended.
func (s *soaked) signal(pid int, what syscall.Signal) {
	if err := syscall.Kill(pid, what); err != nil && !errors.Is(err, syscall.ESRCH) {
		s.Fatalf("%v to %d: %v", what, pid, err)
	}
}

// checkSteps wants each step of a job once in each generation that did it, none left out, and of 16 samples.
func checkSteps(t *testing.T, metrics string) {
	t.Helper()
	text, err := os.ReadFile(metrics)
	if err != nil {
		t.Fatal(err)
	}
	samples, last := map[int]int{}, 0
	for line := range strings.Lines(string(text)) {
		var m struct{ Step, Samples int }
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		samples[m.Step] = m.Samples // of the newest generation
		last = max(last, m.Step)
	}
	for step := 1; step <= last; step++ {
		if samples[step] != 16 {
			t.Errorf("step %d of %d was done with %d samples, want 16", step, last, samples[step])
		}
	}
	t.Logf("%d steps", last)
}
