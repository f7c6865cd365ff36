package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/gorun-ml/gorun/internal/rendezvous"
)

// Client has all a store needs.
var _ rendezvous.Store = (*Client)(nil)

// tell is post with a bound of its own.
func (c *Client) tell(ctx context.Context, subject string, v any) error {
	ctx, cancel := withinLetter(ctx)
	defer cancel()
	return c.post(ctx, subject, v)
}

// post sends one letter and waits until it was handled, exactly once, over reconnects.
func (c *Client) post(ctx context.Context, subject string, v any) error {
	// Reports that were made before the letter arrive before it.
	if err := c.reports.drain(ctx); err != nil {
		return c.named(subject, err)
	}
	body, err := encode(v)
	if err != nil {
		return err
	}
	select {
	case <-c.turn:
		defer func() { c.turn <- struct{}{} }()
	case <-ctx.Done():
		return c.named(subject, context.Cause(ctx))
	}
	c.seq++
	data, err := encode(letter{From: c.from, Seq: c.seq, Body: body})
	if err != nil {
		return err
	}
	if _, err := c.request(ctx, subject, data, answerWithin); err != nil {
		return c.named(subject, err)
	}
	return nil
}

func (c *Client) named(subject string, err error) error {
	return fmt.Errorf("telling the launcher at %s (%s): %w", c.env.Broker, subject, err)
}

// withinLetter bounds the wait for an acknowledgement.
func withinLetter(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, letterWithin, fmt.Errorf("control: no acknowledgement within %v", letterWithin))
}

// request asks until there is an answer, and takes the answer apart.
func (c *Client) request(ctx context.Context, subject string, body []byte, within time.Duration) (reply, error) {
	for try := 1; ; try++ {
		data, err := c.ask(ctx, subject, body, within)
		if err != nil {
			return reply{}, err
		}
		r, err := decode[reply](data)
		if err != nil {
			return reply{}, fmt.Errorf("control: answer of the launcher: %w", err)
		}
		if r.Code != codeBusy {
			return r, r.err()
		}
		if err := wait(ctx, pause(try)); err != nil {
			return reply{}, err
		}
	}
}

// ask sends body until an answer comes, ctx ends or the broker is gone for good. An attempt
// ends early when the connection breaks, since its answer can't arrive any more.
func (c *Client) ask(ctx context.Context, subject string, body []byte, within time.Duration) ([]byte, error) {
	for try := 1; ; try++ {
		data, err := c.attempt(ctx, subject, body, within)
		switch {
		case err == nil:
			return data, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case c.link.life.Err() != nil:
			return nil, c.link.err()
		case errors.Is(err, nats.ErrMaxPayload):
			return nil, fmt.Errorf("control: message of %d bytes: %w", len(body), err)
		}
		// The broker is away, or nobody serves the job yet.
		if err := c.pauseUnlessUp(ctx, try); err != nil {
			return nil, err
		}
	}
}

func (c *Client) attempt(ctx context.Context, subject string, body []byte, within time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	stop := context.AfterFunc(c.link.current(), cancel)
	defer stop()
	answered := make(chan struct{})
	defer close(answered)
	go func(over <-chan struct{}) { // ends with the attempt
		select {
		case <-over:
			cancel()
		case <-answered:
		}
	}(c.turned.over())
	m, err := c.nc.RequestWithContext(ctx, c.prefix+subject, body)
	if err != nil {
		return nil, err
	}
	return m.Data, nil
}

// pauseUnlessUp waits a little before the next attempt, or until the link comes up again.
func (c *Client) pauseUnlessUp(ctx context.Context, try int) error {
	select {
	case <-c.link.raised():
		return nil
	case <-time.After(pause(try)):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.link.life.Done():
		return c.link.err()
	}
}

// pause is how long to wait after a number of attempts.
func pause(tries int) time.Duration {
	return min(retryFirst<<min(tries, 10), retryMost)
}

// wait returns nil after d, or the cause for which ctx ended.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
