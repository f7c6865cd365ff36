package launcher

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
)

const (
	attachLines = 10                     // shown of what was before
	attachLook  = 500 * time.Millisecond // between two looks at the progress, on a terminal
	letGo       = time.Second            // for a terminal that takes nothing, when detaching
)

// errDetached ends an attach that somebody has had enough of.
var errDetached = errors.New("detached")

// StatusDetached is the exit status of an attach that was ended by Ctrl-C.
const StatusDetached = 130

// Attach shows a job as its own terminal does, to its end, and returns its status. A signal
// ends the showing, not the job.
func Attach(ctx context.Context, f Found, signals <-chan os.Signal, stdout, stderr *os.File) (status int, err error) {
	v, err := f.visit(ctx)
	if err != nil {
		return 0, err
	}
	defer v.Close()
	o, err := newOutput(newSink(stdout), newSink(stderr), "", false, true)
	if err != nil {
		return 0, err
	}
	o.waits = true // nothing but this is held up
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var end *control.End
	var failed error
	over := make(chan struct{})
	go func() {
		defer close(over)
		end, failed = follow(ctx, v, o)
	}()
	select {
	case <-over:
	case <-signals:
		cancel(errDetached)
		late := time.NewTimer(letGo)
		defer late.Stop()
		select {
		case <-over:
		case <-late.C: // it waits for the terminal: the process is about to end
			return StatusDetached, o.close(detached(f))
		}
	}
	switch {
	case errors.Is(failed, errDetached):
		return StatusDetached, o.close(detached(f))
	case failed != nil:
		_ = o.close() // there is something worse to say
		return 0, f.unanswered(failed)
	case !end.OK:
		return end.Status, o.close("gorun: " + end.Line)
	case end.Line != "":
		return end.Status, o.close(end.Line)
	}
	return end.Status, o.close()
}

func detached(f Found) string {
	return "gorun: job " + f.Job + " goes on: gorun attach " + f.Job + " shows it again, gorun stop " + f.Job + " ends it"
}

// follow shows all that a job shows from a little before now to its end.
func follow(ctx context.Context, v *control.Visitor, o *output) (*control.End, error) {
	last := attachLines
	q := control.LogRequest{Last: &last, Notes: true, Follower: v.Name()}
	for {
		r, err := v.Log(ctx, q)
		if err != nil {
			return nil, err
		}
		if r.Missed > 0 {
			line := []byte("gorun: " + missing(r.Missed) + "\n")
			o.rank(o.stderr, -1, line, line)
		}
		for _, l := range r.Lines {
			to := o.stderr
			if l.Origin == control.FromStdout {
				to = o.stdout
			}
			o.rank(to, l.Rank, l.Text, l.Text)
		}
		if r.End != nil {
			return r.End, nil
		}
		o.progress(r.Live)
		q.From, q.Last, q.Hold = r.Next, nil, holdFor
		if o.stderr.terminal {
			q.Hold = attachLook
		}
	}
}
