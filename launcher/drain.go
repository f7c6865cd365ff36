package launcher

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/gorun-ml/gorun/internal/control"
)

// ErrAbsent means that a job has no ranks on a host.
var ErrAbsent = errors.New("has no ranks there")

// Drain has a job's ranks leave a host, and waits until they have, which it says on stdout.
// With undo the job may use it again. Where the job doesn't use the host it fails with
// ErrAbsent.
func Drain(ctx context.Context, f Found, host string, undo bool, by string, stdout, stderr *os.File) error {
	v, seen, err := f.look(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
	asked, err := v.Drain(ctx, control.DrainRequest{Host: host, Undo: undo, By: by})
	switch {
	case err != nil:
		return f.unanswered(err)
	case asked.Absent:
		return fmt.Errorf("job %s %w: %s", f.Job, ErrAbsent, asked.Refused)
	case asked.Refused != "":
		return refuse("job %s: %s", f.Job, asked.Refused)
	case undo:
		_, err = fmt.Fprintf(stdout, "job %s may use host %s\n", f.Job, host)
		return err
	case asked.Done:
		_, err = fmt.Fprintf(stdout, "job %s has left host %s already\n", f.Job, host)
		return err
	}
	end, err := f.wait(ctx, v, seen, waiting{
		what: fmt.Sprintf("job %s is leaving host %s", f.Job, host), within: resizeWithin,
		late: fmt.Sprintf("still has ranks on host %s after %v: gorun logs and events tell why", host, resizeWithin),
		done: func(e control.Event) bool { return e.Event == control.EventDrained && e.Host == host },
	}, stdout, stderr)
	switch {
	case err != nil:
		return err
	case end != nil:
		return &Refusal{Status: control.StatusTemporary, Text: fmt.Sprintf("job %s has ended before: %s", f.Job, end.Line)}
	}
	_, err = fmt.Fprintf(stdout, "job %s has left host %s\n", f.Job, host)
	return err
}

// absent is the refusal of a job to leave a host that it doesn't use.
type absent struct{ *Refusal }

func isAbsent(err error) bool {
	var a absent
	return errors.As(err, &a)
}
