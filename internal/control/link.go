package control

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// link is what a client knows of its connection: whether it is up, and whether it ever
// will be again. A broker that stays away is given up, so that a worker whose launcher was
// killed ends by itself.
type link struct {
	life context.Context // ends with the connection, for good
	end  context.CancelCauseFunc

	mu    sync.Mutex
	now   context.Context // ends when the connection breaks
	drop  context.CancelFunc
	risen chan struct{} // closed when it is up again
	gone  *time.Timer
}

func (l *link) init() {
	l.life, l.end = context.WithCancelCause(context.Background())
	l.now, l.drop = context.WithCancel(l.life)
	l.risen = make(chan struct{})
}

// current ends when the connection that is up now breaks. While it is down, it has ended.
func (l *link) current() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

// raised is closed when the connection is up again.
func (l *link) raised() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.risen
}

func (l *link) down(nc *nats.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop()
	if l.gone == nil && l.life.Err() == nil {
		l.gone = time.AfterFunc(goneAfter, func() {
			l.end(fmt.Errorf("%w: its broker was unreachable for %v", ErrLost, goneAfter))
			nc.Close()
		})
	}
}

func (l *link) up() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest()
	l.now, l.drop = context.WithCancel(l.life)
	close(l.risen)
	l.risen = make(chan struct{})
}

func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rest()
	l.drop()
	l.end(ErrClosed)
}

func (l *link) rest() {
	if l.gone != nil {
		l.gone.Stop()
		l.gone = nil
	}
}

func (l *link) err() error { return context.Cause(l.life) }

// turned ends what waits for the answer of a hub when it is another one's turn to answer.
type turned struct {
	mu  sync.Mutex
	now chan struct{} // closed with the turn
}

// next begins another turn.
func (t *turned) next() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now != nil {
		close(t.now)
	}
	t.now = make(chan struct{})
}

func (t *turned) over() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.now
}
