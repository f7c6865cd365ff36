package collective

import (
	"sync"

	"github.com/gorun-ml/gorun/collective/transport"
)

// link is the watch's connection to one peer. It ends, without ending the mesh, when each
// end has said that it leaves; an end that hears it first answers at once, whatever else
// its rank is doing.
type link struct {
	peer int

	mu    sync.Mutex
	conn  transport.Conn   // nil until connected
	left  bool             // this end has said so, or is to say so once connected
	frame [frameBytes]byte // what is being sent
}

var linkTag = transport.Tag{Kind: uint8(watching)}

// send sends a report, unless this end has left. Errors end the mesh and show there.
func (l *link) send(r report) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil && !l.left {
		r.put(l.frame[:])
		_ = l.conn.Send(linkTag, l.frame[:])
	}
}

// leave says that this end will send no more.
func (l *link) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left {
		return
	}
	l.left = true
	if l.conn != nil {
		l.goodbye()
	}
}

func (l *link) goodbye() {
	report{tag: transport.Tag{Step: 1}}.put(l.frame[:])
	_ = l.conn.Send(linkTag, l.frame[:])
}

// connect notes the connection, and says goodbye over it if the link has been left already.
func (l *link) connect(conn transport.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn = conn
	if l.left {
		l.goodbye()
	}
}

// listen hears what the peer says until it leaves or the mesh ends.
func (w *watch) listen(l *link) {
	conn, err := w.core.mesh.Conn(l.peer, watchLane)
	if err != nil {
		return
	}
	l.connect(conn)
	var frame [frameBytes]byte
	for {
		if conn.Recv(linkTag, frame[:], nil) != nil {
			return
		}
		r, leaves := readReport(frame[:])
		if leaves {
			l.leave()
			return
		}
		w.hear(r)
	}
}
