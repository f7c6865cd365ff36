package tcp

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/gorun-ml/gorun/collective/transport"
)

const (
	maxYoung  = 64  // connections that have not proved themselves yet
	maxParked = 256 // connections for generations that this rank has not joined yet
)

// guest is a peer that has proved itself.
type guest struct {
	conn   *wire
	hello  hello
	script *transcript
}

type parking struct {
	gen  uint64
	from uint32
}

// accept takes connections until the listener is closed.
func (f *Fabric) accept() {
	for {
		c, err := f.listener.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of descriptors, most likely
			pause(f.ctx, 10*time.Millisecond)
			continue
		}
		if f.admit(c) {
			f.work.Go(func() { f.meet(c) })
		}
	}
}

// admit makes room for a connection that has not proved itself. In a flood the oldest goes:
// a peer needs a millisecond to prove itself, a stranger stays as long as it may.
func (f *Fabric) admit(c *net.TCPConn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended != nil {
		c.Close()
		return false
	}
	if len(f.young) == maxYoung {
		f.young[0].Close()
		f.young = append(f.young[:0], f.young[1:]...)
	}
	f.young = append(f.young, c)
	return true
}

// meet does the handshake with whoever has connected.
func (f *Fabric) meet(c *net.TCPConn) {
	c.SetDeadline(time.Now().Add(f.c.Handshake))
	var script *transcript
	var h hello
	w, err := f.wrap(f.ctx, c, false)
	if err == nil {
		script, h, err = receive(w, f.key, f.c.Version)
	}
	if err == errTheyEncrypt {
		refuse(c, greeting)
	}
	f.mu.Lock()
	for i, young := range f.young {
		if young == c {
			f.young = append(f.young[:i], f.young[i+1:]...)
			break
		}
	}
	f.mu.Unlock()
	if err == nil {
		err = f.place(&guest{conn: w, hello: h, script: script})
	}
	if err != nil {
		c.Close()
		f.turnAway(c.RemoteAddr(), err)
	}
}

// turnAway keeps in mind who was refused: where a rank stays missing, that may be why.
func (f *Fabric) turnAway(from net.Addr, why error) {
	if f.c.Refused != nil {
		f.c.Refused(from, why)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.turned = fmt.Errorf("turned away %v: %w", from, why)
}

// place hands a guest to its mesh, parks it where its generation is yet to come, or sends
// it away.
func (f *Fabric) place(g *guest) error {
	if g.hello.version != f.c.Version {
		g.script.answer(g.conn, statusVersion, 0)
		err := versionError(f.c.Version, g.hello.version)
		f.mu.Lock()
		m := f.meshes[g.hello.gen]
		f.mu.Unlock()
		if m != nil {
			m.refuse(int(g.hello.from), err)
		}
		return err
	}
	f.mu.Lock()
	m, newest := f.meshes[g.hello.gen], f.newest
	if m == nil && g.hello.gen > newest && g.hello.lane == controlLane && f.ended == nil {
		defer f.mu.Unlock()
		return f.park(g)
	}
	f.mu.Unlock()
	if m == nil {
		g.script.answer(g.conn, statusStale, newest)
		return staleError(g.hello.gen, newest)
	}
	return m.welcome(g)
}

// park keeps a guest until this rank joins its generation. A peer that gave up and dialled
// again takes the place of its first try. The fabric is locked.
func (f *Fabric) park(g *guest) error {
	at := parking{g.hello.gen, g.hello.from}
	if old := f.parked[at]; old != nil {
		old.conn.Close()
	} else if len(f.parked) == maxParked {
		g.script.answer(g.conn, statusBusy, f.newest)
		return fmt.Errorf("rank %d is too early for generation %d, and %d others are", g.hello.from, g.hello.gen, maxParked)
	}
	g.conn.SetDeadline(time.Time{})
	f.parked[at] = g
	return nil
}

func versionError(ours, theirs string) error {
	return fmt.Errorf("%w: this rank has version %q, the peer %q; start all ranks from one build", transport.ErrVersion, ours, theirs)
}

func staleError(gen, newest uint64) error {
	if gen == newest {
		return fmt.Errorf("%w: generation %d is over", transport.ErrStale, gen)
	}
	return fmt.Errorf("%w: generation %d is over, this is %d", transport.ErrStale, gen, newest)
}
