package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDraw(t *testing.T) {
	raw, limits := filepath.Join("..", "testdata", "raw.csv"), filepath.Join("..", "testdata", "limits.csv")
	svg := filepath.Join(t.TempDir(), "x.svg")
	for _, c := range []struct {
		args   []string
		status int
		want   string // in what is written
	}{
		{[]string{"-np", "2", "-table", "-limits", limits, raw}, 0, "limit, loopback TCP"},
		{[]string{"-np", "2", raw}, 0, "<svg "},
		{[]string{"-np", "2", "-o", svg, raw}, 0, ""},
		{[]string{"-h"}, 0, "draw [flags] CSV"},
		{nil, 64, "draw: 0 files: want one CSV file"},
		{[]string{raw}, 64, "np 4 after np 2: say which"},
		{[]string{"-np", "8", raw}, 64, "there is no line of 8 ranks"},
		{[]string{"-colour", raw}, 64, "draw: flag provided but not defined: -colour"},
		{[]string{"missing.csv"}, 64, "missing.csv: no such file"},
	} {
		var out, errs bytes.Buffer
		if status := run(c.args, &out, &errs); status != c.status || !strings.Contains(out.String()+errs.String(), c.want) {
			t.Errorf("%v: status %d, %s%s", c.args, status, &out, &errs)
		}
		if c.status != 0 && strings.Count(errs.String(), "\n") != 1 {
			t.Errorf("%v: want one line, got %s", c.args, &errs)
		}
	}
	if written, err := os.ReadFile(svg); err != nil || !bytes.HasPrefix(written, []byte("<svg ")) {
		t.Errorf("%s: %v", written, err)
	}
}
