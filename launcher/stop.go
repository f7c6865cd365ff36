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
	v, seen, err := f.look(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
	asked, err := v.Stop(ctx, control.StopRequest{Now: now, By: by})
	if err != nil {
		return f.unanswered(err)
	}
	w := waiting{
		what: fmt.Sprintf("job %s is stopping", f.Job), within: asked.Grace + stopMargin,
		late: fmt.Sprintf("has not ended within %v: gorun stop --now %s kills its ranks at once", asked.Grace+stopMargin, f.Job),
	}
	if now {
		w.within = stopMargin
		w.late = fmt.Sprintf("has not ended within %v: kill -KILL %d on host %s ends it", stopMargin, f.PID, f.Host)
	}
	end, err := f.wait(ctx, v, seen, w, stdout, stderr)
	if err != nil {
		return err
	}
	line := end.Line
	if end.OK {
		line = fmt.Sprintf("job %s had finished: %s", f.Job, line)
	}
	_, err = fmt.Fprintln(stdout, line)
	return err
}

// look begins to follow what happens to a job from now on.
func (f Found) look(ctx context.Context) (*control.Visitor, control.EventsReply, error) {
	v, err := f.visit(ctx)
	if err != nil {
		return nil, control.EventsReply{}, err
	}
	r, err := v.Events(ctx, control.EventsRequest{From: math.MaxUint64, Follower: v.Name()})
	if err != nil {
		v.Close()
		return nil, r, f.unanswered(err)
	}
	return v, r, nil
}

// waiting is what is waited for.
type waiting struct {
	what   string // as progress shows it
	within time.Duration
	late   string                   // what to say when it takes longer
	done   func(control.Event) bool // nil for the job's end
}

// wait shows what happens to a job until it has ended, or what is waited for has come: then
// it returns nil. A job's end it doesn't show.
func (f Found) wait(ctx context.Context, v *control.Visitor, r control.EventsReply, w waiting, stdout, stderr *os.File) (*control.End, error) {
	o, err := newOutput(newSink(stdout), newSink(stderr), "", false, true)
	if err != nil {
		return nil, err
	}
	done := false
	for began := time.Now(); r.End == nil && !done; {
		took := time.Since(began)
		if took > w.within {
			_ = o.close() // what it has shown is no result
			return nil, &Refusal{Status: control.StatusTemporary, Text: fmt.Sprintf("job %s %s", f.Job, w.late)}
		}
		o.progress(fmt.Sprintf("%s · %s of at most %s", w.what, lasted(took), lasted(w.within)))
		if r, err = v.Events(ctx, control.EventsRequest{From: r.Next, Follower: v.Name(), Hold: stopLook}); err != nil {
			_ = o.close() // what it has shown is no result
			return nil, f.unanswered(err)
		}
		for _, e := range r.Events {
			if e.Event != control.EventEnd {
				o.note(eventLine(e))
			}
			done = done || w.done != nil && w.done(e)
		}
	}
	if err := o.close(); err != nil {
		return nil, err
	}
	if done {
		return nil, nil
	}
	return r.End, nil
}
