package bench

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/gorun-ml/gorun/topology"
)

const (
	// rounds is how often each algorithm is timed in turn, so that all meet the same
	// disturbances.
	rounds = 5
	// hopeless is how many times slower than the best prediction an algorithm has to be
	// predicted so that nobody waits for it.
	hopeless = 10
)

// Explanation is why an algorithm was chosen for a size, and whether that was right.
type Explanation struct {
	Bytes     int     `json:"bytes"`
	Chosen    string  `json:"chosen"`
	Why       string  `json:"why"`
	Predicted float64 `json:"predicted_us"`
	Measured  float64 `json:"measured_us"`
	Error     float64 `json:"error_percent"` // of the prediction
	Best      string  `json:"best"`
	Regret    float64 `json:"regret_percent"` // how much longer the chosen took than the best
	Tried     []Trial `json:"tried"`
}

// Trial is one algorithm.
type Trial struct {
	Algorithm string  `json:"algorithm"`
	Predicted float64 `json:"predicted_us"`
	Measured  float64 `json:"measured_us"` // 0 where it was not tried

	times []float64
}

// explain tries all algorithms on x.
func (b *benchmark) explain(x []float32) error {
	bytes := 4 * len(x)
	var trials []Trial
	fastest := math.Inf(1)
	for _, name := range b.comm.Algorithms() {
		t := Trial{Algorithm: name, Predicted: b.predict(name, bytes)}
		if t.Predicted > 0 {
			fastest = min(fastest, t.Predicted)
		}
		trials = append(trials, t)
	}
	chosen := b.comm.Algorithm(bytes)
	for round := range rounds {
		for i := range trials {
			t := &trials[i]
			if t.Predicted > hopeless*fastest && t.Algorithm != chosen {
				continue
			}
			if err := b.try(t, x, round == 0); err != nil {
				return fmt.Errorf("%s: %w", t.Algorithm, err)
			}
		}
	}
	if b.comm.Rank() != 0 {
		return nil
	}
	e := b.judge(bytes, chosen, trials)
	if b.JSON {
		fmt.Println(line(e))
		return nil
	}
	return e.write(os.Stdout)
}

// predict is the microseconds that an algorithm should take.
func (b *benchmark) predict(name string, bytes int) float64 {
	n, err := topology.Find(topology.AllReduce, name)
	if err != nil { // it sends no messages
		return micros(topology.SharedTime(b.comm.Size(), int64(bytes), b.links, b.Alloc == allocSlice))
	}
	return micros(topology.Estimate(b.comm.World(), n.Algorithm(0), int64(bytes), b.links))
}

// try times an algorithm once more, having checked in the first round that it sums.
func (b *benchmark) try(t *Trial, x []float32, first bool) error {
	c, err := b.comm.With(t.Algorithm)
	if err != nil {
		return err
	}
	if first {
		if err := check(c, x); err != nil {
			return err
		}
		clear(x)
	}
	few, err := timed(c, x, 2)
	if err != nil {
		return err
	}
	iters := min(maxIters/rounds, max(2, int(b.Seconds/rounds/few[1])))
	times, err := timed(c, x, iters)
	if err != nil {
		return err
	}
	t.times = append(t.times, times...)
	return c.Close()
}

// judge compares the chosen algorithm with the others.
func (b *benchmark) judge(bytes int, chosen string, trials []Trial) Explanation {
	e := Explanation{Bytes: bytes, Chosen: chosen, Why: b.why(bytes, chosen)}
	fastest := math.Inf(1)
	for i := range trials {
		t := &trials[i]
		if len(t.times) > 0 {
			slices.Sort(t.times)
			t.Measured = digits(t.times[len(t.times)/2] * 1e6)
			if t.Measured < fastest {
				fastest, e.Best = t.Measured, t.Algorithm
			}
		}
		if t.Algorithm == chosen {
			e.Predicted, e.Measured = t.Predicted, t.Measured
		}
	}
	if e.Predicted > 0 {
		e.Error = digits(100 * (e.Predicted - e.Measured) / e.Measured)
	}
	e.Regret = digits(100 * (e.Measured - fastest) / fastest)
	slices.SortStableFunc(trials, func(x, y Trial) int {
		return cmp.Compare(cmp.Or(x.Measured, math.Inf(1)), cmp.Or(y.Measured, math.Inf(1)))
	})
	e.Tried = trials
	return e
}

// why is the reason for the choice, in words.
func (b *benchmark) why(bytes int, chosen string) string {
	if _, err := topology.Find(topology.AllReduce, chosen); err != nil {
		return "all ranks reach each other's memory"
	}
	return topology.Select(b.comm.World(), topology.Collective{Kind: topology.AllReduce}, int64(bytes), b.links).Why
}

// write shows an explanation to people.
func (e Explanation) write(out io.Writer) error {
	fmt.Fprintf(out, "%s: %s, because: %s\n", sizeText(e.Bytes), e.Chosen, e.Why)
	predicted := "not predicted"
	if e.Predicted > 0 {
		predicted = fmt.Sprintf("predicted %s, error %+.0f %%", timeText(e.Predicted), e.Error)
	}
	fmt.Fprintf(out, "  measured %s, %s, regret %.1f %% against %s\n", timeText(e.Measured), predicted, e.Regret, e.Best)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "measured\tpredicted\t  \n")
	for _, t := range e.Tried {
		measured, predicted := "not tried", "–"
		if t.Measured > 0 {
			measured = timeText(t.Measured)
		}
		if t.Predicted > 0 {
			predicted = timeText(t.Predicted)
		}
		fmt.Fprintf(table, "%s\t%s\t  %s\n", measured, predicted, t.Algorithm)
	}
	return table.Flush()
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

// timeText is microseconds with three digits.
func timeText(us float64) string {
	switch {
	case us >= 1e5:
		return fmt.Sprintf("%.0f ms", us/1e3)
	case us >= 1e3:
		return fmt.Sprintf("%.3g ms", us/1e3)
	}
	return fmt.Sprintf("%.3g µs", us)
}
