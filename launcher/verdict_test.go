package launcher

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/gorun-ml/gorun/internal/control"
)

func TestVerdictForPeople(t *testing.T) {
	cause := Cause{Rank: 2, Host: "h", PID: 4711, Kind: control.KindExit, Detail: "exited with status 3", Step: 120}
	for _, c := range []struct {
		v    Verdict
		want string
	}{
		{Verdict{Job: "7f3a", OK: true, Summary: "test accuracy 97.9 % · 3 epochs · 38 s"}, "test accuracy 97.9 % · 3 epochs · 38 s"},
		{Verdict{Job: "7f3a", Cause: &cause}, "job 7f3a failed: rank 2 (host h, pid 4711) exited with status 3 at step 120"},
		{
			Verdict{Job: "7f3a", Cause: &cause, Saved: "ck/step-100", Resume: "gorun --resume x"},
			"job 7f3a failed: rank 2 (host h, pid 4711) exited with status 3 at step 120; newest checkpoint ck/step-100: resume with gorun --resume x",
		},
		{
			Verdict{Job: "7f3a", Cause: &Cause{Rank: -1, Kind: control.KindStopped, Detail: "was stopped by SIGINT", Step: 9}},
			"job 7f3a was stopped by SIGINT at step 9",
		},
		{
			Verdict{Job: "7f3a", Cause: &Cause{Rank: 0, Host: "h", Kind: control.KindError, Detail: "failed: two\nlines\x1b[1m"}},
			"job 7f3a failed: rank 0 (host h) failed: two lines [1m",
		},
		{ // it says itself which step it was
			Verdict{Job: "7f3a", Cause: &Cause{Rank: 0, Host: "h", Kind: control.KindNonFinite, Detail: "met a value that is not finite: the loss at step 21; mend it", Step: 20}},
			"job 7f3a failed: rank 0 (host h) met a value that is not finite: the loss at step 21; mend it",
		},
	} {
		if got := c.v.Line(); got != c.want {
			t.Errorf("line\n%s\nwant\n%s", got, c.want)
		}
	}
}

func TestVerdictFileIsWholeOrNotThere(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "v.json")
	v := Verdict{Job: "7f3a", Status: 3, Cause: &Cause{Rank: 2, Host: "h", Kind: control.KindExit, Detail: "exited with status 3", Step: 120}, Generations: 1, Steps: 120, Seconds: 1.5}
	for range 2 { // the second replaces the first
		if err := v.write(name); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"job", "ok", "status", "cause", "generations", "steps", "seconds"} {
		if _, ok := got[field]; !ok {
			t.Errorf("no field %q in %s", field, data)
		}
	}
	if err := v.write(filepath.Join(dir, "none", "v.json")); err == nil {
		t.Error("no error for a folder that does not exist")
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("%d files left, want 1 (%v)", len(left), err)
	}
}
