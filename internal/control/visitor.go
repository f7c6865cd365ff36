package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"github.com/gorun-ml/gorun/internal/pinned"
)

const (
	visitWithin = 2 * time.Second  // for a launcher to answer a command for the first time
	visitAgain  = 10 * time.Second // afterwards, and for one of several: another may take over
	leaveWithin = time.Second
)

var (
	// ErrUnreachable means that no broker of a job can be connected to.
	ErrUnreachable = errors.New("can't be reached")
	// ErrSilent means that a job's launcher doesn't answer.
	ErrSilent = errors.New("doesn't answer")
)

// Visitor is a command's connection to a running job. It keeps no state but its name: each
// request is repeated until there is an answer, over reconnects, and can be repeated.
type Visitor struct {
	nc     *nats.Conn
	prefix string
	name   string
	link   link
	turned turned
	met    bool // the launcher has answered, or is one of several that may be about to
	known  bool // it has this visitor's name
}

// Visit connects to a job by one of its brokers: host:port, several with commas between.
// A visitor belongs to one goroutine.
func Visit(ctx context.Context, job, brokers, seed string) (*Visitor, error) {
	p, err := prefix(job)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	bound, several := visitWithin, strings.Contains(brokers, ",")
	if several {
		bound /= 2 // each
	}
	v := &Visitor{prefix: p, name: nuid.Next(), met: several}
	v.link.init()
	v.turned.next()
	v.nc, err = nats.Connect(brokers,
		nats.Name("command"), Login(seed),
		nats.Timeout(bound),
		nats.PingInterval(time.Second), nats.MaxPingsOutstanding(2),
		nats.MaxReconnects(-1), // link bounds them by time
		nats.CustomReconnectDelay(pause), nats.ReconnectBufSize(-1),
		nats.NoCallbacksAfterClientClose(),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
		nats.DisconnectErrHandler(func(nc *nats.Conn, _ error) { v.link.down(nc) }),
		nats.ReconnectHandler(func(*nats.Conn) { v.link.up() }),
		nats.ClosedHandler(func(*nats.Conn) { v.link.close() }))
	var op *net.OpError
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, pinned.ErrOther):
		err = fmt.Errorf("%w by the broker at %s", ErrAuth, brokers)
	case errors.Is(err, os.ErrDeadlineExceeded) && errors.As(err, &op) && op.Op == "read": // it listens
		err = fmt.Errorf("%w within %v (%w)", ErrSilent, visitWithin, err)
	case err != nil:
		err = fmt.Errorf("%w at %s: %w", ErrUnreachable, brokers, err)
	}
	if err == nil {
		if _, err = v.nc.Subscribe(p+subjectTurn, func(*nats.Msg) { v.turned.next() }); err != nil {
			v.nc.Close()
		}
	}
	if err != nil {
		v.link.close()
		return nil, err
	}
	return v, nil
}

// Name names this visitor among the followers of its job. It is one until Close.
func (v *Visitor) Name() string {
	v.known = true
	return v.name
}

// PS asks for the state of the ranks, as JSON.
func (v *Visitor) PS(ctx context.Context) (json.RawMessage, error) {
	return v.ask(ctx, subjectPS, nil, 0)
}

// Begun asks for the hosts without which a detached job can't begin: none once it has.
func (v *Visitor) Begun(ctx context.Context) (missing []string, err error) {
	data, err := v.ask(ctx, subjectBegun, nil, 0)
	if err != nil {
		return nil, err
	}
	return decode[[]string](data)
}

// Keepers asks who keeps a detached job.
func (v *Visitor) Keepers(ctx context.Context) (k Keepers, err error) {
	data, err := v.ask(ctx, subjectKeepers, nil, 0)
	if err != nil {
		return k, err
	}
	return decode[Keepers](data)
}

// Log asks for lines.
func (v *Visitor) Log(ctx context.Context, q LogRequest) (LogReply, error) {
	return visit[LogReply](ctx, v, subjectLog, q, q.Hold)
}

// Events asks for what has happened.
func (v *Visitor) Events(ctx context.Context, q EventsRequest) (EventsReply, error) {
	return visit[EventsReply](ctx, v, subjectEvents, q, q.Hold)
}

// Stop asks the job to stop. It returns when the supervisor knows.
func (v *Visitor) Stop(ctx context.Context, q StopRequest) (StopReply, error) {
	return visit[StopReply](ctx, v, subjectStop, q, 0)
}

// Resize asks for another number of ranks. It returns when the supervisor knows.
func (v *Visitor) Resize(ctx context.Context, q ResizeRequest) (ResizeReply, error) {
	return visit[ResizeReply](ctx, v, subjectResize, q, 0)
}

// Drain asks for ranks to leave a host. It returns when the supervisor knows.
func (v *Visitor) Drain(ctx context.Context, q DrainRequest) (DrainReply, error) {
	return visit[DrainReply](ctx, v, subjectDrain, q, 0)
}

// Close disconnects. A follower leaves: that it has heard all is known then.
func (v *Visitor) Close() {
	if body, err := encode(leaveRequest{v.name}); err == nil && v.known && v.nc.IsConnected() {
		_ = v.nc.Publish(v.prefix+subjectLeave, body) // else the launcher waits for it for a moment
		_ = v.nc.FlushTimeout(leaveWithin)
	}
	v.link.close()
	v.nc.Close()
}

func visit[R any](ctx context.Context, v *Visitor, subject string, q any, hold time.Duration) (r R, err error) {
	body, err := encode(q)
	if err != nil {
		return r, err
	}
	if hold > 0 && !v.met { // a launcher that doesn't answer is to be known at once
		if _, err := v.ask(ctx, subjectPS, nil, 0); err != nil {
			return r, err
		}
	}
	for began, try := time.Now(), 1; ; try++ {
		data, err := v.ask(ctx, subject, body, hold)
		if err != nil {
			return r, err
		}
		s, err := decode[steered](data)
		switch {
		case err != nil:
			return r, fmt.Errorf("control: answer of the launcher: %w", err)
		case s.Code == "":
			return decode[R](s.Body)
		case s.Code != codeBusy || time.Since(began) > visitAgain:
			return r, errors.New("control: " + s.Error)
		}
		if err := wait(ctx, pause(try)); err != nil {
			return r, err
		}
	}
}

// ask repeats a request until it is answered. A launcher has two seconds to answer for the
// first time, and ten once it has, or where there are several. hold is how long it may hold
// the request.
func (v *Visitor) ask(ctx context.Context, subject string, body []byte, hold time.Duration) ([]byte, error) {
	patience := visitWithin
	if v.met {
		patience = visitAgain
	}
	var silent time.Time // since when there has been no sign of the launcher
	for try := 1; ; try++ {
		due := time.Now().Add(hold)
		data, err := v.attempt(ctx, subject, body, hold+visitWithin)
		now := time.Now()
		if silent.IsZero() {
			silent = now
			if due.Before(now) {
				silent = due
			}
		}
		switch {
		case err == nil:
			v.met = true
			return data, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case v.link.life.Err() != nil:
			return nil, v.link.err()
		case now.Sub(silent) >= patience:
			return nil, fmt.Errorf("%w (%w)", ErrSilent, err)
		}
		if err := wait(ctx, pause(try)); err != nil {
			return nil, err
		}
	}
}

// attempt asks once. It ends early when the connection breaks, as the answer is lost then, and
// when it is another hub's turn to answer.
func (v *Visitor) attempt(ctx context.Context, subject string, body []byte, within time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	stop := context.AfterFunc(v.link.current(), cancel)
	defer stop()
	answered := make(chan struct{})
	defer close(answered)
	go func(over <-chan struct{}) { // ends with the attempt
		select {
		case <-over:
			cancel()
		case <-answered:
		}
	}(v.turned.over())
	m, err := v.nc.RequestWithContext(ctx, v.prefix+subject, body)
	if err != nil {
		return nil, err
	}
	return m.Data, nil
}
