package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"

	"github.com/gorun-ml/gorun/internal/pinned"
	"github.com/gorun-ml/gorun/internal/rendezvous"
)

const (
	answerWithin = 2 * time.Second        // an answer that is later than this is asked for again
	letterWithin = 15 * time.Second       // an acknowledgement that is later than this is an error
	goneAfter    = 10 * time.Second       // a broker unreachable for so long is gone for good
	closeWithin  = 2 * time.Second        // what Close may take
	retryFirst   = 10 * time.Millisecond  // pauses between attempts double from here
	retryMost    = 100 * time.Millisecond // to here
)

// Client is a worker's end of the control plane. It may be used by several goroutines.
type Client struct {
	nc     *nats.Conn
	env    Env
	prefix string
	from   string        // names this client in its letters
	turn   chan struct{} // holds a token while no letter is under way
	seq    uint64        // of the last letter; belongs to who has the token

	reports  *reporter
	commands *commands
	joined   sync.WaitGroup
	closing  sync.Once
	link     link
	refresh  chan struct{} // asks for the order in force, after a reconnect
	turned   turned
}

// Dial connects to the control plane that e names and proves the job's secret to it. It
// tries until ctx ends, ten seconds at most: the broker may be just restarting.
func Dial(ctx context.Context, e Env, secret [SecretBytes]byte) (*Client, error) {
	p, err := prefix(e.Job)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, goneAfter, fmt.Errorf("no answer for %v", goneAfter))
	defer cancel()
	c := &Client{
		env: e, prefix: p, from: nuid.Next(),
		turn:     make(chan struct{}, 1),
		commands: newCommands(),
		refresh:  make(chan struct{}, 1),
	}
	c.link.init()
	c.turned.next()
	c.turn <- struct{}{}
	if c.nc, err = c.connect(ctx, secret); err != nil {
		c.link.close()
		return nil, err
	}
	c.reports = newReporter(c.nc, p+subjectReport)
	c.joined.Go(c.reports.run)
	if err := c.listen(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	c.joined.Go(c.keepOrder)
	return c, nil
}

// connect tries until ctx ends or the broker refuses the secret.
func (c *Client) connect(ctx context.Context, secret [SecretBytes]byte) (*nats.Conn, error) {
	options := []nats.Option{
		nats.Name(c.env.Member),
		Login(BrokerSeed(secret)),
		nats.Timeout(2 * time.Second), // with TLS, where many start at once
		nats.SetCustomDialer(&net.Dialer{Timeout: dialFor(c.env.Broker)}),
		nats.DontRandomize(),          // the nearest comes first
		nats.PingInterval(pingEvery(c.env.Broker)),
		nats.MaxPingsOutstanding(2),
		nats.MaxReconnects(-1), // link bounds them by time
		nats.CustomReconnectDelay(pause),
		nats.ReconnectBufSize(-1), // what can't be sent now is asked for again, or dropped
		nats.NoCallbacksAfterClientClose(),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
		nats.DisconnectErrHandler(func(nc *nats.Conn, _ error) { c.link.down(nc) }),
		nats.ReconnectHandler(func(*nats.Conn) {
			c.link.up()
			select {
			case c.refresh <- struct{}{}:
			default:
			}
		}),
		nats.ClosedHandler(func(*nats.Conn) { c.link.close() }),
	}
	for try := 1; ; try++ {
		nc, err := nats.Connect("nats://"+c.env.Broker, options...)
		switch {
		case err == nil:
			return nc, nil
		case errors.Is(err, nats.ErrAuthorization), errors.Is(err, pinned.ErrOther):
			return nil, fmt.Errorf("%w by the broker at %s of job %s: start the program with gorun, "+
				"without GORUN_ variables kept from another job", ErrAuth, c.env.Broker, c.env.Job)
		case wait(ctx, pause(try)) != nil:
			return nil, fmt.Errorf("control: broker at %s of job %s: %w (%w): is the launcher still running?",
				c.env.Broker, c.env.Job, err, context.Cause(ctx))
		}
	}
}

// dialFor is how long a broker's host may take to answer at all. Where there are others, who
// starts after a host was lost must not wait for that.
func dialFor(brokers string) time.Duration {
	if strings.Contains(brokers, ",") {
		return 300 * time.Millisecond
	}
	return 2 * time.Second
}

// pingEvery is how often a broker that is silent is looked at. Where there are others, a lost
// one is to be left soon.
func pingEvery(brokers string) time.Duration {
	if strings.Contains(brokers, ",") {
		return 250 * time.Millisecond
	}
	return 2 * time.Second
}

// listen subscribes to commands and asks for the one in force.
func (c *Client) listen(ctx context.Context) error {
	_, err := c.nc.Subscribe(c.prefix+subjectCommand, func(m *nats.Msg) {
		if o, err := decode[order](m.Data); err == nil {
			c.commands.heard(o)
		}
	})
	if err != nil {
		return fmt.Errorf("control: listening for commands: %w", err)
	}
	if _, err := c.nc.Subscribe(c.prefix+subjectTurn, func(*nats.Msg) { c.turned.next() }); err != nil {
		return fmt.Errorf("control: listening for turns: %w", err)
	}
	o, err := c.order(ctx)
	if err != nil {
		return err
	}
	c.commands.inForce(o)
	return nil
}

func (c *Client) order(ctx context.Context) (order, error) {
	data, err := c.ask(ctx, subjectOrder, nil, answerWithin)
	if err != nil {
		return order{}, fmt.Errorf("asking for the command in force: %w", err)
	}
	o, err := decode[order](data)
	if err != nil {
		return order{}, fmt.Errorf("control: command in force: %w", err)
	}
	return o, nil
}

// keepOrder asks for the order after each reconnect: messages sent meanwhile are lost.
func (c *Client) keepOrder() {
	for {
		select {
		case <-c.refresh:
			if o, err := c.order(c.link.life); err == nil {
				c.commands.heard(o)
			}
		case <-c.link.life.Done():
			return
		}
	}
}

// Register offers m as a rank. It is acknowledged when the supervisor knows.
func (c *Client) Register(ctx context.Context, m rendezvous.Member) error {
	if err := checkMember(m); err != nil {
		return fmt.Errorf("control: %w", err)
	}
	return c.tell(ctx, subjectRegister, m)
}

// Watch returns the newest generation once it is later than after. It goes on over
// reconnects until ctx ends or the launcher is gone (ErrLost).
func (c *Client) Watch(ctx context.Context, after uint64) (rendezvous.Generation, error) {
	body, err := encode(watchRequest{After: after})
	if err != nil {
		return rendezvous.Generation{}, err
	}
	for {
		r, err := c.request(ctx, subjectWatch, body, pollFor+answerWithin)
		if err != nil {
			return rendezvous.Generation{}, fmt.Errorf("waiting for the generation after %d: %w", after, err)
		}
		if r.Generation != nil && r.Generation.ID > after {
			return *r.Generation, nil
		}
	}
}

// Commit makes next the job's current generation if prev still is: with Watch, it makes
// Client a rendezvous.Store.
func (c *Client) Commit(ctx context.Context, prev uint64, next rendezvous.Generation) error {
	body, err := encode(commitRequest{Prev: prev, Next: next})
	if err != nil {
		return err
	}
	ctx, cancel := withinLetter(ctx)
	defer cancel()
	if _, err = c.request(ctx, subjectCommit, body, answerWithin); err != nil {
		return fmt.Errorf("committing generation %d: %w", next.ID, err)
	}
	return nil
}

// Report tells of a completed step. It never blocks: where the control plane is away or
// slow, reports are dropped.
func (c *Client) Report(r Report) error {
	if c.link.life.Err() != nil {
		return c.link.err()
	}
	c.reports.add(r)
	return nil
}

// Fail says why this rank gives up. It is acknowledged when the supervisor knows.
func (c *Client) Fail(ctx context.Context, f Failure) error {
	f.Detail = cut(f.Detail)
	return c.tell(ctx, subjectFail, f)
}

// Finish says that this rank's training function has returned without error.
func (c *Client) Finish(ctx context.Context, f Finish) error { return c.tell(ctx, subjectFinish, f) }

// Stranded says that this rank lives and has lost its connections.
func (c *Client) Stranded(ctx context.Context, s Stranded) error {
	return c.tell(ctx, subjectStranded, s)
}

// Saved says that a checkpoint is durable.
func (c *Client) Saved(ctx context.Context, s Saved) error { return c.tell(ctx, subjectSaved, s) }

// Say has the launcher show a line to the user.
func (c *Client) Say(ctx context.Context, line string) error {
	return c.tell(ctx, subjectSay, sayRequest{Member: c.env.Member, Line: cut(line)})
}

// PS asks for the state of the job, as JSON.
func (c *Client) PS(ctx context.Context) (json.RawMessage, error) {
	ctx, cancel := withinLetter(ctx)
	defer cancel()
	data, err := c.ask(ctx, subjectPS, nil, answerWithin)
	if err != nil {
		return nil, fmt.Errorf("asking for the state of job %s: %w", c.env.Job, err)
	}
	return data, nil
}

// Commands gives what the supervisor asks of all ranks. What wasn't taken yet is merged:
// the channel holds one command, which asks for all that is open.
func (c *Client) Commands() <-chan Command { return c.commands.ch }

// Close sends what is still to be sent, for two seconds at most, and disconnects.
func (c *Client) Close() (err error) {
	c.closing.Do(func() { err = c.close() })
	return err
}

func (c *Client) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	var err error
	if c.nc.IsConnected() {
		if err = c.reports.drain(ctx); err == nil {
			err = c.nc.FlushWithContext(ctx)
		}
	}
	c.link.close()
	c.nc.Close()
	c.reports.stop()
	c.joined.Wait()
	if err != nil {
		return fmt.Errorf("control: closing: %w", err)
	}
	return nil
}
