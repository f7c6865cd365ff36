package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/gorun-ml/gorun/internal/rendezvous"
)

// Bare is a rank's end of a control plane without a launcher, where programs are told who
// they are by RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT. It has Client's methods.
type Bare struct {
	conn     *lineConn
	server   *bareServer // rank 0's; nil for others
	welcome  welcome
	commands chan Command // nobody gives any
	closing  sync.Once

	life   context.Context // ends with the connection, with the cause
	end    context.CancelCauseFunc
	joined sync.WaitGroup

	mu   sync.Mutex
	last uint64 // number of the last request
	open map[uint64]chan bareReply
}

// errRefused is a refusal that another attempt can't change.
var errRefused = errors.New("control: rank 0 refuses")

// DialBare joins the job of size ranks whose rank 0 is at the master's address. On rank 0
// it serves the job there. The ranks may start in any order: it tries until ctx ends.
func DialBare(ctx context.Context, rank, size int, masterAddr string, masterPort int) (*Bare, error) {
	switch {
	case size < 1:
		return nil, fmt.Errorf("control: WORLD_SIZE=%d: want at least 1", size)
	case rank < 0 || rank >= size:
		return nil, fmt.Errorf("control: RANK=%d is not within 0 to %d (WORLD_SIZE=%d)", rank, size-1, size)
	case masterAddr == "":
		return nil, errors.New("control: MASTER_ADDR is empty: set it to an address of the host of rank 0")
	case masterPort < 1 || masterPort > 65535:
		return nil, fmt.Errorf("control: MASTER_PORT=%d: want a port from 1 to 65535, the same on all ranks", masterPort)
	}
	b := &Bare{commands: make(chan Command), open: make(map[uint64]chan bareReply)}
	b.life, b.end = context.WithCancelCause(context.Background())
	if rank == 0 {
		var err error
		if b.server, err = serveBare(ctx, size, masterAddr, masterPort); err != nil {
			return nil, err
		}
	}
	at := net.JoinHostPort(masterAddr, strconv.Itoa(masterPort))
	for try := 1; ; try++ {
		err := b.dial(ctx, at, hello{Rank: rank, Size: size})
		if err == nil {
			b.joined.Go(b.read)
			return b, nil
		}
		if !errors.Is(err, errRefused) && wait(ctx, pause(try)) == nil {
			continue
		}
		if b.server != nil {
			b.server.close()
		}
		if errors.Is(err, errRefused) {
			return nil, err
		}
		return nil, fmt.Errorf("control: rank %d can't reach rank 0 at %s: %w (%w): is rank 0 running, and MASTER_ADDR right?",
			rank, at, err, context.Cause(ctx))
	}
}

// dial makes one attempt to connect and be let in.
func (b *Bare) dial(ctx context.Context, at string, h hello) error {
	ctx, cancel := context.WithTimeout(ctx, helloWithin)
	defer cancel()
	d := net.Dialer{KeepAliveConfig: keepAlive}
	raw, err := d.DialContext(ctx, "tcp", at)
	if err != nil {
		return err
	}
	if tcp, ok := raw.(*net.TCPConn); ok && selfConnected(tcp) {
		_ = raw.Close()
		return errors.New("nobody listens there yet")
	}
	c := newLineConn(raw)
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() })
	w, err := greet(c, h)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = raw.Close()
		return err
	}
	b.conn, b.welcome = c, w
	return nil
}

// selfConnected says whether a connection to a port that nobody listens on has met itself,
// which TCP allows where the port is one that the kernel hands out.
func selfConnected(c *net.TCPConn) bool { return c.LocalAddr().String() == c.RemoteAddr().String() }

func greet(c *lineConn, h hello) (welcome, error) {
	body, err := encode(h)
	if err != nil {
		return welcome{}, err
	}
	if err := c.write(bareRequest{Op: opHello, Body: body}); err != nil {
		return welcome{}, err
	}
	line, err := c.read()
	if err != nil {
		return welcome{}, err
	}
	a, err := decode[bareReply](line)
	switch {
	case err != nil:
		return welcome{}, fmt.Errorf("what listens there is not gorun: %w", err)
	case a.Code == codeBusy:
		return welcome{}, errors.New(a.Error)
	case a.Code != "":
		return welcome{}, fmt.Errorf("%w: %s", errRefused, a.Error)
	case a.Welcome == nil:
		return welcome{}, errors.New("what listens there is not gorun: it sent no welcome")
	}
	return *a.Welcome, nil
}

// read hands answers to who waits for them, until the connection ends.
func (b *Bare) read() {
	for {
		line, err := b.conn.read()
		var a bareReply
		if err == nil {
			a, err = decode[bareReply](line)
		}
		if err != nil {
			b.end(fmt.Errorf("%w: rank 0 at %s is gone (%w)", ErrLost, b.conn.RemoteAddr(), err))
			return
		}
		b.mu.Lock()
		waiting := b.open[a.ID]
		delete(b.open, a.ID)
		b.mu.Unlock()
		if waiting != nil {
			waiting <- a // has room for it
		}
	}
}

// ask sends a request and waits for its answer.
func (b *Bare) ask(ctx context.Context, op string, v any) (reply, error) {
	body, err := encode(v)
	if err != nil {
		return reply{}, err
	}
	answer := make(chan bareReply, 1)
	b.mu.Lock()
	b.last++
	id := b.last
	b.open[id] = answer
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		delete(b.open, id)
		b.mu.Unlock()
	}()
	if err := b.conn.write(bareRequest{ID: id, Op: op, Body: body}); err != nil && b.life.Err() == nil {
		return reply{}, fmt.Errorf("%w: rank 0 at %s: %w", ErrLost, b.conn.RemoteAddr(), err)
	}
	select {
	case a := <-answer:
		return a.reply, a.err()
	case <-ctx.Done():
		return reply{}, context.Cause(ctx)
	case <-b.life.Done():
		select {
		case a := <-answer: // it came with the end
			return a.reply, a.err()
		default:
			return reply{}, context.Cause(b.life)
		}
	}
}

func (b *Bare) tell(ctx context.Context, op string, v any) error {
	ctx, cancel := withinLetter(ctx)
	defer cancel()
	if _, err := b.ask(ctx, op, v); err != nil {
		return fmt.Errorf("telling rank 0 (%s): %w", op, err)
	}
	return nil
}

// Register offers m as a rank; its slot is the rank. The first generation comes when all
// have registered.
func (b *Bare) Register(ctx context.Context, m rendezvous.Member) error {
	return b.tell(ctx, opRegister, m)
}

// Watch returns the newest generation once it is later than after. A lost rank, or rank
// 0's leaving, ends it with ErrLost.
func (b *Bare) Watch(ctx context.Context, after uint64) (rendezvous.Generation, error) {
	r, err := b.ask(ctx, opWatch, watchRequest{After: after})
	if err != nil {
		return rendezvous.Generation{}, fmt.Errorf("waiting for the generation after %d: %w", after, err)
	}
	if r.Generation == nil {
		return rendezvous.Generation{}, errors.New("control: rank 0 answered a watch without a generation")
	}
	return *r.Generation, nil
}

// Report does nothing: nobody collects reports.
func (b *Bare) Report(Report) error { return nil }

// Fail says why this rank gives up. The other ranks' watches end with it.
func (b *Bare) Fail(ctx context.Context, f Failure) error {
	f.Detail = cut(f.Detail)
	return b.tell(ctx, opFail, f)
}

// Finish says that this rank's training function has returned without error.
func (b *Bare) Finish(ctx context.Context, f Finish) error { return b.tell(ctx, opFinish, f) }

// Stranded does nothing: a bare job has one generation.
func (b *Bare) Stranded(context.Context, Stranded) error { return nil }

// Saved says that a checkpoint is durable.
func (b *Bare) Saved(ctx context.Context, s Saved) error { return b.tell(ctx, opSaved, s) }

// Say does nothing: there is no launcher to show the line.
func (b *Bare) Say(context.Context, string) error { return nil }

// Commands never gives one.
func (b *Bare) Commands() <-chan Command { return b.commands }

// Secret is the job's secret, made by rank 0.
func (b *Bare) Secret() [SecretBytes]byte { return b.welcome.Secret }

// Job is the job's ID, made by rank 0.
func (b *Bare) Job() string { return b.welcome.Job }

// Bind is the address of this host that rank 0 can be reached from: the other ranks are
// likely to be reached from it too.
func (b *Bare) Bind() string {
	host, _, err := net.SplitHostPort(b.conn.LocalAddr().String())
	if err != nil {
		panic("control: local address of a TCP connection: " + err.Error())
	}
	return host
}

// Close leaves the job. On rank 0 it goes on serving until the others know the end, for
// five seconds at most.
func (b *Bare) Close() error {
	b.closing.Do(func() {
		b.end(ErrClosed)
		_ = b.conn.SetDeadline(time.Now())
		_ = b.conn.Close()
		b.joined.Wait()
		if b.server != nil {
			b.server.close()
		}
	})
	return nil
}
