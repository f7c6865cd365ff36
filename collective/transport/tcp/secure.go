package tcp

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/internal/pinned"
)

// An encrypted connection begins with TLS 1.3, in which both sides show that they hold the
// job's key. The handshake of every connection is said inside of it, and all that a control
// connection carries. A lane goes on with records of its own: see seal.

// tlsProtocol is what the two sides of an encrypted connection say that they speak.
const tlsProtocol = "gorun-data-1"

// encrypting is the greeting of who encrypts, to who does not: the one thing that an
// encrypting rank says in plain.
const encrypting = "gorun/1s"

var (
	errTheyEncrypt = fmt.Errorf("%w: the peer encrypts, this rank does not: start all ranks with --encrypt, or none", transport.ErrVersion)
	errWeEncrypt   = fmt.Errorf("%w: this rank encrypts, the peer does not: start all ranks with --encrypt, or none", transport.ErrVersion)
)

// Encrypt has what begins from now on encrypted: all connections to and from this fabric. It
// is called before peers know the fabric's address, and on all ranks or on none.
func (f *Fabric) Encrypt() {
	ends := pinned.New(expand(f.key, nil, "gorun data connection TLS"), tlsProtocol)
	f.ends.Store(&ends)
}

// wire is a connection to a peer, from its handshake on. It is closed without a word of TLS,
// which could wait: who leaves in good order has said so in a message.
type wire struct {
	*net.TCPConn
	tls *tls.Conn // what is said goes through it; nil where nothing is encrypted
}

func (w *wire) Read(p []byte) (int, error) {
	if w.tls != nil {
		return w.tls.Read(p)
	}
	return w.TCPConn.Read(p)
}

func (w *wire) Write(p []byte) (int, error) {
	if w.tls != nil {
		return w.tls.Write(p)
	}
	return w.TCPConn.Write(p)
}

// wrap does the dialer's or the acceptor's part of TLS, where the fabric encrypts.
func (f *Fabric) wrap(ctx context.Context, c *net.TCPConn, dialer bool) (*wire, error) {
	w := &wire{TCPConn: c}
	ends := f.ends.Load()
	if ends == nil {
		return w, nil
	}
	if dialer {
		w.tls = tls.Client(&records{Conn: c, from: recordHeader}, ends.Client)
	} else {
		w.tls = tls.Server(&records{Conn: c, from: recordHeader}, ends.Server)
	}
	err := w.tls.HandshakeContext(ctx)
	if err == nil {
		return w, nil
	}
	var op *net.OpError
	if bad, ok := errors.AsType[tls.RecordHeaderError](err); ok && string(bad.RecordHeader[:]) == greeting[:len(bad.RecordHeader)] {
		if !dialer {
			refuse(c, encrypting)
		}
		return nil, errWeEncrypt
	}
	switch {
	case errors.Is(err, pinned.ErrOther):
		return nil, fmt.Errorf("%w: its certificate is of another key; is it of this job?", transport.ErrAuth)
	case errors.As(err, &op) && op.Op == "remote error":
		return nil, fmt.Errorf("%w: it refuses this rank's handshake; are both of one job?", transport.ErrAuth)
	}
	return nil, err
}

// refuse answers, in plain, who has begun in another way than this rank does. What they
// have said is read to its end, so that the answer is not lost.
func refuse(c *net.TCPConn, greeting string) {
	var b [challengeBytes]byte
	copy(b[:], greeting)
	if _, err := c.Write(b[:]); err == nil && c.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(c, 64<<10)) // until the deadline of the handshake
	}
}

// The beginning of a TLS record, of which the last two bytes are how many follow.
const (
	recordHeader = 5
	tlsHandshake = 22 // the first byte of a client's first record
	tlsVersion   = 3  // the second
)

// records gives its reader no byte from beyond the TLS record that it asks for: what follows
// the last one of a handshake belongs to the lane.
type records struct {
	net.Conn
	head       [recordHeader]byte
	from, left int // what is not given yet of the record: head[from:], and so many bytes after it
}

func (r *records) Read(p []byte) (n int, err error) {
	if r.from == len(r.head) && r.left == 0 {
		if _, err := io.ReadFull(r.Conn, r.head[:]); err != nil {
			return 0, err
		}
		r.from, r.left = 0, int(binary.BigEndian.Uint16(r.head[3:]))
	}
	if r.from < len(r.head) {
		n = copy(p, r.head[r.from:])
		r.from += n
		return n, nil
	}
	n, err = r.Conn.Read(p[:min(len(p), r.left)])
	r.left -= n
	return n, err
}

// keys are what a lane seals and opens its records with. They come from the TLS session, so
// that they are its own, and from the job's key, so that whoever will be able to undo the key
// exchange of what they have recorded still lacks the secret.
func (w *wire) keys(jobKey []byte, dialer bool) (ours, theirs *half, err error) {
	s := w.tls.ConnectionState()
	exported, err := s.ExportKeyingMaterial("EXPORTER gorun lane", nil, 32)
	if err != nil {
		return nil, nil, err
	}
	dialers, err := newHalf(expand(exported, jobKey, "gorun lane dialer"))
	if err != nil {
		return nil, nil, err
	}
	acceptors, err := newHalf(expand(exported, jobKey, "gorun lane acceptor"))
	if dialer {
		return dialers, acceptors, err
	}
	return acceptors, dialers, err
}
