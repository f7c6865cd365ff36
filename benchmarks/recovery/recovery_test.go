package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestMain makes this program a rank of the job that a test measures, as main does.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "rank" {
		rank(os.Args[2:])
	}
	os.Exit(m.Run())
}

func TestMeasuresEachFault(t *testing.T) {
	gorun := filepath.Join(t.TempDir(), "gorun")
	if out, err := exec.Command("go", "build", "-o", gorun, "../../launcher/gorun").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, fault := range []string{"worker", "hang", "host"} {
		var out, errs bytes.Buffer
		args := []string{"-case", fault, "-reps", "1", "-json", "-state", "8000", "-python", "none", "-gorun", gorun}
		if status := run(t.Context(), args, &out, &errs); status != 0 {
			t.Fatalf("%s: status %d: %s", fault, status, errs.String())
		}
		var r Result
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			t.Fatalf("%s: %v in %s", fault, err, out.String())
		}
		if r.Case != fault || r.System != "gorun" || r.Seconds == nil || *r.Seconds <= 0 || r.StepsLost != 0 || r.Generation < 2 {
			t.Errorf("%s: %s", fault, out.String())
		}
		if (r.Named != nil) != (fault == "hang") || r.Named != nil && *r.Named <= 0 {
			t.Errorf("%s: named when? %s", fault, out.String())
		}
	}
}

func TestOutcome(t *testing.T) {
	b := &bench{fault: "worker"}
	all := []step{{T: 9, Generation: 1, Step: 6}, {T: 10, Generation: 1, Step: 7}, {T: 12.5, Generation: 2, Step: 6}}
	r := b.outcome(all, time.Unix(10, 0))
	if r.Seconds == nil || *r.Seconds != 2.5 || r.StepsLost != 2 || r.Generation != 2 {
		t.Errorf("%+v", r)
	}
	if r := b.outcome(all[:2], time.Unix(10, 0)); r.Seconds != nil || r.StepsLost != 0 {
		t.Errorf("without a step: %+v", r)
	}
}

func TestTorchSteps(t *testing.T) {
	text := "1.5 0 1 0 10\n1.6 0 1 1 11\n1.9 0 1 3 13\n1.7 0 1 2 12\n2.5 0 2 0 10\n7 1 1 3 23\n7 1 1 2 22\n8 1 1 1 21\n7 1 1 0 20\n9 1 2 0"
	got := torchSteps([]byte(text))
	if len(got) != 2 || got[0].T != 1.9 || got[0].Generation != 1 || got[0].pids[2] != 12 || got[1].T != 8 || got[1].Generation != 2 {
		t.Errorf("%+v", got)
	}
}

func TestReadsAndDrawsWhatItPrinted(t *testing.T) {
	dir := t.TempDir()
	lines, svg := filepath.Join(dir, "lines"), filepath.Join(dir, "svg")
	text := `{"system":"gorun","case":"worker","model":"mnist","seconds":0.2,"steps_lost":0,"generation":2}
{"system":"torchrun","case":"worker","model":"mnist","seconds":3,"steps_lost":5,"generation":2}
{"system":"gorun","case":"worker","model":"mnist","seconds":0.1,"steps_lost":0,"generation":2}
{"system":"torchrun","case":"worker","model":"mnist","seconds":null,"steps_lost":0,"generation":1}
`
	if err := os.WriteFile(lines, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if status := run(t.Context(), []string{"-from", lines, "-svg", svg}, &out, &errs); status != 0 {
		t.Fatalf("status %d: %s", status, errs.String())
	}
	for _, want := range []string{
		"2 times · median 0.100 s · p99 0.200 s · at most 0 steps lost",
		"1 times · median 3.000 s · p99 3.000 s · at most 5 steps lost · 1 times no step within the limit",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if drawn, err := os.ReadFile(svg); err != nil || !bytes.Contains(drawn, []byte("torchrun, mnist")) {
		t.Errorf("drawn: %v", err)
	}
}

func TestPercentile(t *testing.T) {
	seconds := []float64{1, 2, 3, 4}
	got := []float64{percentile(seconds, 50), percentile(seconds, 51), percentile(seconds, 99), percentile(seconds, 1)}
	if !slices.Equal(got, []float64{2, 3, 4, 1}) {
		t.Errorf("%v", got)
	}
}

func TestRefuses(t *testing.T) {
	for args, want := range map[string]string{
		"-case fire":        "recovery: -case fire: want worker, hang or host\n",
		"-reps 0":           "recovery: -reps 0: want 1 or more\n",
		"-state -1":         "recovery: -state -1: want bytes, at most 64 GiB\n",
		"-limit 0s":         "recovery: -limit 0s -stall 1s: want more than 0\n",
		"-spares -1":        "recovery: -spares -1: want 0 or more\n",
		"worker":            "recovery: \"worker\": want flags only\n",
		"-nonsense":         "recovery: flag provided but not defined: -nonsense\n",
		"-gorun /nowhere/x": "",
	} {
		var out, errs bytes.Buffer
		status := run(t.Context(), strings.Fields(args), &out, &errs)
		if want == "" {
			if status != 1 || !strings.Contains(errs.String(), "/nowhere/x") || !strings.Contains(errs.String(), "-gorun") {
				t.Errorf("%s: status %d, %s", args, status, errs.String())
			}
		} else if status != usage || errs.String() != want {
			t.Errorf("%s: status %d, %swant 64, %s", args, status, errs.String(), want)
		}
	}
}
