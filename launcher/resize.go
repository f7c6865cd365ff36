package launcher

import (
	"context"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
)

// resizeWithin is how long new ranks may take to begin to train: to be started, and to read
// their data.
const resizeWithin = DefaultStartTimeout + 30*time.Second

// Resize asks a job for another number of ranks, and waits until that many train, which it
// says on stdout. What happens meanwhile it says on stderr.
func Resize(ctx context.Context, f Found, ranks int, by string, stdout, stderr *os.File) error {
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
	asked, err := v.Resize(ctx, control.ResizeRequest{Ranks: ranks, By: by})
	switch {
	case err != nil:
		return f.unanswered(err)
	case asked.Refused != "":
		return refuse("job %s: %s", f.Job, asked.Refused)
	case asked.Ranks == ranks:
		_, err = fmt.Fprintf(stdout, "job %s has %s already\n", f.Job, plural(ranks, "rank"))
		return err
	}
	o, err := newOutput(newSink(stdout), newSink(stderr), "", false, true)
	if err != nil {
		return err
	}
	done := false
	q.Hold = stopLook
	for began := time.Now(); r.End == nil && !done; {
		took := time.Since(began)
		if took > resizeWithin {
			_ = o.close() // what it has shown is no result
			return &Refusal{Status: control.StatusTemporary, Text: fmt.Sprintf("job %s has not %s after %v: gorun logs and events tell why", f.Job, plural(ranks, "rank"), resizeWithin)}
		}
		o.progress(fmt.Sprintf("job %s: from %d to %s · %s of at most %s", f.Job, asked.Ranks, plural(ranks, "rank"), lasted(took), lasted(resizeWithin)))
		q.From = r.Next
		if r, err = v.Events(ctx, q); err != nil {
			_ = o.close() // what it has shown is no result
			return f.unanswered(err)
		}
		for _, e := range r.Events {
			if done = done || e.Event == control.EventGeneration && e.Size == ranks; e.Event != control.EventEnd {
				o.note(eventLine(e))
			}
		}
	}
	if err := o.close(); err != nil {
		return err
	}
	if !done {
		return &Refusal{Status: control.StatusTemporary, Text: fmt.Sprintf("job %s has ended before: %s", f.Job, r.End.Line)}
	}
	_, err = fmt.Fprintf(stdout, "job %s has %s\n", f.Job, plural(ranks, "rank"))
	return err
}
