package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// maxVisits is how many requests of commands are held at once.
const maxVisits = 1 << 10

// Steering is what a launcher does for the commands that ask its job. Log and Events may
// hold a request for as long as it says, until ctx ends.
type Steering struct {
	Log    func(ctx context.Context, q LogRequest) LogReply
	Events func(ctx context.Context, q EventsRequest) EventsReply
	Stop   func(q StopRequest) (StopReply, error) // ErrElsewhere has it asked again
	Resize func(q ResizeRequest) (ResizeReply, error)
	Drain  func(q DrainRequest) (DrainReply, error)
	Leave  func(follower string)
}

// steered answers a request of a command.
type steered struct {
	Code  code            `json:"code,omitempty"`
	Error string          `json:"error,omitempty"`
	Body  json.RawMessage `json:"body,omitempty"`
}

// ServeSteering answers commands until Close. Those that are held then are told that the job
// is over.
func (h *Hub) ServeSteering(s Steering) error {
	held := make(chan struct{}, maxVisits)
	err := errors.Join(
		h.serve(subjectLog, visits(h, held, func(ctx context.Context, q LogRequest) (LogReply, error) {
			q.Hold = min(q.Hold, h.poll)
			return s.Log(ctx, q), nil
		})),
		h.serve(subjectEvents, visits(h, held, func(ctx context.Context, q EventsRequest) (EventsReply, error) {
			q.Hold = min(q.Hold, h.poll)
			return s.Events(ctx, q), nil
		})),
		h.serve(subjectLeave, func(m *nats.Msg) {
			if q, err := decode[leaveRequest](m.Data); err == nil {
				s.Leave(q.Follower)
			}
		}),
		h.serve(subjectStop, visits(h, held, func(_ context.Context, q StopRequest) (StopReply, error) { return s.Stop(q) })),
		h.serve(subjectResize, visits(h, held, func(_ context.Context, q ResizeRequest) (ResizeReply, error) { return s.Resize(q) })),
		h.serve(subjectDrain, visits(h, held, func(_ context.Context, q DrainRequest) (DrainReply, error) { return s.Drain(q) })),
	)
	if err == nil {
		err = h.nc.FlushTimeout(5 * time.Second)
	}
	if err != nil {
		return fmt.Errorf("control: serving commands: %w", err)
	}
	return nil
}

// visits answers requests of a kind, each in a goroutine of its own, which Close joins. Of
// several hubs the one that leads answers: others may have numbered lines in another order.
func visits[Q, R any](h *Hub, held chan struct{}, f func(context.Context, Q) (R, error)) func(*nats.Msg) {
	return func(m *nats.Msg) {
		if !h.leads(m) {
			return
		}
		q, err := decode[Q](m.Data)
		if err != nil {
			h.respond(m, steered{Code: codeBad, Error: err.Error()})
			return
		}
		select {
		case held <- struct{}{}:
		default:
			h.respond(m, steered{Code: codeBusy, Error: fmt.Sprintf("%d requests are held already", maxVisits)})
			return
		}
		h.joined.Go(func() {
			defer func() { <-held }()
			r, err := f(h.ctx, q)
			var body []byte
			if err == nil {
				body, err = encode(r)
			}
			switch {
			case errors.Is(err, ErrElsewhere):
				h.respond(m, steered{Code: codeBusy, Error: err.Error()})
			case err != nil:
				h.respond(m, steered{Code: codeBad, Error: err.Error()})
			default:
				h.respond(m, steered{Body: body})
			}
		})
	}
}
