package launcher

import (
	"fmt"
	"strings"
	"time"
)

// plainEvery is how often progress is said where there is no live line, beside once an epoch.
const plainEvery = 10 * time.Second

// progress turns completed steps into the line that people watch.
type progress struct {
	epoch      int
	generation uint64
	from       float64 // time at which counting began
	counting   bool
	samples    int // since from
	compute    float64
	comm       float64
	input      float64
	lastT      float64

	said time.Time // when the last plain line was said
	none bool      // no line so far
	now  Metrics
}

func newProgress(now time.Time) *progress { return &progress{said: now, none: true} }

// add takes the next completed step. It returns the line to keep, if this is a moment for
// one: the end of an epoch or, where plain is set, the end of ten seconds.
func (p *progress) add(m Metrics, now time.Time, plain bool) (keep string) {
	if m.Epoch != p.epoch || m.Generation != p.generation {
		p.samples, p.compute, p.comm, p.input = 0, 0, 0, 0
		// Steps follow each other without a pause except at the start of a generation, where
		// the first step only starts the clock.
		p.counting = m.Generation == p.generation
		p.from = p.lastT
		p.epoch, p.generation = m.Epoch, m.Generation
	}
	if p.counting {
		p.samples += m.Samples
	} else {
		p.counting, p.from = true, m.T
	}
	p.compute += m.ComputeMS
	p.comm += m.CommMS
	p.input += m.InputMS
	p.lastT, p.now = m.T, m
	p.none = false
	r := m.last
	if r.StepsPerEpoch > 0 && r.StepOfEpoch == r.StepsPerEpoch || plain && now.Sub(p.said) >= plainEvery {
		p.said = now
		return p.line()
	}
	return ""
}

// line is the progress so far.
func (p *progress) line() string {
	if p.none {
		return ""
	}
	r := p.now.last
	var b strings.Builder
	switch {
	case r.StepsPerEpoch > 0 && r.Epochs > 0:
		fmt.Fprintf(&b, "epoch %d/%d %s %d/%d", r.Epoch, r.Epochs, bar(r.StepOfEpoch, r.StepsPerEpoch), r.StepOfEpoch, r.StepsPerEpoch)
	case r.Steps > 0:
		fmt.Fprintf(&b, "step %s %d/%d", bar(r.Step, r.Steps), r.Step, r.Steps)
	default:
		fmt.Fprintf(&b, "step %d", r.Step)
	}
	if span := p.lastT - p.from; span > 0 && p.samples > 0 {
		fmt.Fprintf(&b, " · %s samples/s", grouped(float64(p.samples)/span))
	}
	if loss := p.now.Loss; loss != nil {
		fmt.Fprintf(&b, " · loss %.3g", *loss)
	} else {
		b.WriteString(" · loss not finite")
	}
	if all := p.compute + p.comm + p.input; all > 0 {
		fmt.Fprintf(&b, " · compute %.0f %% comm %.0f %% input %.0f %%", 100*p.compute/all, 100*p.comm/all, 100*p.input/all)
	}
	return b.String()
}

const barCells = 18

// bar draws how much is done.
func bar(done, of int) string {
	full := min(barCells, max(0, barCells*done/max(of, 1)))
	return strings.Repeat("━", full) + strings.Repeat("─", barCells-full)
}

// grouped writes a rate with its thousands apart: 41 200.
func grouped(x float64) string {
	if x < 100 {
		return fmt.Sprintf("%.3g", x)
	}
	digits := fmt.Sprintf("%.0f", x)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(' ')
		}
		b.WriteRune(d)
	}
	return b.String()
}
