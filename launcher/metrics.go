package launcher

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/gorun-ml/gorun/internal/control"
)

// Metrics is one completed step, as a line of the metrics file. For a step that was done
// again, in a later generation, there are several lines: the highest generation counts.
type Metrics struct {
	T          float64  `json:"t"` // Unix seconds with microseconds, of the last rank
	Generation uint64   `json:"generation"`
	Size       int      `json:"size"`
	Step       int      `json:"step"`
	Epoch      int      `json:"epoch"`
	Loss       *float64 `json:"loss"` // null if it was not finite
	Samples    int      `json:"samples"`
	ComputeMS  float64  `json:"compute_ms"` // means over the ranks
	CommMS     float64  `json:"comm_ms"`
	InputMS    float64  `json:"input_ms"`
	Skipped    bool     `json:"skipped,omitempty"` // it was not finite, and not applied

	last control.Report // for progress
}

// ledger puts the reports of all ranks together, step by step.
type ledger struct {
	open map[stepID]*tally
	last stepID // the newest that was closed
}

type stepID struct {
	generation uint64
	step       int
}

func (a stepID) compare(b stepID) int {
	switch {
	case a.generation != b.generation:
		return int(int64(a.generation - b.generation))
	default:
		return a.step - b.step
	}
}

// tally is a step that some ranks have reported.
type tally struct {
	id      stepID
	members []string
	m       Metrics
}

// maxOpen bounds how far ranks may be apart, in steps, before a step is closed without those
// that have not reported it.
const maxOpen = 4096

func newLedger() *ledger { return &ledger{open: map[stepID]*tally{}} }

// add takes one rank's report and returns the steps that it closes, in order. A step is
// closed when all ranks of its generation have reported it. Since the reports of a rank
// arrive in order, what older steps and generations still miss then will not come any more.
func (l *ledger) add(r control.Report) []Metrics {
	id := stepID{r.Generation, r.Step}
	if id.compare(l.last) <= 0 {
		return nil
	}
	t := l.open[id]
	if t == nil {
		t = &tally{id: id, m: Metrics{Generation: r.Generation, Size: r.Size, Step: r.Step, Epoch: r.Epoch, Loss: r.Loss, Samples: r.Samples, Skipped: r.Skipped}}
		l.open[id] = t
	}
	if slices.Contains(t.members, r.Member) {
		return nil
	}
	t.members = append(t.members, r.Member)
	t.m.T = max(t.m.T, r.T)
	t.m.ComputeMS += r.ComputeMS
	t.m.CommMS += r.CommMS
	t.m.InputMS += r.InputMS
	t.m.last = r
	switch {
	case len(t.members) >= r.Size:
		return l.closeUpTo(id)
	case len(l.open) > maxOpen:
		oldest := id
		for other := range l.open {
			if other.compare(oldest) < 0 {
				oldest = other
			}
		}
		return l.closeUpTo(oldest)
	}
	return nil
}

// rest closes everything: no more reports will come.
func (l *ledger) rest() []Metrics {
	newest := l.last
	for id := range l.open {
		if id.compare(newest) > 0 {
			newest = id
		}
	}
	return l.closeUpTo(newest)
}

func (l *ledger) closeUpTo(id stepID) []Metrics {
	var closed []*tally
	for other, t := range l.open {
		if other.compare(id) <= 0 {
			closed = append(closed, t)
			delete(l.open, other)
		}
	}
	slices.SortFunc(closed, func(a, b *tally) int { return a.id.compare(b.id) })
	l.last = id
	lines := make([]Metrics, len(closed))
	for i, t := range closed {
		n := float64(len(t.members))
		t.m.ComputeMS /= n
		t.m.CommMS /= n
		t.m.InputMS /= n
		lines[i] = t.m
	}
	return lines
}

// metricsFile is where --metrics goes: a line a step, each written at once. One of several
// keepers writes it; the others hold the newest lines, for when it is their turn.
type metricsFile struct {
	f     *os.File
	err   error
	holds bool
	held  []Metrics
}

// maxHeld bounds the steps that can pass before a keeper takes another's place.
const maxHeld = 4096

// take begins to write where another has ended, or anew.
func (w *metricsFile) take(path string, anew bool) error {
	last, torn, err := lastStep(path)
	if err != nil {
		return err
	}
	if anew {
		last, torn = stepID{}, false
	}
	f, err := openMetrics(path, !anew)
	if err != nil {
		return err
	}
	held := slices.DeleteFunc(w.held, func(m Metrics) bool { return stepID{m.Generation, m.Step}.compare(last) <= 0 })
	w.f, w.err, w.holds, w.held = f.f, nil, false, nil
	if torn {
		if _, err := w.f.WriteString("\n"); err != nil {
			return err
		}
	}
	return w.write(held)
}

// yield leaves the writing to another.
func (w *metricsFile) yield() error {
	if w.f == nil {
		return nil
	}
	f := w.f
	w.f, w.holds = nil, true
	return f.Close()
}

// lastStep is the step of a file's last whole line, none where there is no file yet, and
// whether less than a line follows it.
func lastStep(path string) (last stepID, torn bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return last, false, nil
	}
	if err != nil {
		return last, false, err
	}
	defer func() { _ = f.Close() }() // only read from
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return last, false, err
	}
	data := make([]byte, min(size, 4096)) // a line takes some 200 bytes
	if _, err := f.ReadAt(data, size-int64(len(data))); err != nil && !errors.Is(err, io.EOF) {
		return last, false, err
	}
	for line := range bytes.Lines(data) {
		var m Metrics
		if bytes.HasSuffix(line, []byte("\n")) && json.Unmarshal(line, &m) == nil {
			last = stepID{m.Generation, m.Step}
		}
	}
	return last, len(data) > 0 && data[len(data)-1] != '\n', nil
}

// openMetrics empties the file, or goes on with it.
func openMetrics(path string, goOn bool) (*metricsFile, error) {
	flags := os.O_CREATE | os.O_WRONLY | os.O_APPEND
	if !goOn {
		flags |= os.O_TRUNC
	}
	f, err := os.OpenFile(path, flags, 0o644)
	if err != nil {
		return nil, err
	}
	return &metricsFile{f: f}, nil
}

// write appends lines. Only the first error is returned: training doesn't end for it.
func (w *metricsFile) write(lines []Metrics) error {
	if w == nil || w.err != nil {
		return nil
	}
	if w.holds {
		w.held = append(w.held, lines...)
		w.held = slices.Delete(w.held, 0, max(len(w.held)-maxHeld, 0))
		return nil
	}
	var data []byte
	for _, m := range lines {
		line, err := m.line()
		if err != nil {
			return err
		}
		data = append(data, line...)
	}
	_, w.err = w.f.Write(data)
	return w.err
}

// line is the step as one line of JSON. Time is written with all its microseconds, which
// the shortest form of a float64 would not show.
func (m Metrics) line() ([]byte, error) {
	type fields Metrics // without the method
	data, err := json.Marshal(struct {
		T json.Number `json:"t"`
		fields
	}{json.Number(fmt.Sprintf("%.6f", m.T)), fields(m)})
	if err != nil {
		return nil, fmt.Errorf("metrics of step %d: %w", m.Step, err)
	}
	return append(data, '\n'), nil
}

func (w *metricsFile) close() error {
	if w == nil || w.f == nil {
		return nil
	}
	return w.f.Close()
}
