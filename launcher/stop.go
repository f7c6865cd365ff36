package launcher

import (
	"context"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
)

const (
	stopMargin = 10 * time.Second       // beyond a job's grace, until it must have ended
	stopLook   = 500 * time.Millisecond // between two looks at how long it has taken
)

// Stop asks a job to stop, as a signal to its gorun would, and waits until it has ended,
// which it says on stdout. What happens meanwhile it says on stderr. With now set, ranks are
// killed at once. by is who asks, for people.
func Stop(ctx context.Context, f Found, now bool, by string, stdout, stderr *os.File) error {
	v, err := f.visit(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
	q := control.EventsRequest{From: math.MaxUint64, Follower: v.Name()} // what happens from now on
	r, err := v.Events(ctx, q)
	if err != nil {
		return f.unanswered(err)
	}
	asked, err := v.Stop(ctx, control.StopRequest{Now: now, By: by})
	if err != nil {
		return f.unanswered(err)
	}
	o, err := newOutput(newSink(stdout), newSink(stderr), "", false, true)
	if err != nil {
		return err
	}
	bound, how := asked.Grace+stopMargin, "gorun stop --now "+f.Job+" kills its ranks at once"
	if now {
		bound, how = stopMargin, fmt.Sprintf("kill -KILL %d on host %s ends it", f.PID, f.Host)
	}
	q.Hold = stopLook
	for began := time.Now(); r.End == nil; {
		took := time.Since(began)
		if took > bound {
			_ = o.close() // what it has shown is no result
			return &Refusal{Status: control.StatusTemporary, Text: fmt.Sprintf("job %s has not ended within %v: %s", f.Job, bound, how)}
		}
		o.progress(fmt.Sprintf("job %s is stopping · %s of at most %s", f.Job, lasted(took), lasted(bound)))
		q.From = r.Next
		if r, err = v.Events(ctx, q); err != nil {
			_ = o.close() // what it has shown is no result
			return f.unanswered(err)
		}
		for _, e := range r.Events {
			if e.Event != control.EventEnd {
				o.note(eventLine(e))
			}
		}
	}
	if err := o.close(); err != nil {
		return err
	}
	line := r.End.Line
	if r.End.OK {
		line = fmt.Sprintf("job %s had finished: %s", f.Job, line)
	}
	_, err = fmt.Fprintln(stdout, line)
	return err
}
