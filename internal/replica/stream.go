package replica

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/gorun-ml/gorun/internal/pinned"
)

// maxLinks bounds the connections that other members have to this one. Each needs about
// five; one too many ends the oldest, whose other end has probably gone long ago.
const maxLinks = 256

// stream is a member's connections: where raft's transport gets them from.
type stream struct {
	listener *pinned.Listener
	ends     pinned.Ends
	addr     address
	route    func(string) string // nil, but in tests

	ctx  context.Context // ends when the member is cut off
	cut  context.CancelFunc
	over chan struct{} // closed when raft's transport is closed
	once sync.Once

	mu       sync.Mutex
	links    map[*link]struct{} // all that are open
	accepted []*link            // those that others have made, in the order of their coming
	handled  sync.WaitGroup     // accepted ones that raft's transport has not let go
}

// address is where the others reach this member.
type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }

func newStream(l net.Listener, addr string, ends pinned.Ends, refused func(net.Addr, error)) *stream {
	s := &stream{
		listener: ends.Listen(l, refused), ends: ends, addr: address(addr),
		over: make(chan struct{}), links: map[*link]struct{}{},
	}
	s.ctx, s.cut = context.WithCancel(context.Background())
	return s
}

// Accept returns the next connection of another member.
func (s *stream) Accept() (net.Conn, error) {
	c, err := s.listener.Accept()
	if err != nil {
		<-s.over // until then it would be called again and again
		return nil, err
	}
	l := &link{Conn: c, stream: s, theirs: true}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.accepted) == maxLinks {
		s.accepted[0].breakOff() // its goroutine notices
		s.accepted = slices.Delete(s.accepted, 0, 1)
	}
	s.accepted = append(s.accepted, l)
	s.handled.Add(1)
	s.admit(l)
	return l, nil
}

// Dial connects to another member.
func (s *stream) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(s.ctx, timeout)
	defer cancel()
	c, err := s.dial(ctx, string(addr))
	if err != nil {
		return nil, err
	}
	l := &link{Conn: c, stream: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.admit(l)
	return l, nil
}

func (s *stream) dial(ctx context.Context, addr string) (*tls.Conn, error) {
	if s.route != nil {
		addr = s.route(addr)
	}
	return s.ends.Dial(ctx, addr)
}

// try connects to another member, and leaves it at that.
func (s *stream) try(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, answer)
	defer cancel()
	stop := context.AfterFunc(s.ctx, cancel)
	defer stop()
	c, err := s.dial(ctx, addr)
	if err != nil {
		return err
	}
	return c.NetConn().Close()
}

// admit counts a link in, or breaks it off where the member has been cut off.
func (s *stream) admit(l *link) {
	s.links[l] = struct{}{}
	if s.ctx.Err() != nil {
		l.breakOff()
	}
}

// Addr is where the others reach this member.
func (s *stream) Addr() net.Addr { return s.addr }

// Close is called by raft's transport.
func (s *stream) Close() error {
	s.once.Do(func() { close(s.over) })
	return nil
}

// cutOff ends all connections for good. Raft goes on, like a member whose cable was pulled.
func (s *stream) cutOff() {
	s.cut()
	_ = s.listener.Close() // only its port could be left
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.links {
		l.breakOff()
	}
}

// join waits until raft's transport, which has been closed, has let go of all it accepted.
func (s *stream) join() { s.handled.Wait() }

// link is one connection, whose frames are bounded. Raft's transport reads a request and
// answers it, or asks and reads the answer, so that what was read since the last write is a
// frame, and a part of the next one at most.
type link struct {
	net.Conn
	stream *stream
	theirs bool // made by the other end
	unread atomic.Int64
	once   sync.Once
}

func (l *link) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if l.unread.Add(int64(n)) > maxFrame {
		l.breakOff()
		return 0, fmt.Errorf("frame of more than %d MiB from %v", maxFrame>>20, l.RemoteAddr())
	}
	if errors.Is(err, net.ErrClosed) { // by this end, which knows
		err = io.EOF
	}
	return n, err
}

func (l *link) Write(p []byte) (int, error) {
	l.unread.Store(0)
	return l.Conn.Write(p)
}

// Close is called by raft's transport, when it lets go of the link.
func (l *link) Close() error {
	l.breakOff()
	l.once.Do(func() {
		s := l.stream
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.links, l)
		if l.theirs {
			if i := slices.Index(s.accepted, l); i >= 0 {
				s.accepted = slices.Delete(s.accepted, i, i+1)
			}
			s.handled.Done()
		}
	})
	return nil
}

// breakOff ends the connection below TLS, whose parting words could wait for 5 s.
func (l *link) breakOff() {
	if t, ok := l.Conn.(*tls.Conn); ok {
		_ = t.NetConn().Close() // nobody waits for what it still had to say
	}
}
