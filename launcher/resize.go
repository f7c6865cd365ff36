package launcher

import (
	"context"
	"fmt"
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
	v, seen, err := f.look(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
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
	end, err := f.wait(ctx, v, seen, waiting{
		what: fmt.Sprintf("job %s: from %d to %s", f.Job, asked.Ranks, plural(ranks, "rank")), within: resizeWithin,
		late: fmt.Sprintf("has not %s after %v: gorun logs and events tell why", plural(ranks, "rank"), resizeWithin),
		done: func(e control.Event) bool { return e.Event == control.EventGeneration && e.Size == ranks },
	}, stdout, stderr)
	switch {
	case err != nil:
		return err
	case end != nil:
		return &Refusal{Status: control.StatusTemporary, Text: fmt.Sprintf("job %s has ended before: %s", f.Job, end.Line)}
	}
	_, err = fmt.Fprintf(stdout, "job %s has %s\n", f.Job, plural(ranks, "rank"))
	return err
}
