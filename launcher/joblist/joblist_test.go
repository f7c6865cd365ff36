package joblist

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func names(t *testing.T, dir string) (jobs []string) {
	t.Helper()
	all, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		jobs = append(jobs, e.Job)
	}
	return jobs
}

func TestTheListHasWhatRuns(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	if jobs := names(t, dir); jobs != nil {
		t.Errorf("without a folder: %q", jobs)
	}
	began := time.Unix(1000, 0)
	enter := func(e Entry) *Held {
		t.Helper()
		h, err := Enter(dir, e)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(h.Leave)
		return h
	}
	second := enter(Entry{Job: "b", Seed: "s1", Started: began.Add(time.Second)})
	enter(Entry{Job: "a", Seed: "s2", Started: began.Add(time.Minute)})
	first := Entry{Job: "c", Seed: "s3", PID: 7, Broker: "127.0.0.1:4711", Started: began, Command: "gorun x", Folder: "/tmp/x"}
	enter(first)
	for _, host := range []string{"h1", "h2"} { // both keep it: it is one job
		enter(Entry{Job: "d", Seed: "s4", Keeper: host, Started: began.Add(time.Hour)})
	}
	if jobs := names(t, dir); !slices.Equal(jobs, []string{"c", "b", "a", "d"}) {
		t.Errorf("jobs %q", jobs)
	}
	all, err := Read(dir)
	if err != nil || !all[0].Started.Equal(began) {
		t.Fatalf("%+v (%v)", all[0], err)
	}
	if all[0].Started = first.Started; all[0] != first {
		t.Errorf("%+v, want %+v", all[0], first)
	}
	if text := fmt.Sprintf("%v %+v", all[0], all[0]); strings.Contains(text, "s3") || !strings.Contains(text, "job c (pid 7)") {
		t.Errorf("shown as %q", text)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 5 {
		t.Fatalf("%d files (%v), want 5", len(files), err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v (%v)", f.Name(), info.Mode(), err)
		}
	}
	second.Leave()
	second.Leave() // may be called again
	if jobs := names(t, dir); !slices.Equal(jobs, []string{"c", "a", "d"}) {
		t.Errorf("after one has left: %q", jobs)
	}
	var none *Held
	none.Leave()
}

// What a launcher that was killed has left is removed by the next to look, and nothing else.
func TestLeftoversAreRemoved(t *testing.T) {
	dir, temp := t.TempDir(), t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	folder, other := filepath.Join(temp, "gorun-dead-1"), filepath.Join(temp, "precious")
	for _, d := range []string{folder, other} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"dead.json": fmt.Sprintf(`{"job":"dead","folder":%q}`, folder),
		"lies.json": fmt.Sprintf(`{"job":"lies","folder":%q}`, other),
		"torn.json": `{"job":"to`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if jobs := names(t, dir); jobs != nil {
		t.Errorf("jobs %q", jobs)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v is left (%v)", left, err)
	}
	if _, err := os.Stat(folder); !os.IsNotExist(err) {
		t.Errorf("the job's folder is still there: %v", err)
	}
	if _, err := os.Stat(other); err != nil {
		t.Errorf("a folder that isn't a job's is gone: %v", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(dir); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("a folder that others can read: %v", err)
	}
}

func TestFromElsewhere(t *testing.T) {
	for _, c := range []struct {
		broker, from string
		local        bool
	}{
		{"127.0.0.1:1", "127.0.0.1:1", true},
		{"[::1]:1", "[::1]:1", true},
		{"0.0.0.0:1", "10.0.0.7:1", false},
		{"[::]:1,127.0.0.1:2", "10.0.0.7:1,127.0.0.1:2", false},
		{"10.0.0.1:1,10.0.0.2:1", "10.0.0.1:1,10.0.0.2:1", false},
		{"127.0.0.1:1,127.0.0.2:1", "127.0.0.1:1,127.0.0.2:1", true},
		{"h1:1", "h1:1", false},
		{"nonsense", "nonsense", true},
	} {
		e := Entry{Broker: c.broker}.From("10.0.0.7")
		if e.Broker != c.from || e.Local() != c.local {
			t.Errorf("%s: %s, local %v; want %s, %v", c.broker, e.Broker, e.Local(), c.from, c.local)
		}
	}
}
