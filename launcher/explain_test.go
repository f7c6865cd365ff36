package launcher

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
)

func TestAccount(t *testing.T) {
	status := 75
	a := account([]control.Event{
		{T: 100, Job: "j", Event: control.EventStarted},
		{T: 101, Job: "j", Event: control.EventGeneration, Generation: 1, Size: 4},
		{T: 110, Job: "j", Event: control.EventRankLost, Generation: 1, Step: 9},
		{T: 110.5, Job: "j", Event: control.EventHostLost, Generation: 1, Step: 9, Host: "h2"},
		{T: 112, Job: "j", Event: control.EventGeneration, Generation: 2, Size: 3, Step: 9},
		{T: 112.25, Job: "j", Event: control.EventTraining, Generation: 2, Size: 3, Step: 10, Seconds: 2.25, Detail: "training again after 2.250 s, step 10"},
		{T: 113, Job: "j", Event: control.EventSaved, Generation: 2, Step: 10, Detail: "a"},
		{T: 114, Job: "j", Event: control.EventSaved, Generation: 2, Step: 20, Detail: "b"},
		{T: 115, Job: "j", Event: control.EventResize, Generation: 2, Step: 20},
		{T: 116, Job: "j", Event: control.EventGeneration, Generation: 3, Size: 4, Step: 20},
		{T: 190, Job: "j", Event: control.EventEnd, Generation: 3, Step: 30, Status: &status, Detail: "why"},
	}, 0)
	if a.RanksLost != 1 || a.HostsLost != 1 || a.Repair != 2.25 || a.Checkpoints != 2 || a.Resizes != 1 || a.Generations != 3 || a.Steps != 30 || a.Seconds != 90 || !a.Ended {
		t.Errorf("account %+v", a)
	}
	var b strings.Builder
	if err := a.write(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"   +12.000 s  generation 2 of 3 ranks:  (2.000 s after the loss)\n   +12.250 s  training again after 2.250 s, step 10\n   +14.000 s  2 checkpoints saved, the newest of step 20: b\n",
		"generation 3 of 4 ranks: \n3 generations · 30 steps · 2 checkpoints · asked to resize 1 time · 1 rank lost · 1 host lost, 2.250 s until training went on",
		"\nended with status 75 after 1 min 30 s: why\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("told\n%s\nwant\n%s", b.String(), want)
		}
	}
}

func TestPastIsBounded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	many := make([]control.Event, pastEvents+10)
	for i := range many {
		many[i] = control.Event{Job: "first", Event: control.EventSaved, Step: i}
	}
	if err := keepPast(dir, many); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "first.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "\n"); n != pastEvents {
		t.Errorf("%d events are kept, want %d", n, pastEvents)
	}
	if lines := strings.SplitN(string(text), "\n", 3); !strings.Contains(lines[0], `"step":0,`) || !strings.Contains(lines[1], `"step":11,`) {
		t.Errorf("kept %q and %q first, want steps 0 and 11", lines[0], lines[1])
	}
	old := time.Unix(1000, 0) // files of the same instant have no order
	if err := os.Chtimes(filepath.Join(dir, "first.jsonl"), old, old); err != nil {
		t.Fatal(err)
	}
	for i := range pastJobs {
		if err := keepPast(dir, []control.Event{{Job: fmt.Sprintf("j%03d", i), Event: control.EventEnd}}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(pastFiles(dir)); n != pastJobs {
		t.Errorf("%d jobs are kept, want %d", n, pastJobs)
	}
	if _, err := PastJob(dir, "first"); err == nil {
		t.Error("the oldest job is kept, want the newest")
	}
	if _, err := PastJob(dir, "j0"); err == nil || !strings.Contains(err.Error(), "100 that have ended have a name like that") {
		t.Errorf("a name that many begin with: %v", err)
	}
	if file, err := PastJob(dir, "j042"); err != nil || filepath.Base(file) != "j042.jsonl" {
		t.Errorf("j042 is in %q, %v", file, err)
	}
}
