package worker

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/collective"
)

// Records are whole, private, and bounded: the oldest of a job go.
func TestFlightRecords(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "job")
	began := time.Unix(1000, 0)
	ops := []collective.Flown{
		{Operation: "all-reduce", Name: "bucket w", Type: "float32", Bytes: 12, Lane: 1, Step: 7, Begun: began.Add(time.Second), Ended: began.Add(1500 * time.Millisecond)},
		{Operation: "barrier", Seq: 9, Step: 7, Begun: began.Add(2 * time.Second)},
	}
	if err := writeFlight(dir, flightHead{}, nil, began); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("a rank that has done nothing leaves a record")
	}
	for g := range mostFlights + 10 {
		if err := writeFlight(dir, flightHead{Job: "7f3a", Rank: 2, Generation: uint64(g), Why: "rank 1 is lost"}, ops, began); err != nil {
			t.Fatal(err)
		}
		old := time.Unix(int64(g), 0) // files of the same instant have no order
		if err := os.Chtimes(filepath.Join(dir, fmt.Sprintf("rank-2-generation-%d.jsonl", g)), old, old); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != mostFlights {
		t.Errorf("%d records are kept, %v: want %d", len(entries), err, mostFlights)
	}
	newest := filepath.Join(dir, fmt.Sprintf("rank-2-generation-%d.jsonl", mostFlights+9))
	info, err := os.Stat(newest)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("mode %v, want 0600", info.Mode())
	}
	f, err := os.Open(newest)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var lines []string
	for s := bufio.NewScanner(f); s.Scan(); {
		lines = append(lines, s.Text())
	}
	want := `{"operation":"barrier","bytes":0,"lane":0,"seq":9,"step":7,"generation":137,"begun":2,"ended":null}`
	if len(lines) != 3 || lines[2] != want {
		t.Errorf("record %q, want 3 lines, the last %q", lines, want)
	}
	var line flightLine
	if err := json.Unmarshal([]byte(lines[1]), &line); err != nil || line.Begun != 1 || line.Ended == nil || *line.Ended != 1.5 {
		t.Errorf("%s: %+v, %v: want begun after 1 s, ended after 1.5 s", lines[1], line, err)
	}
}

func TestFlightRecordThatCantBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeFlight(filepath.Join(file, "job"), flightHead{}, make([]collective.Flown, 1), time.Time{}); err == nil {
		t.Error("a record was written below a file")
	}
}
