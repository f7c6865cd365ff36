package launcher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
)

// holdFor is how long a launcher is asked to wait for news before it says that there are
// none.
const holdFor = 10 * time.Second

// LogOptions is which lines of a job are wanted.
type LogOptions struct {
	Follow bool // until the job ends
	Rank   *int // of this rank only
	Last   *int // so many of the newest; nil for all that are kept
}

// Logs writes what a job's ranks have written.
func Logs(ctx context.Context, f Found, o LogOptions, stdout, stderr io.Writer) error {
	v, err := f.visit(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
	q := control.LogRequest{Rank: o.Rank, Last: o.Last}
	until := uint64(0) // the first answer says
	for first := true; ; first = false {
		r, err := v.Log(ctx, q)
		if err != nil {
			return f.unanswered(err)
		}
		if r.Missed > 0 {
			_, _ = fmt.Fprintln(stderr, "gorun: "+missing(r.Missed)) // there is nowhere else to say it
		}
		for _, l := range r.Lines {
			to := stdout
			if l.Origin == control.FromStderr {
				to = stderr
			}
			if _, err := to.Write(l.Text); err != nil {
				return writing(err)
			}
		}
		if first {
			until = r.After
		}
		if r.End != nil || !o.Follow && r.Next >= until {
			return nil
		}
		q.From, q.Last = r.Next, nil
		if o.Follow {
			q.Hold, q.Follower = holdFor, v.Name()
		}
	}
}

// missing says that lines are gone.
func missing(lines uint64) string {
	return fmt.Sprintf("%s missing here: the newest %d MiB of a job's output are kept", plural(int(lines), "line"), backlogBytes>>20)
}

// writing is the error of an output; nil where its reader has gone, which is how people end
// what they have seen enough of.
func writing(err error) error {
	if errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return fmt.Errorf("standard output: %w", err)
}

// Events writes what has happened to a job, a line each, and what happens until it ends if
// they are to be followed.
func Events(ctx context.Context, f Found, follow, asJSON bool, stdout, stderr io.Writer) error {
	v, err := f.visit(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
	var q control.EventsRequest
	for {
		r, err := v.Events(ctx, q)
		if err != nil {
			return f.unanswered(err)
		}
		if r.Missed > 0 {
			_, _ = fmt.Fprintf(stderr, "gorun: %s missing here: the newest %d are kept\n", plural(int(r.Missed), "event"), storyEvents) // there is nowhere else to say it
		}
		for _, e := range r.Events {
			if err := writeEvent(stdout, e, asJSON); err != nil {
				return writing(err)
			}
		}
		if r.End != nil || !follow && len(r.Events) < storyAnswer {
			return nil
		}
		q.From = r.Next
		if follow {
			q.Hold, q.Follower = holdFor, v.Name()
		}
	}
}

func writeEvent(w io.Writer, e control.Event, asJSON bool) error {
	if asJSON {
		lines := json.NewEncoder(w)
		lines.SetEscapeHTML(false) // commands are easier to read as they were typed
		return lines.Encode(e)
	}
	_, err := fmt.Fprintf(w, "%s  %s\n", time.UnixMicro(int64(e.T*1e6)).Format("2006-01-02 15:04:05.000"), eventLine(e))
	return err
}

// eventLine is an event as people read it.
func eventLine(e control.Event) string {
	switch e.Event {
	case control.EventGeneration:
		return fmt.Sprintf("generation %d of %s: %s", e.Generation, plural(e.Size, "rank"), e.Detail)
	case control.EventHostLost:
		return fmt.Sprintf("host %s was lost: %s", e.Host, e.Detail)
	case control.EventSaved:
		return fmt.Sprintf("checkpoint of step %d saved: %s", e.Step, e.Detail)
	case control.EventResize:
		return "asked to resize: " + e.Detail
	case control.EventStop:
		return "asked to stop: " + e.Detail
	case control.EventEnd:
		if e.Status != nil {
			return fmt.Sprintf("ended with status %d: %s", *e.Status, e.Detail)
		}
	case control.EventStarted:
		return "started: " + e.Detail
	}
	return e.Detail
}
