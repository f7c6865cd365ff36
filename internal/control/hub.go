package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/gorun-ml/gorun/internal/rendezvous"
)

const (
	pollFor     = 10 * time.Second // how long the hub holds a watch before it says "nothing yet"
	maxWatchers = 1 << 14          // watches held at once
	maxSenders  = 1 << 16          // senders whose last letter is remembered
)

// Handler is told what the workers say, one call at a time and in the order in which each
// of them said it. It must not block long, and must not call the Hub's Close.
type Handler interface {
	Registered(m rendezvous.Member) // a candidate is ready to be ranked
	Reported(r Report)
	Failed(f Failure)
	Finished(f Finish)
	Saved(s Saved)
	Stranded(s Stranded)
	Said(member, line string)
}

// Hub is the launcher's end of a job's control plane: it answers what workers ask and gives
// the supervisor's commands to them.
type Hub struct {
	nc      *nats.Conn
	prefix  string
	store   rendezvous.Store
	handler Handler
	poll    time.Duration

	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	joined   sync.WaitGroup
	watchers chan struct{} // one token a watch that is held

	heard heard // used by the loop of subjectUp only

	mu   sync.Mutex
	subs []*nats.Subscription
	last order
}

// NewHub serves the job on nc, which stays the caller's and must outlive the hub.
func NewHub(nc *nats.Conn, job string, store rendezvous.Store, h Handler) (*Hub, error) {
	p, err := prefix(job)
	if err != nil {
		return nil, err
	}
	hub := &Hub{
		nc: nc, prefix: p, store: store, handler: h, poll: pollFor,
		watchers: make(chan struct{}, maxWatchers),
		heard:    make(heard),
	}
	hub.ctx, hub.cancel = context.WithCancel(context.Background())
	err = errors.Join(
		hub.serve(subjectUp, hub.up),
		hub.serve(subjectWatch, hub.watch),
		hub.serve(subjectCommit, hub.commit),
		hub.serve(subjectOrder, hub.order),
	)
	if err == nil {
		// Subscriptions are in force once the broker has answered.
		err = nc.FlushTimeout(5 * time.Second)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("control: serving job %s: %w", job, err), hub.Close())
	}
	return hub, nil
}

// serve gives the messages on a subject to f, in one goroutine that Close joins.
func (h *Hub) serve(subject string, f func(*nats.Msg)) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ctx.Err() != nil {
		return ErrClosed
	}
	sub, err := h.nc.SubscribeSync(h.prefix + subject)
	if err != nil {
		return err
	}
	h.subs = append(h.subs, sub)
	h.joined.Go(func() {
		for {
			m, err := sub.NextMsgWithContext(h.ctx)
			switch {
			case err == nil:
				f(m)
			case errors.Is(err, nats.ErrSlowConsumer):
				// Messages were dropped; who needs an answer asks again.
			default:
				return
			}
		}
	})
	return nil
}

// up handles what workers tell.
func (h *Hub) up(m *nats.Msg) {
	subject := strings.TrimPrefix(m.Subject, h.prefix)
	if subject == subjectReport {
		// Nobody waits for an answer to a report; a malformed one is lost.
		if r, err := decode[Report](m.Data); err == nil {
			h.handler.Reported(r)
		}
		return
	}
	l, err := decode[letter](m.Data)
	if err == nil && h.heard.isNew(l) {
		err = h.deliver(subject, l.Body)
	}
	h.answer(m, replyError(err))
}

// heard is the number of the last letter by sender.
type heard map[string]uint64

// isNew says whether the letter was not heard before, and remembers it. A sender has one
// letter under way at a time, so its last number is enough.
func (h heard) isNew(l letter) bool {
	if l.Seq <= h[l.From] {
		return false
	}
	if len(h) >= maxSenders {
		clear(h) // forgetting can repeat a line, growing can end the launcher
	}
	h[l.From] = l.Seq
	return true
}

func (h *Hub) deliver(subject string, body json.RawMessage) error {
	switch subject {
	case subjectRegister:
		m, err := decode[rendezvous.Member](body)
		if err == nil {
			err = checkMember(m)
		}
		if err != nil {
			return err
		}
		h.handler.Registered(m)
	case subjectFail:
		f, err := decode[Failure](body)
		if err != nil {
			return err
		}
		h.handler.Failed(f)
	case subjectFinish:
		f, err := decode[Finish](body)
		if err != nil {
			return err
		}
		h.handler.Finished(f)
	case subjectSaved:
		s, err := decode[Saved](body)
		if err != nil {
			return err
		}
		h.handler.Saved(s)
	case subjectStranded:
		s, err := decode[Stranded](body)
		if err != nil {
			return err
		}
		h.handler.Stranded(s)
	case subjectSay:
		s, err := decode[sayRequest](body)
		if err != nil {
			return err
		}
		h.handler.Said(s.Member, s.Line)
	default:
		return fmt.Errorf("subject %q is unknown: worker and launcher are of different versions", subject)
	}
	return nil
}

// watch holds the request until there is a later generation or the poll has ended.
func (h *Hub) watch(m *nats.Msg) {
	q, err := decode[watchRequest](m.Data)
	if err != nil {
		h.answer(m, replyError(err))
		return
	}
	select {
	case h.watchers <- struct{}{}:
	default:
		h.answer(m, reply{Code: codeBusy, Error: fmt.Sprintf("%d watches are held already", maxWatchers)})
		return
	}
	h.joined.Go(func() {
		defer func() { <-h.watchers }()
		ctx, cancel := context.WithTimeout(h.ctx, h.poll)
		defer cancel()
		g, err := h.store.Watch(ctx, q.After)
		switch {
		case err == nil:
			h.answer(m, reply{Generation: &g})
		case h.ctx.Err() != nil:
			h.answer(m, reply{Code: codeOver, Error: "the launcher has ended it"})
		case ctx.Err() != nil:
			h.answer(m, reply{})
		default:
			h.answer(m, replyError(err))
		}
	})
}

// commit passes a proposal on to the store.
func (h *Hub) commit(m *nats.Msg) {
	q, err := decode[commitRequest](m.Data)
	if err == nil {
		err = h.store.Commit(h.ctx, q.Prev, q.Next)
	}
	h.answer(m, replyError(err))
}

// order tells the command in force.
func (h *Hub) order(m *nats.Msg) {
	h.mu.Lock()
	o := h.last
	h.mu.Unlock()
	h.respond(m, o)
}

// Command asks all ranks for something. It stays in force: who connects later, or was away,
// asks for it. A stop is never taken back.
func (h *Hub) Command(c Command) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ctx.Err() != nil {
		return ErrClosed
	}
	if h.last.Command.Stop && !c.Stop {
		c.Stop, c.Why = true, h.last.Command.Why
	}
	h.last = order{Seq: h.last.Seq + 1, Command: c}
	data, err := encode(h.last)
	if err != nil {
		return err
	}
	if err := h.nc.Publish(h.prefix+subjectCommand, data); err != nil {
		return fmt.Errorf("control: command to all ranks: %w", err)
	}
	return nil
}

// ServePS answers `gorun ps` with what state returns, rendered as JSON.
func (h *Hub) ServePS(state func() any) error {
	err := h.serve(subjectPS, func(m *nats.Msg) { h.respond(m, state()) })
	if err != nil {
		return fmt.Errorf("control: serving ps: %w", err)
	}
	return nil
}

// answer replies to a request. A reply that can't be delivered is not an error here: the
// asking side repeats the request.
func (h *Hub) answer(m *nats.Msg, r reply) { h.respond(m, r) }

func (h *Hub) respond(m *nats.Msg, v any) {
	if m.Reply == "" {
		return
	}
	data, err := encode(v)
	if err != nil {
		data, _ = json.Marshal(reply{Code: codeBad, Error: err.Error()})
	}
	_ = m.Respond(data)
}

// Close stops serving. Watches that are held are told that the job is over. When it
// returns, the handler is not called any more.
func (h *Hub) Close() error {
	h.cancel()
	h.mu.Lock()
	subs := h.subs
	h.subs = nil
	h.mu.Unlock()
	for _, s := range subs {
		_ = s.Unsubscribe() // fails only where the connection is closed already
	}
	h.joined.Wait()
	_ = h.nc.FlushTimeout(time.Second) // so that last answers and commands leave
	return nil
}
