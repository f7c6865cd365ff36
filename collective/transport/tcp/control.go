package tcp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
	"time"

	"github.com/gorun-ml/gorun/collective/transport"
)

// control is the connection to a peer that says that it lives, and why it ends.
type control struct {
	peer transport.Peer
	conn *wire
	left chan struct{} // closed when the peer has said that it leaves
	mu   sync.Mutex    // held while writing
}

// meet makes conn the control connection to peer. answer, for the accepting side, tells the
// peer so.
func (m *Mesh) meet(peer transport.Peer, conn *wire, answer func(status) error) error {
	c := &control{peer: peer, conn: conn, left: make(chan struct{})}
	m.mu.Lock()
	switch {
	case m.err != nil:
		m.mu.Unlock()
		return errEnded
	case m.controls[peer.Rank] != nil:
		m.mu.Unlock()
		return errTaken
	}
	m.controls[peer.Rank] = c
	m.work.Go(func() { m.hear(c, answer) })
	m.mu.Unlock()
	return nil
}

// joined notes that peer has joined too.
func (m *Mesh) joined() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.present++
	if m.present == len(m.peers) {
		close(m.full)
	}
}

// hear reads what a peer says until it has nothing more to say.
func (m *Mesh) hear(c *control, answer func(status) error) {
	var err error
	if answer != nil {
		err = answer(statusTaken)
	}
	if err == nil {
		m.joined()
	}
	bye := false
	for err == nil {
		var h header
		var body []byte
		h, body, err = readMessage(c.conn)
		switch {
		case err != nil:
		case h.kind == kindAbort:
			told, bad := decodeAbort(body)
			if bad == nil {
				m.fail(told)
				return
			}
			err = bad
		case h.kind == kindBye && !bye:
			bye = true
			close(c.left)
		case h.kind == kindOpen && h.tag.Seq < transport.MaxLanes:
			m.opened(laneKey{c.peer.Rank, int(h.tag.Seq)})
		default:
			err = fmt.Errorf("%w: message of kind %d on a control connection", transport.ErrCorrupt, h.kind)
		}
	}
	if !bye {
		m.fail(&transport.PeerError{Rank: c.peer.Rank, Host: c.peer.Host, Err: lostBy(err)})
	}
}

// tell says goodbye to all peers, or that this rank gives up and why.
func (m *Mesh) tell(controls []*control, cause error) {
	h, body := header{kind: kindBye}, []byte(nil)
	if cause != transport.ErrClosed {
		h.kind, body = kindAbort, encodeAbort(transport.Abort(m.self, cause))
	}
	for _, c := range controls {
		c.write(h, body, m.fabric.c.Linger) // who can't be told has been lost
		c.conn.CloseWrite()
	}
}

func (c *control) write(h header, body []byte, within time.Duration) error {
	h.flags, h.length = flagSum, uint64(len(body))
	var head [headerBytes]byte
	h.encode(&head)
	b := append(head[:], body...)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(body, castagnoli))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn.SetWriteDeadline(time.Now().Add(within))
	_, err := c.conn.Write(b)
	return err
}

// readMessage reads a frame of a control connection, whose payload is small.
func readMessage(r io.Reader) (h header, body []byte, err error) {
	var head [headerBytes]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return h, nil, err
	}
	if err := h.decode(&head); err != nil {
		return h, nil, fmt.Errorf("%w: %w", transport.ErrCorrupt, err)
	}
	if h.length > maxAbort || h.flags != flagSum {
		return h, nil, fmt.Errorf("%w: control message of %d bytes", transport.ErrCorrupt, h.length)
	}
	b := make([]byte, h.length+trailerBytes)
	if _, err := io.ReadFull(r, b); err != nil {
		return h, nil, err
	}
	body = b[:h.length]
	if binary.LittleEndian.Uint32(b[h.length:]) != crc32.Checksum(body, castagnoli) {
		return h, nil, fmt.Errorf("%w: %w", transport.ErrCorrupt, errSum)
	}
	return h, body, nil
}

// opened dials a lane because the peer, which can't, wants it.
func (m *Mesh) opened(key laneKey) {
	if l, first := m.lane(key); first {
		m.begin(func() { m.open(l) })
	}
}

// open dials a lane.
func (m *Mesh) open(l *lane) {
	ctx, cancel := context.WithTimeout(m.ctx, laneWithin)
	defer cancel()
	var c *wire
	err := m.turn(ctx)
	if err == nil {
		c, err = m.dial(ctx, l.peer, uint16(l.number))
	}
	if err != nil {
		m.lost(l.peer, err)
		return
	}
	if m.attach(laneKey{l.peer.Rank, l.number}, c, nil) != nil {
		c.Close()
	}
}

func lostBy(err error) error {
	if errors.Is(err, transport.ErrCorrupt) {
		return err
	}
	return fmt.Errorf("%w: %s", transport.ErrLost, reason(err))
}
