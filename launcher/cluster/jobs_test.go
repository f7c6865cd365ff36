package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/launcher/joblist"
)

// enter lists a job in a daemon's folder, as a launcher does.
func enter(t *testing.T, dir string, e joblist.Entry) {
	t.Helper()
	held, err := joblist.Enter(dir, e)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(held.Leave)
}

func TestJobsOfAllHosts(t *testing.T) {
	folder := t.TempDir()
	runtime := func(n int) string { return filepath.Join(folder, fmt.Sprint(n)) }
	var all []*running
	for n := range 3 {
		o := options(fmt.Sprintf("h%d", n+1), fmt.Sprintf("127.0.0.%d", n+1))
		if n > 0 {
			o.Join = []string{all[0].Addr()}
		}
		o.Runtime = runtime(n)
		all = append(all, start(t, o))
	}
	silent, _ := startProcess(t, options("h4", "127.0.0.4", all[0].Addr()))
	eventually(t, time.Minute, "all four are known", func() bool { return all[0].knows() == 4 })
	began := time.Unix(1000, 0)
	enter(t, runtime(0), joblist.Entry{Job: "aa01", PID: 1, Broker: "127.0.0.1:4711", Seed: "s1", Started: began.Add(time.Second), Command: strings.Repeat("x", 2*commandBytes)})
	enter(t, runtime(1), joblist.Entry{Job: "bb02", PID: 2, Broker: "0.0.0.0:4712,[::]:4713,10.0.0.7:4714", Seed: "s2", Started: began})

	c := find(t, all[0].Addr())
	if err := silent.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	jobs, missing := c.Jobs(t.Context())
	if len(jobs) != 2 || jobs[0].Job != "bb02" || jobs[1].Job != "aa01" {
		t.Fatalf("jobs %v, missing %v", jobs, missing)
	}
	if a := jobs[1]; a.Host != "h1" || a.Addr != "127.0.0.1" || a.Seed != "s1" || a.Broker != "127.0.0.1:4711" || !a.Local() || len(a.Command) != commandBytes {
		t.Errorf("job aa01: %+v", a)
	}
	if b := jobs[0]; b.Host != "h2" || b.Addr != "127.0.0.2" || b.Broker != "127.0.0.2:4712,127.0.0.2:4713,10.0.0.7:4714" || b.Local() {
		t.Errorf("job bb02: %+v", b)
	}
	// One that doesn't answer is named, and costs no more than its time.
	if len(missing) != 1 || !strings.HasPrefix(missing[0].Error(), "host h4 doesn't tell its jobs: ") || strings.Contains(missing[0].Error(), "\n") {
		t.Errorf("missing %v, want host h4", missing)
	}
	if strings.Contains(fmt.Sprintf("%v %+v", jobs[0], jobs[0]), "s2") {
		t.Error("the seed is shown")
	}
}

// A host tells as many jobs as an answer takes, and says that there are more; a folder that
// others can write to tells none.
func TestJobsThatCannotBeTold(t *testing.T) {
	o := options("h1", "127.0.0.1")
	o.Runtime = filepath.Join(t.TempDir(), "run")
	a := start(t, o)
	eventually(t, time.Minute, "it has left its address", func() bool { return Here(o.Runtime) })
	const many = 120
	for n := range many {
		enter(t, o.Runtime, joblist.Entry{Job: fmt.Sprintf("j%03d", n), Seed: fmt.Sprint(n), Command: strings.Repeat("<", commandBytes)})
	}
	jobs, missing := find(t, a.Addr()).Jobs(t.Context())
	want := fmt.Sprintf("host h1 has %d more jobs than it can tell", many-len(jobs))
	if len(jobs) < 50 || len(jobs) >= many || len(missing) != 1 || missing[0].Error() != want {
		t.Errorf("%d jobs, missing %v, want %q", len(jobs), missing, want)
	}
	if err := os.Chmod(o.Runtime, 0o755); err != nil {
		t.Fatal(err)
	}
	jobs, missing = find(t, a.Addr()).Jobs(t.Context())
	if len(jobs) != 0 || len(missing) != 1 || !strings.Contains(missing[0].Error(), "is open to others: chmod 700 it") {
		t.Errorf("%d jobs, missing %v", len(jobs), missing)
	}
	if Here(filepath.Join(t.TempDir(), "none")) {
		t.Error("a daemon is where no folder is")
	}
}
