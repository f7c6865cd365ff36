package worker

import (
	"context"
	"strings"
	"sync"

	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/internal/rendezvous"
)

// solo is a job without a launcher: all its ranks are in this process, and there are no
// newcomers. A program that is started by hand is a solo job of one.
type solo struct {
	store *rendezvous.Memory
	size  int
	print func(line string)

	mu       sync.Mutex
	members  []rendezvous.Member
	finished int
}

func newSolo(size int, print func(line string)) *solo {
	return &solo{store: rendezvous.NewMemory(), size: size, print: print}
}

// Register commits generation 1 when all ranks are there.
func (j *solo) Register(ctx context.Context, m rendezvous.Member) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.members = append(j.members, m)
	if len(j.members) < j.size {
		return nil
	}
	return j.store.Commit(ctx, 0, rendezvous.Generation{ID: 1, Members: j.members, Why: "start"})
}

func (j *solo) Watch(ctx context.Context, after uint64) (rendezvous.Generation, error) {
	return j.store.Watch(ctx, after)
}

func (j *solo) Report(control.Report) error                      { return nil }
func (j *solo) Fail(context.Context, control.Failure) error      { return nil }
func (j *solo) Stranded(context.Context, control.Stranded) error { return nil }
func (j *solo) Saved(context.Context, control.Saved) error       { return nil }
func (j *solo) Commands() <-chan control.Command                 { return nil }
func (j *solo) Close() error                                     { return nil }

func (j *solo) Say(_ context.Context, line string) error {
	j.print(line)
	return nil
}

// Finish ends the job with its last rank.
func (j *solo) Finish(ctx context.Context, f control.Finish) error {
	if len(f.Summary) > 0 {
		j.print(strings.Join(f.Summary, " · "))
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.finished++; j.finished < j.size {
		return nil
	}
	return j.store.Commit(ctx, f.Generation, rendezvous.Generation{ID: f.Generation + 1, Members: j.members, Done: true})
}
