package faulty

import (
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"
)

// Bytes says what goes wrong with the bytes of a connection that a rank writes. Zero fields
// do not go wrong; positions count from 1.
type Bytes struct {
	Seed    uint64
	Pieces  int   // reads and writes go in random pieces of at most this many bytes
	FlipAt  int64 // a bit of this byte arrives flipped
	ResetAt int64 // the connection is reset before this byte
	StallAt int64 // this byte and all after it are stuck until the connection is closed
}

// Stream returns a wrapper for connections, each with b's faults.
func Stream(b Bytes) func(net.Conn) net.Conn {
	return func(c net.Conn) net.Conn { return &stream{Conn: c, plan: b, ended: make(chan struct{})} }
}

type stream struct {
	net.Conn
	plan        Bytes
	written     int64
	reads, puts uint64
	end         sync.Once
	ended       chan struct{}
}

func (s *stream) piece(n uint64, p []byte) []byte {
	if s.plan.Pieces == 0 {
		return p
	}
	return p[:min(len(p), 1+int(mix(s.plan.Seed^n)%uint64(s.plan.Pieces)))]
}

func (s *stream) Read(p []byte) (int, error) {
	s.reads++
	return s.Conn.Read(s.piece(s.reads, p))
}

func (s *stream) Write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var wrote int
		s.puts++
		wrote, err = s.put(s.piece(s.puts, p[n:]))
		n += wrote
	}
	return n, err
}

// put writes a piece up to the next fault, or makes the fault.
func (s *stream) put(p []byte) (int, error) {
	first := s.written + 1
	upTo := func(at int64) {
		if at > first && at < first+int64(len(p)) {
			p = p[:at-first]
		}
	}
	upTo(s.plan.FlipAt)
	upTo(s.plan.ResetAt)
	upTo(s.plan.StallAt)
	switch first {
	case s.plan.FlipAt:
		p = []byte{p[0] ^ 1<<(mix(s.plan.Seed)%8)}
	case s.plan.ResetAt:
		if c, ok := s.Conn.(*net.TCPConn); ok {
			c.SetLinger(0)
		}
		s.Close()
		return 0, fmt.Errorf("injected: %w", syscall.ECONNRESET)
	case s.plan.StallAt:
		<-s.ended
		return 0, net.ErrClosed
	}
	n, err := s.Conn.Write(p)
	s.written += int64(n)
	return n, err
}

// SetDeadline ends a stall too: transports set deadlines to make calls return.
func (s *stream) SetDeadline(t time.Time) error {
	s.end.Do(func() { close(s.ended) })
	return s.Conn.SetDeadline(t)
}

func (s *stream) Close() error {
	s.end.Do(func() { close(s.ended) })
	return s.Conn.Close()
}
