package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files")

func TestScaling(t *testing.T) {
	svg := filepath.Join(t.TempDir(), "x.svg")
	var out, errs bytes.Buffer
	status := run([]string{
		"-cluster", "16x2 rate=1Gbit/s latency=60us rack=4 oversubscription=2", "-bytes", "64KiB,1MiB", "-compute", "100ms", "-overlap", ".1",
		"-measured", filepath.Join("testdata", "measured.csv"), "-svg", svg,
	}, &out, &errs)
	if status != 0 || errs.Len() > 0 {
		t.Fatalf("status %d, %s", status, &errs)
	}
	drawn, err := os.ReadFile(svg)
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string][]byte{"small.csv": out.Bytes(), "small.svg": drawn} {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s differs (%v); run with -update and look at the difference. Got:\n%s", path, err, got)
		}
	}
}

func TestTimesAreDrawnWithoutAStep(t *testing.T) {
	svg := filepath.Join(t.TempDir(), "x.svg")
	var out, errs bytes.Buffer
	if status := run([]string{"-cluster", "4", "-svg", svg}, &out, &errs); status != 0 {
		t.Fatalf("status %d, %s", status, &errs)
	}
	if drawn, err := os.ReadFile(svg); err != nil || !bytes.Contains(drawn, []byte(">time<")) {
		t.Errorf("%s, %v", drawn, err)
	}
	if lines := strings.Split(out.String(), "\n"); len(lines) != 5 || !strings.HasPrefix(lines[1], "1,1,67108864,ring,0.00,,") {
		t.Errorf("got %q", lines)
	}
}

func TestEfficiencyIsTheComputingPart(t *testing.T) {
	for _, c := range []struct {
		step step
		took time.Duration
		want float64
	}{
		{step{}, time.Second, 0},
		{step{100 * time.Millisecond, 0}, 0, 1},
		{step{100 * time.Millisecond, 0}, 100 * time.Millisecond, .5},
		{step{100 * time.Millisecond, .5}, 50 * time.Millisecond, 1},
		{step{100 * time.Millisecond, .5}, 150 * time.Millisecond, .5},
	} {
		if got := c.step.efficiency(float64(c.took)); got != c.want {
			t.Errorf("%+v, %v: %v, want %v", c.step, c.took, got, c.want)
		}
	}
}

func TestWrongUsageIsOneLine(t *testing.T) {
	raw := filepath.Join("testdata", "measured.csv")
	for want, args := range map[string][]string{
		"scaling: cluster \"many\": want hosts and ranks":   {"-cluster", "many"},
		"-ranks 0: want 1 to 32":                            {"-cluster", "8x4", "-ranks", "0"},
		"-ranks 6: hosts have 4 ranks":                      {"-cluster", "8x4", "-ranks", "4,6"},
		"-bytes lots: want a size":                          {"-bytes", "lots"},
		"-bytes 9999999999GiB: want a size":                 {"-bytes", "9999999999GiB"},
		"-compute -1s: want 0 or more":                      {"-compute", "-1s"},
		"-overlap 2: want 0 to 1":                           {"-overlap", "2"},
		"\"more\": want flags only":                         {"more"},
		"flag provided but not defined: -speed":             {"-speed", "9"},
		"-measured " + raw + ": no peer's name begins with": {"-cluster", "4", "-ranks", "4", "-measured", raw, "-ours", "kungfu"},
		"there is no line of 2 ranks":                       {"-cluster", "4", "-ranks", "2", "-measured", raw},
		"no such file":                                      {"-measured", "missing.csv"},
	} {
		var out, errs bytes.Buffer
		status := run(args, &out, &errs)
		if text := errs.String(); status != 64 || !strings.Contains(text, want) || strings.Count(text, "\n") != 1 {
			t.Errorf("%v: status %d, %q, want %q", args, status, text, want)
		}
	}
	var out, errs bytes.Buffer
	if status := run([]string{"-h"}, &out, &errs); status != 0 || !strings.Contains(out.String(), "-overlap") {
		t.Errorf("status %d, %s", status, &out)
	}
}
