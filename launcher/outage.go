package launcher

import (
	"time"

	"github.com/gorun-ml/gorun/internal/control"
)

// outage is the time in which no step is done since a rank was lost or hangs. It ends with
// the first step of a later generation.
type outage struct {
	since time.Time // zero for none
	gen   uint64    // the generation that has ended with it
}

func (o *outage) begin(gen uint64, now time.Time) {
	if gen == 0 {
		return // nothing has been trained
	}
	if o.since.IsZero() {
		o.since = now
	}
	o.gen = gen
}

// ends says whether a report shows that training goes on.
func (o *outage) ends(r control.Report) bool { return !o.since.IsZero() && r.Generation > o.gen }

// trains notes that a step was done.
func (j *job) trains(r control.Report, now time.Time) {
	if !j.outage.ends(r) {
		return
	}
	j.do(actTrains{step: r.Step, after: now.Sub(j.outage.since)})
	j.outage = outage{}
}
