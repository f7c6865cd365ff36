package launcher

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestFlightsAreForgotten(t *testing.T) {
	state := t.TempDir()
	forgetFlights(state) // there is none
	for i := range pastFlights + 3 {
		dir := filepath.Join(state, "flight", fmt.Sprintf("job%02d", i))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "rank-0-generation-1.jsonl"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Unix(int64(1000-i), 0) // the first is the newest
		if err := os.Chtimes(dir, at, at); err != nil {
			t.Fatal(err)
		}
	}
	forgetFlights(state)
	entries, err := os.ReadDir(filepath.Join(state, "flight"))
	if err != nil || len(entries) != pastFlights || entries[0].Name() != "job00" || entries[pastFlights-1].Name() != "job15" {
		t.Errorf("kept %v, %v: want the newest %d", entries, err, pastFlights)
	}
}

func TestWhereFlightsGo(t *testing.T) {
	home := t.TempDir()
	for _, c := range []struct {
		env  []string
		want string
	}{
		{[]string{"HOME=" + home, "GORUN_JOB=7f3a", "GORUN_FLIGHT="}, filepath.Join(home, ".local/state/gorun/flight/7f3a")},
		{[]string{"HOME=" + home, "XDG_STATE_HOME=/s", "GORUN_JOB=7f3a"}, "/s/gorun/flight/7f3a"},
		{[]string{"HOME=" + home, "GORUN_JOB=7f3a", "GORUN_FLIGHT=/asked/7f3a"}, "/asked/7f3a"},
		{[]string{"GORUN_JOB=7f3a", "GORUN_FLIGHT="}, ""},
	} {
		if got, _ := lookIn(withFlights(slices.Clone(c.env)))("GORUN_FLIGHT"); got != c.want {
			t.Errorf("%q: %q, want %q", c.env, got, c.want)
		}
	}
}
