package launcher

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gorun-ml/gorun/internal/control"
)

func reported(generation uint64, size, rank, step int) control.Report {
	loss := 0.5
	return control.Report{
		Member: fmt.Sprintf("%d.1", rank), Rank: rank, Generation: generation, Size: size, Step: step, Epoch: 1,
		T: 1000 + float64(step) + float64(rank)/10, Loss: &loss, Samples: 256,
		ComputeMS: 10, CommMS: float64(rank), InputMS: 1,
	}
}

func ids(lines []Metrics) (out []stepID) {
	for _, m := range lines {
		out = append(out, stepID{m.Generation, m.Step})
	}
	return out
}

func TestAStepIsClosedWhenAllRanksHaveReportedIt(t *testing.T) {
	l := newLedger()
	for rank := range 2 {
		if got := l.add(reported(1, 3, rank, 1)); got != nil {
			t.Fatalf("closed %v with %d of 3 reports", ids(got), rank+1)
		}
	}
	l.add(reported(1, 3, 0, 1)) // told twice, counted once
	got := l.add(reported(1, 3, 2, 1))
	if len(got) != 1 || got[0].CommMS != 1 || got[0].ComputeMS != 10 || got[0].T != 1001.2 || got[0].Samples != 256 {
		t.Fatalf("closed %+v", got)
	}
}

func TestALaterGenerationClosesWhatIsMissing(t *testing.T) {
	l := newLedger()
	for rank := range 2 { // rank 2 died in step 5, rank 1 had not reported step 5 either
		for step := 1; step <= 5-rank; step++ {
			l.add(reported(1, 3, rank, step))
		}
	}
	var got []Metrics
	for rank := range 3 {
		got = append(got, l.add(reported(2, 3, rank, 5))...)
	}
	want := []stepID{{1, 1}, {1, 2}, {1, 3}, {1, 4}, {1, 5}, {2, 5}}
	if !slices.Equal(ids(got), want) {
		t.Errorf("closed %v, want %v", ids(got), want)
	}
	if late := l.add(reported(1, 3, 2, 3)); late != nil {
		t.Errorf("closed %v again", ids(late))
	}
	l.add(reported(2, 3, 0, 6))
	if got := ids(l.rest()); !slices.Equal(got, []stepID{{2, 6}}) {
		t.Errorf("the rest is %v", got)
	}
}

// Reports arrive in any order among ranks, in order from each.
func TestStepsAreInOrderWhateverTheRanksDo(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	l := newLedger()
	const ranks, steps = 5, 200
	var at [ranks]int
	var got []stepID
	for len(got) < steps {
		r := rng.IntN(ranks)
		if at[r] < steps {
			at[r]++
			got = append(got, ids(l.add(reported(1, ranks, r, at[r])))...)
		}
	}
	for i, id := range got {
		if id != (stepID{1, i + 1}) {
			t.Fatalf("line %d is step %v", i, id)
		}
	}
	if len(l.open) > 0 {
		t.Errorf("%d steps are still open", len(l.open))
	}
}

func TestMemoryIsBoundedWhereOneRankNeverReports(t *testing.T) {
	l := newLedger()
	n := 0
	for step := 1; step <= 3*maxOpen; step++ {
		n += len(l.add(reported(1, 2, 0, step)))
	}
	if len(l.open) > maxOpen || n+len(l.open) != 3*maxOpen {
		t.Errorf("%d open, %d closed", len(l.open), n)
	}
}

func TestMetricsFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "m.jsonl")
	w, err := openMetrics(name, false)
	if err != nil {
		t.Fatal(err)
	}
	loss := 0.25
	if err := w.write([]Metrics{{T: 1700000000.5, Generation: 1, Size: 2, Step: 1, Epoch: 1, Loss: &loss, Samples: 64, ComputeMS: 1.5}, {Step: 2}}); err != nil {
		t.Fatal(err)
	}
	if err := w.close(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"t":1700000000.500000,"generation":1,"size":2,"step":1,"epoch":1,"loss":0.25,"samples":64,"compute_ms":1.5,"comm_ms":0,"input_ms":0}
{"t":0.000000,"generation":0,"size":0,"step":2,"epoch":0,"loss":null,"samples":0,"compute_ms":0,"comm_ms":0,"input_ms":0}
`
	if string(got) != want {
		t.Errorf("file\n%swant\n%s", got, want)
	}
	var none *metricsFile
	if none.write(nil) != nil || none.close() != nil {
		t.Error("no file is no error")
	}
}

func TestKeepersWriteMetricsInTurn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.jsonl")
	step := func(n int) []Metrics { return []Metrics{{Generation: 1, Step: n}} }
	a, b := &metricsFile{holds: true}, &metricsFile{holds: true}
	both := func(n int) {
		if err := errors.Join(a.write(step(n)), b.write(step(n))); err != nil {
			t.Fatal(err)
		}
	}
	both(1)
	if err := os.WriteFile(path, []byte(`{"generation":9,"step":9}`+"\n"), 0o600); err != nil { // of another job
		t.Fatal(err)
	}
	if err := a.take(path, true); err != nil {
		t.Fatal(err)
	}
	both(2)
	if err := a.yield(); err != nil { // it has ended
		t.Fatal(err)
	}
	both(3)
	if err := b.take(path, false); err != nil {
		t.Fatal(err)
	}
	both(4)
	if err := errors.Join(b.yield(), a.take(path, false)); err != nil {
		t.Fatal(err)
	}
	both(5)
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var steps []int
	for line := range bytes.Lines(data) {
		var m Metrics
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		steps = append(steps, m.Step)
	}
	if !slices.Equal(steps, []int{1, 2, 3, 4, 5}) {
		t.Errorf("steps %v were written, want 1 to 5, each once", steps)
	}
}
