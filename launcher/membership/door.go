package membership

import (
	"errors"
	"fmt"
	"log"
	"net"
	"slices"
	"sync"

	"github.com/hashicorp/memberlist"
)

const (
	mostVisits = 128      // streams from others at once; the library serves no more exchanges
	visitBytes = 2 << 20  // that one may send: all that is told of 2,000 hosts
	heldBytes  = 16 << 20 // that all may have sent, together
	portTries  = 10
)

var errTooMuch = fmt.Errorf("more than %d MiB from one host, or in the way of others", visitBytes>>20)

// door is the library's transport with a bound on what comes in by TCP. There the library
// reads up to 20 MiB of a stream before it can tell whether who sends it holds the key, and
// of as many streams as there are. Who holds it sends a few KiB, in some milliseconds: one
// stream too many ends the oldest, and where all have sent too much the one that has sent
// most ends. Time is bounded by the library, for each stream.
type door struct {
	*memberlist.NetTransport
	streams chan net.Conn
	over    chan struct{}
	passing sync.WaitGroup

	mu     sync.Mutex
	visits []*visit // in the order of their coming
	held   int
}

// openDoor listens on UDP and TCP, on the same port.
func openDoor(bind string, port int, logger *log.Logger) (d *door, err error) {
	d = &door{streams: make(chan net.Conn), over: make(chan struct{})}
	for range portTries { // any that is free for TCP may be another's for UDP
		d.NetTransport, err = memberlist.NewNetTransport(&memberlist.NetTransportConfig{BindAddrs: []string{bind}, BindPort: port, Logger: logger})
		if err == nil || port != 0 {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	d.passing.Go(d.pass)
	return d, nil
}

// pass hands streams on until the door is shut.
func (d *door) pass() {
	for {
		select {
		case c := <-d.NetTransport.StreamCh():
			v := d.enter(c)
			select {
			case d.streams <- v:
			case <-d.over:
				_ = v.Close() // nothing was said
			}
		case <-d.over:
			return
		}
	}
}

// StreamCh gives streams whose bytes are counted.
func (d *door) StreamCh() <-chan net.Conn { return d.streams }

// Shutdown closes the ports and ends the streams that are left.
func (d *door) Shutdown() error {
	err := d.NetTransport.Shutdown() // what it has taken already is still passed on
	close(d.over)
	d.passing.Wait()
	d.mu.Lock()
	left := slices.Clone(d.visits)
	d.mu.Unlock()
	for _, v := range left {
		_ = v.Close() // the library notices
	}
	return err
}

// visit is a stream from another host, or from a stranger.
type visit struct {
	net.Conn
	door *door
	sent int // of the door's
}

func (d *door) enter(c net.Conn) *visit {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.visits) == mostVisits {
		d.end(d.visits[0])
	}
	v := &visit{Conn: c, door: d}
	d.visits = append(d.visits, v)
	return v
}

// end ends a stream, and what it has sent counts no more. The door is locked. It may be
// called again.
func (d *door) end(v *visit) {
	if i := slices.Index(d.visits, v); i >= 0 {
		d.visits = slices.Delete(d.visits, i, i+1)
		d.held -= v.sent
		_ = v.Conn.Close() // who reads from it notices
	}
}

// Read ends the stream where it has sent too much.
func (v *visit) Read(p []byte) (int, error) {
	n, err := v.Conn.Read(p)
	d := v.door
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Contains(d.visits, v) {
		return 0, net.ErrClosed
	}
	v.sent += n
	d.held += n
	if v.sent > visitBytes {
		d.end(v)
		return 0, errTooMuch
	}
	for d.held > heldBytes {
		most := slices.MaxFunc(d.visits, func(a, b *visit) int { return a.sent - b.sent })
		d.end(most)
		if most == v {
			return 0, errTooMuch
		}
	}
	return n, err
}

// Close ends the stream.
func (v *visit) Close() error {
	v.door.mu.Lock()
	defer v.door.mu.Unlock()
	v.door.end(v)
	return nil
}

var _ memberlist.NodeAwareTransport = (*door)(nil)

// create makes a member behind a door, which listens where c says.
func create(c *memberlist.Config) (*memberlist.Memberlist, error) {
	d, err := openDoor(c.BindAddr, c.BindPort, c.Logger)
	if err != nil {
		return nil, err
	}
	c.Transport, c.BindPort, c.AdvertisePort = d, d.GetAutoBindPort(), d.GetAutoBindPort()
	list, err := memberlist.Create(c)
	if err != nil {
		return nil, errors.Join(err, d.Shutdown())
	}
	return list, nil
}
