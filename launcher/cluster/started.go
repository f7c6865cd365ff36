package cluster

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Agent is a job agent that was started on another host.
type Agent struct {
	host string
	conn *tls.Conn
	over chan struct{}

	mu     sync.Mutex
	asked  bool // to end
	left   bool // to its host
	err    error
	closed sync.Once
}

// closeBound is for a daemon to tell that a job agent has ended that it was asked to end: it
// kills it after its grace.
const closeBound = defaultGrace + killBound + 2*time.Second

// listen waits for the end.
func (a *Agent) listen() {
	defer close(a.over)
	defer func() { _ = a.conn.Close() }() // all was said
	answer, err := readFrame[answer](a.conn)
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case err == nil && answer.Started && a.left:
	case err == nil && answer.Ended != nil && !a.asked:
		a.err = answer.Ended.err(a.host)
	case err == nil && answer.Ended != nil:
		// As it was asked to, however it did it.
	case err == nil || errors.Is(err, io.EOF):
		a.err = fmt.Errorf("agent of host %s: %w: it has closed the connection", a.host, ErrLost)
	default:
		a.err = fmt.Errorf("agent of host %s: %w: %w", a.host, ErrLost, err)
	}
}

// Ended is closed when the job agent has ended, or its daemon is out of reach.
func (a *Agent) Ended() <-chan struct{} { return a.over }

// Err is why it has ended: nil if it was asked to, or did with status 0.
func (a *Agent) Err() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

// Close ends the job agent and waits until it is gone, or the bound has passed.
func (a *Agent) Close() error {
	a.closed.Do(func() {
		a.mu.Lock()
		a.asked = true
		a.mu.Unlock()
		// The daemon takes a broken connection for the same.
		_ = a.conn.SetWriteDeadline(time.Now().Add(answerBound))
		_ = writeFrame(a.conn, request{End: true})
		_ = a.conn.SetReadDeadline(time.Now().Add(closeBound))
	})
	<-a.over
	return a.Err()
}

// Leave leaves a lasting job agent to its host, and returns when that has it. The agent is
// none of this client's any more.
func (a *Agent) Leave() error {
	a.closed.Do(func() {
		a.mu.Lock()
		a.left = true
		a.mu.Unlock()
		_ = a.conn.SetDeadline(time.Now().Add(statusBound))
		_ = writeFrame(a.conn, request{Leave: true}) // what is wrong, listen notices
	})
	<-a.over
	return a.Err()
}
