package checkpoint

import (
	"context"
	"errors"
	"maps"
	"sync"
)

// Saver writes checkpoints while training goes on. Save copies the tensors; one goroutine
// writes them. While it writes, the newest request waits and takes the place of an older
// one that waits, so a slow disk costs checkpoints, never memory or time in the step.
//
//	Save ─copy─► waiting ─swap─► writing ─► Write, Retain, done
type Saver struct {
	disk disk
	dir  string
	keep int
	done func(path string, step int, err error)

	ctx    context.Context // of the writes; cancelled when Close gives up
	cancel context.CancelCauseFunc

	mu      sync.Mutex
	change  sync.Cond
	waiting *snapshot
	free    []*snapshot // two exist: one waits, one is being written
	writing bool
	closed  bool
	ended   bool // the goroutine has returned
}

// snapshot is a copy of the state. Its memory is used again for the next one.
type snapshot struct {
	meta    Meta
	tensors []Tensor
}

var errClosed = errors.New("checkpoint saver: saved after Close")

// NewSaver starts a Saver for dir that keeps the newest keep checkpoints, or all if keep is
// 0. It calls done, unless that is nil, from its goroutine after each write: with the path
// of a durable checkpoint, or an error, or both if only removing old ones has failed. A
// request that was replaced by a newer one gets no call. The owner calls Close.
func NewSaver(dir string, keep int, done func(path string, step int, err error)) *Saver {
	return newSaver(osDisk{}, dir, keep, done)
}

func newSaver(d disk, dir string, keep int, done func(path string, step int, err error)) *Saver {
	s := &Saver{disk: d, dir: dir, keep: keep, done: done, free: []*snapshot{new(snapshot), new(snapshot)}}
	s.change.L = &s.mu
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	go s.run()
	return s
}

// Save asks for a checkpoint. It returns when the tensors are copied and may be changed; it
// never waits for the disk.
func (s *Saver) Save(m Meta, tensors []Tensor) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	if s.waiting == nil {
		last := len(s.free) - 1
		s.waiting, s.free = s.free[last], s.free[:last]
	}
	s.waiting.take(m, tensors)
	s.change.Broadcast()
	return nil
}

func (s *Saver) run() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		for s.waiting == nil && !s.closed {
			s.change.Wait()
		}
		if s.waiting == nil {
			s.ended = true
			s.change.Broadcast()
			return
		}
		now := s.waiting
		s.waiting, s.writing = nil, true
		s.mu.Unlock()
		path, err := write(s.ctx, s.disk, s.dir, now.meta, now.tensors)
		if err == nil && s.keep > 0 {
			err = retain(s.disk, s.dir, s.keep)
		}
		if s.done != nil {
			s.done(path, now.meta.Step, err)
		}
		s.mu.Lock()
		s.free = append(s.free, now)
		s.writing = false
		s.change.Broadcast()
	}
}

// Wait returns when everything that was asked for has been written or has failed.
func (s *Saver) Wait(ctx context.Context) error {
	return s.await(ctx, func() bool { return s.waiting == nil && !s.writing })
}

// Close refuses further requests and writes what waits. When ctx ends first it gives up and
// returns the cause at once; a write that hangs in the disk ends when the disk lets go.
func (s *Saver) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.change.Broadcast()
	s.mu.Unlock()
	err := s.await(ctx, func() bool { return s.ended })
	s.cancel(err)
	return err
}

func (s *Saver) await(ctx context.Context, reached func() bool) error {
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.change.Broadcast()
	})
	defer stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !reached() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s.change.Wait()
	}
	return nil
}

// take copies the state. After the first time for a model it allocates nothing.
func (n *snapshot) take(m Meta, tensors []Tensor) {
	extra := n.meta.Extra
	n.meta = m
	n.meta.Extra = nil
	if len(m.Extra) > 0 {
		if extra == nil {
			extra = make(map[string]string, len(m.Extra))
		}
		clear(extra)
		maps.Copy(extra, m.Extra)
		n.meta.Extra = extra
	}
	for len(n.tensors) < len(tensors) {
		n.tensors = append(n.tensors, Tensor{})
	}
	n.tensors = n.tensors[:len(tensors)]
	for i, t := range tensors {
		c := &n.tensors[i]
		c.Name = t.Name
		c.Shape = append(c.Shape[:0], t.Shape...)
		c.Data.Type = t.Data.Type
		c.Data.Bytes = append(c.Data.Bytes[:0], t.Data.Bytes...)
	}
}
