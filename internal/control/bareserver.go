package control

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/gorun-ml/gorun/internal/gate"
	"github.com/gorun-ml/gorun/internal/rendezvous"
)

const (
	helloWithin  = 2 * time.Second
	lingerFor    = 5 * time.Second // how long rank 0 waits for the others to see the end
	maxBareWatch = 16              // watches held on one connection
	maxStrangers = 64              // connections that have not said hello yet
	helloBytes   = 4 << 10         // that such a one may send
)

// bareServer is the control plane that rank 0 serves where there is no launcher. It has one
// generation of training and one that says all is done: nobody could replace a lost rank.
type bareServer struct {
	size     int
	welcome  welcome
	store    *rendezvous.Memory
	listener net.Listener
	gate     gate.Gate

	life   context.Context // ends when the job can't go on, with the cause
	end    context.CancelCauseFunc
	joined sync.WaitGroup
	left   chan struct{} // one token when somebody left or has seen the end

	mu       sync.Mutex
	conns    map[*bareConn]bool
	ranks    map[int]*bareConn // that have said hello
	seen     []rendezvous.Sighting
	finished map[int]bool
	done     bool // the last generation is committed
	closed   bool
}

// bareConn is one rank's connection. rank is -1 before its hello.
type bareConn struct {
	*lineConn
	few        *firstWords
	rank       int
	registered bool
	sawDone    bool
	watches    chan struct{}
}

// firstWords is a connection on which only so much may be said at first. What is read after
// that is counted by nobody: one goroutine reads, and lifts the limit.
type firstWords struct {
	net.Conn
	left int // bytes; below 0 for no limit
}

func (f *firstWords) Read(p []byte) (int, error) {
	if f.left < 0 {
		return f.Conn.Read(p)
	}
	if f.left == 0 {
		return 0, fmt.Errorf("no hello in %d bytes", helloBytes)
	}
	n, err := f.Conn.Read(p[:min(len(p), f.left)])
	f.left -= n
	return n, err
}

// serveBare listens on the master's address, and on that only.
func serveBare(ctx context.Context, size int, addr string, port int) (*bareServer, error) {
	at := net.JoinHostPort(addr, strconv.Itoa(port))
	l, err := (&net.ListenConfig{KeepAliveConfig: keepAlive}).Listen(ctx, "tcp", at)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("control: MASTER_PORT=%d on %s is in use by another program: choose a free port", port, addr)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("control: rank 0 can't listen on MASTER_ADDR=%s, which is not an address of this host: "+
			"start rank 0 on the host that MASTER_ADDR names", addr)
	case err != nil:
		return nil, fmt.Errorf("control: rank 0 listening on %s: %w", at, err)
	}
	s := &bareServer{
		size: size, store: rendezvous.NewMemory(), listener: l,
		gate: gate.Gate{Strangers: maxStrangers, Members: 2 * size}, // one that comes back may be seen before it is seen to have gone
		left: make(chan struct{}, 1), conns: make(map[*bareConn]bool),
		ranks: make(map[int]*bareConn), finished: make(map[int]bool),
	}
	_, _ = rand.Read(s.welcome.Secret[:]) // never fails
	var id [4]byte
	_, _ = rand.Read(id[:])
	s.welcome.Job = hex.EncodeToString(id[:])
	s.life, s.end = context.WithCancelCause(context.Background())
	s.joined.Go(s.accept)
	return s, nil
}

// keepAlive finds a dead peer in about three seconds.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: time.Second, Interval: time.Second, Count: 3}

func (s *bareServer) accept() {
	for try := 0; ; try++ {
		c, err := s.listener.Accept()
		if err != nil {
			s.mu.Lock()
			closed := s.closed
			s.mu.Unlock()
			if closed {
				return
			}
			// Out of descriptors, most likely: they may be given back.
			_ = wait(s.life, pause(try))
			continue
		}
		try = 0
		few := &firstWords{Conn: c, left: helloBytes}
		conn := &bareConn{lineConn: newLineConn(few), few: few, rank: -1, watches: make(chan struct{}, maxBareWatch)}
		s.mu.Lock()
		closed := s.closed
		if !closed {
			s.gate.Enter(few)
			s.conns[conn] = true
			s.joined.Go(func() { s.serve(conn) })
		}
		s.mu.Unlock()
		if closed {
			_ = c.Close()
		}
	}
}

// serve answers one connection's requests until it ends.
func (s *bareServer) serve(c *bareConn) {
	ctx, cancel := context.WithCancel(s.life)
	var watches sync.WaitGroup
	defer func() {
		cancel()
		watches.Wait()
		_ = c.Close()
		if c.rank < 0 {
			s.gate.Prove(c.few, false)
		} else {
			s.gate.Leave()
		}
		s.gone(c)
	}()
	_ = c.SetReadDeadline(time.Now().Add(helloWithin))
	for {
		line, err := c.read()
		if err != nil {
			return
		}
		q, err := decode[bareRequest](line)
		switch {
		case err != nil:
			_ = c.write(bareReply{reply: reply{Code: codeBad, Error: err.Error()}})
			return // what follows can't be trusted either
		case c.rank < 0:
			a := s.hello(c, q)
			if c.write(a) != nil || a.Code != "" {
				return
			}
		case q.Op == opWatch:
			select {
			case c.watches <- struct{}{}:
				watches.Go(func() {
					s.watch(ctx, c, q)
					<-c.watches
				})
			default:
				_ = c.write(bareReply{ID: q.ID, reply: reply{Code: codeBusy, Error: "too many watches"}})
			}
		default:
			_ = c.write(bareReply{ID: q.ID, reply: replyError(s.handle(c, q))})
		}
	}
}

// hello lets a rank in, if it is who it could be.
func (s *bareServer) hello(c *bareConn, q bareRequest) bareReply {
	refuse := func(kind code, format string, args ...any) bareReply {
		return bareReply{ID: q.ID, reply: reply{Code: kind, Error: fmt.Sprintf(format, args...)}}
	}
	h, err := decode[hello](q.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch other := s.ranks[h.Rank]; {
	case err != nil || q.Op != opHello:
		return refuse(codeBad, "the first request must be a hello")
	case h.Size != s.size:
		return refuse(codeBad, "rank %d has WORLD_SIZE=%d, rank 0 has %d: set it alike on all ranks", h.Rank, h.Size, s.size)
	case h.Rank < 0 || h.Rank >= s.size:
		return refuse(codeBad, "RANK=%d is not within 0 to %d", h.Rank, s.size-1)
	case s.done || s.life.Err() != nil:
		return refuse(codeBusy, "an earlier job is just ending here")
	case other != nil:
		return refuse(codeBad, "RANK=%d is there already, from %s: give each process a rank of its own", h.Rank, other.RemoteAddr())
	}
	if !s.gate.Prove(c.few, true) {
		return refuse(codeBusy, "too many connections")
	}
	c.few.left = -1
	_ = c.SetReadDeadline(time.Time{}) // under mu: close sets another one
	s.ranks[h.Rank], c.rank = c, h.Rank
	w := s.welcome
	return bareReply{ID: q.ID, Welcome: &w}
}

// disagreed is an end for which no rank alone is to blame.
type disagreed struct{ error }

func (s *bareServer) watch(ctx context.Context, c *bareConn, q bareRequest) {
	a := bareReply{ID: q.ID}
	w, err := decode[watchRequest](q.Body)
	if err != nil {
		a.reply = replyError(err)
	} else if g, err := s.store.Watch(ctx, w.After); err != nil {
		a.reply = reply{Code: codeOver, Error: err.Error()}
		if errors.As(err, new(disagreed)) {
			a.Code = codeDisagree
		}
	} else {
		a.Generation = &g
	}
	if c.write(a) == nil && a.Generation != nil && a.Generation.Done {
		s.mu.Lock()
		c.sawDone = true
		s.mu.Unlock()
		s.notice()
	}
}

// handle does what a rank asks for.
func (s *bareServer) handle(c *bareConn, q bareRequest) error {
	switch q.Op {
	case opRegister:
		m, err := decode[rendezvous.Member](q.Body)
		if err != nil {
			return err
		}
		return s.register(c, m)
	case opFinish:
		if _, err := decode[Finish](q.Body); err != nil {
			return err
		}
		return s.finish(c.rank)
	case opFail:
		f, err := decode[Failure](q.Body)
		if err != nil {
			return err
		}
		end := fmt.Errorf("rank %d failed: %s", c.rank, cut(f.Detail))
		if f.Kind == KindMismatch {
			end = disagreed{end}
		}
		s.end(end)
		return nil
	case opSaved, opSay:
		return nil // nobody listens
	default:
		return fmt.Errorf("request %q is unknown: the ranks run different versions", q.Op)
	}
}

// register notes a rank as ready. With the last one, the generation begins.
func (s *bareServer) register(c *bareConn, m rendezvous.Member) error {
	if err := checkMember(m); err != nil {
		return err
	}
	if m.Slot != c.rank {
		return fmt.Errorf("rank %d registers for slot %d", c.rank, m.Slot)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.registered {
		return nil // its answer may have been lost
	}
	c.registered = true
	now := time.Now()
	s.seen = append(s.seen, rendezvous.Sighting{Member: m, By: "rank 0", State: rendezvous.Registered, Since: now})
	next, _, ok := rendezvous.Next(s.store.Current(), s.seen, now, rendezvous.Policy{Min: s.size, Max: s.size})
	if !ok {
		return nil
	}
	return s.store.Commit(s.life, next.ID-1, next)
}

// finish notes that a rank has finished. With the last one, the job is done.
func (s *bareServer) finish(rank int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.store.Current()
	if g.ID == 0 {
		return fmt.Errorf("rank %d finishes before the job has begun", rank)
	}
	s.finished[rank] = true
	if s.done || len(s.finished) < s.size {
		return nil
	}
	s.done = true
	return s.store.Commit(s.life, g.ID, rendezvous.Generation{ID: g.ID + 1, Members: g.Members, Why: "every rank has finished", Done: true})
}

// gone notes the end of a connection. Before the job is done, a registered rank's is the
// job's too.
func (s *bareServer) gone(c *bareConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if c.rank >= 0 {
		delete(s.ranks, c.rank)
	}
	if c.registered && !s.done {
		s.end(fmt.Errorf("rank %d was lost, and nobody replaces it: without gorun a lost rank ends the job", c.rank))
	}
	s.notice()
}

func (s *bareServer) notice() {
	select {
	case s.left <- struct{}{}:
	default:
	}
}

// waitedFor says whether a rank has still to be told how the job ended.
func (s *bareServer) waitedFor() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.ranks {
		if s.done && c.rank != 0 && !c.sawDone {
			return true
		}
	}
	return false
}

// close serves until all ranks know the end, for five seconds at most.
func (s *bareServer) close() {
	limit := time.NewTimer(lingerFor)
	defer limit.Stop()
	for s.waitedFor() {
		select {
		case <-s.left:
			continue
		case <-limit.C:
		}
		break
	}
	s.end(errors.New("rank 0 has left the job")) // answers the watches that are held
	s.mu.Lock()
	s.closed = true
	_ = s.listener.Close()
	for c := range s.conns {
		// Reading ends at once; answers under way are still written.
		_ = c.SetReadDeadline(time.Now())
	}
	s.mu.Unlock()
	s.joined.Wait()
}
