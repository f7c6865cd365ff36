package control

import (
	"bytes"
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
// of them said it. It must not block long, and must not call the Hub's Close. What it
// returns no error for is held to be known for good. With ErrElsewhere the letter is not
// answered, and not forgotten: its sender repeats it, until a hub answers.
type Handler interface {
	Registered(m rendezvous.Member) error // a candidate is ready to be ranked
	Reported(r Report)
	Pulsed(p Pulse)
	Failed(f Failure) error
	Finished(f Finish) error
	Saved(s Saved) error
	Stranded(s Stranded) error
	Said(member, line string) error
}

// ErrElsewhere means that of several hubs of a job it is another one's turn to answer.
var ErrElsewhere = errors.New("control: another hub of the job answers")

// Hub is the launcher's end of a job's control plane: it answers what workers ask and gives
// the supervisor's commands to them.
type Hub struct {
	nc      *nats.Conn
	prefix  string
	store   rendezvous.Store
	handler Handler
	role    func() Role
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
	return NewSharedHub(nc, job, store, h, func() Role { return Leads })
}

// Role is a hub's part among several of a job.
type Role uint8

// The roles of a hub.
const (
	Leads      Role = iota // it takes letters
	Follows                // another one takes them
	Leaderless             // nobody does at present
	Absent                 // it knows nothing of the job yet, and says nothing
)

// NewSharedHub is one of several hubs of a job, whose states are kept alike. All of them
// tell generations and orders, and are told output and reports. Letters and requests for
// files are for the one that leads.
func NewSharedHub(nc *nats.Conn, job string, store rendezvous.Store, h Handler, role func() Role) (*Hub, error) {
	p, err := prefix(job)
	if err != nil {
		return nil, err
	}
	hub := &Hub{
		nc: nc, prefix: p, store: store, handler: h, role: role, poll: pollFor,
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

// leads says whether a request is this hub's to answer. If it is nobody's, it is to be made
// again.
func (h *Hub) leads(m *nats.Msg) bool {
	role := h.role()
	if role == Leaderless {
		h.answer(m, reply{Code: codeBusy, Error: "nobody leads the job at present"})
	}
	return role == Leads
}

// Turn has all who wait for another hub's answer ask again: it is this one's turn now.
func (h *Hub) Turn() error {
	if err := h.nc.Publish(h.prefix+subjectTurn, nil); err != nil {
		return fmt.Errorf("control: telling that it is this hub's turn: %w", err)
	}
	return nil
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
		h.reported(m)
		return
	}
	if subject == subjectPulse {
		if p, err := decode[Pulse](m.Data); err == nil {
			h.handler.Pulsed(p)
		}
		return
	}
	if !h.leads(m) {
		return
	}
	l, err := decode[letter](m.Data)
	if err == nil {
		err = h.heard.once(l, func() error { return h.deliver(subject, l.Body) })
	}
	if !errors.Is(err, ErrElsewhere) {
		h.answer(m, replyError(err))
	}
}

// reported takes reports, of one rank and in order. What is malformed is lost. Of several
// hubs one says that more may come.
func (h *Hub) reported(m *nats.Msg) {
	for line := range bytes.Lines(m.Data) {
		if r, err := decode[Report](line); err == nil {
			h.handler.Reported(r)
		}
	}
	if role := h.role(); m.Reply != "" && (role == Leads || role == Leaderless) {
		_ = m.Respond(nil) // its sender doesn't wait for long
	}
}

// heard is the number of the last letter by sender.
type heard map[string]uint64

// once hands on a letter that was not heard before, and remembers it unless it is
// another hub's to answer. A sender has one letter under way at a time, so its last number
// is enough.
func (h heard) once(l letter, deliver func() error) error {
	if l.Seq <= h[l.From] {
		return nil
	}
	err := deliver()
	if errors.Is(err, ErrElsewhere) {
		return err
	}
	if len(h) >= maxSenders {
		clear(h) // forgetting can repeat a line, growing can end the launcher
	}
	h[l.From] = l.Seq
	return err
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
		return h.handler.Registered(m)
	case subjectFail:
		f, err := decode[Failure](body)
		if err != nil {
			return err
		}
		return h.handler.Failed(f)
	case subjectFinish:
		f, err := decode[Finish](body)
		if err != nil {
			return err
		}
		return h.handler.Finished(f)
	case subjectSaved:
		s, err := decode[Saved](body)
		if err != nil {
			return err
		}
		return h.handler.Saved(s)
	case subjectStranded:
		s, err := decode[Stranded](body)
		if err != nil {
			return err
		}
		return h.handler.Stranded(s)
	case subjectSay:
		s, err := decode[sayRequest](body)
		if err != nil {
			return err
		}
		return h.handler.Said(s.Member, s.Line)
	}
	return fmt.Errorf("subject %q is unknown: worker and launcher are of different versions", subject)
}

// watch holds the request until there is a later generation or the poll has ended.
func (h *Hub) watch(m *nats.Msg) {
	if h.role() == Absent {
		return
	}
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
		case h.ctx.Err() != nil && h.role() != Leads:
			// Another hub holds it too.
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
	if !h.leads(m) {
		return
	}
	q, err := decode[commitRequest](m.Data)
	if err == nil {
		err = h.store.Commit(h.ctx, q.Prev, q.Next)
	}
	h.answer(m, replyError(err))
}

// order tells the command in force.
func (h *Hub) order(m *nats.Msg) {
	if h.role() == Absent {
		return
	}
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
	err := h.serveState(subjectPS, state)
	if err != nil {
		return fmt.Errorf("control: serving ps: %w", err)
	}
	return nil
}

// serveState answers with what state returns.
func (h *Hub) serveState(subject string, state func() any) error {
	return h.serve(subject, func(m *nats.Msg) {
		if h.role() != Absent {
			h.respond(m, state())
		}
	})
}

// ServeKeepers tells who keeps a job.
func (h *Hub) ServeKeepers(keepers func() Keepers) error {
	if err := h.serveState(subjectKeepers, func() any { return keepers() }); err != nil {
		return fmt.Errorf("control: serving keepers: %w", err)
	}
	return nil
}

// ServeBegun tells who waits for a job to begin for which hosts it still waits.
func (h *Hub) ServeBegun(missing func() []string) error {
	if err := h.serveState(subjectBegun, func() any { return missing() }); err != nil {
		return fmt.Errorf("control: serving begun: %w", err)
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
