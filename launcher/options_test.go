package launcher

import (
	"slices"
	"strings"
	"testing"
)

func TestParseRanks(t *testing.T) {
	for text, want := range map[string]int{"1": 1, " 12 ": 12, "0": 0, "-4": 0, "": 0, "4x": 0, "1e3": 0, "99999999999999999999": 0} {
		got, err := ParseRanks(text)
		if got != want || (err == nil) != (want > 0) {
			t.Errorf("-np %q: %d, %v; want %d", text, got, err, want)
		}
	}
}

func TestCheckRanks(t *testing.T) {
	big := machine{cores: 2, memory: 64 << 30}
	for _, c := range []struct {
		name string
		np   int
		over bool
		m    machine
		want string // "" for none
	}{
		{"fits", 128, false, big, ""},
		{"cores", 129, false, big, "-np 129: this machine takes at most 128 ranks (64 for each of its 2 cores): lower -np, or pass --oversubscribe"},
		{"oversubscribed", 4096, true, big, ""},
		{"memory", 4097, true, big, "-np 4097: this machine takes at most 4096 ranks (65536 MiB of memory, at least 16 for a rank): lower -np"},
		{"processes", 101, false, machine{cores: 8, processes: 800}, "-np 101: this machine takes at most 100 ranks (ulimit -u is 800 and a rank has about 8 threads): lower -np, or raise ulimit -u"},
		{"files", 161, false, machine{cores: 8, files: 1024}, "-np 161: this machine takes at most 160 ranks (ulimit -n is 1024 and a rank takes 6 files): lower -np, or raise ulimit -n"},
		{"no files at all", 1, false, machine{cores: 8, files: 20}, "-np 1: this machine takes at most 0 ranks (ulimit -n is 20 and a rank takes 6 files): lower -np, or raise ulimit -n"},
		{"unknown", 10_000, true, machine{cores: 1}, ""},
	} {
		err := checkRanks(c.np, c.over, c.m)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
	if n := mostRanks(machine{cores: 8, files: 1024}); n != 160 {
		t.Errorf("at most %d ranks, want 160", n)
	}
}

func TestResumeCommand(t *testing.T) {
	o := Options{Command: []string{"-np", "4", "--checkpoint", "my dir", "train.go", "--name", "it's"}, ProgramAt: 4}
	if got, want := o.resume(), `gorun -np 4 --checkpoint 'my dir' --resume train.go --name 'it'\''s'`; got != want {
		t.Errorf("resume with %s, want %s", got, want)
	}
	o.Checkpoint.Resume = true
	if got := o.resume(); strings.Contains(got, "--resume") {
		t.Errorf("resume with %s: --resume twice", got)
	}
}

func TestMergeReplacesVariables(t *testing.T) {
	got := merge([]string{"PATH=/bin", "RANK=9", "HOME=/root", "RANK=8"}, []string{"RANK=0", "WORLD_SIZE=4"})
	if want := []string{"PATH=/bin", "HOME=/root", "RANK=0", "WORLD_SIZE=4"}; !slices.Equal(got, want) {
		t.Errorf("environment %q, want %q", got, want)
	}
}
