package tcp

import (
	"net"
	"runtime"
	"strings"
	"time"

	"github.com/gorun-ml/gorun/collective/transport"
)

const (
	// Where every rank has a core to itself, who waits keeps it for a few round trips of
	// loopback. Then it offers it to others while it goes on looking: for long, because the
	// first wake-up makes the peer wait, and sleep, too.
	keepFor  = 15 * time.Microsecond
	spinFor  = time.Millisecond
	spinTurn = 8 // looks between two at the clock

	// The other goroutines of the process get their turn now and then: each time Go wakes a
	// thread for them, if one sleeps, which then takes a core from the ranks for a while.
	takeTurns = 32

	// Where ranks share cores, who waits offers its core so often before it sleeps: most
	// often the one it waits for is ready to run, and the kernel need not wake it up.
	yieldTimes = 100

	// Of a long payload from another host, who waits sleeps until so much of it is there:
	// a link brings it packet by packet, and waking up for each would take a core.
	batchBytes = 64 << 10
)

// patience is what who waits does before it sleeps.
type patience struct {
	spin   time.Duration // looks again and again for so long
	yields int           // or lets others have the core so often
}

// idle is how long there has been nothing to move.
type idle struct {
	tries int
	since time.Time
}

// patience is that of a rank of which there are ranks on this host.
func (c *Config) patience(ranks int) patience {
	switch {
	case c.Spin > 0:
		return patience{spin: c.Spin}
	case c.Spin < 0:
		return patience{}
	case ranks <= min(runtime.NumCPU(), runtime.GOMAXPROCS(0)):
		return patience{spin: spinFor}
	default:
		return patience{yields: yieldTimes}
	}
}

// neighbours is how many peers are on this machine: on this host, at this fabric's own IP
// address, or on a host of the same machine with a network of its own.
func neighbours(peers map[int]transport.Peer, host, addr string) (n int) {
	own, _, _ := net.SplitHostPort(addr)
	machine, _, _ := strings.Cut(host, transport.HostSeparator)
	for _, p := range peers {
		ip, _, _ := net.SplitHostPort(p.Addr)
		theirs, _, _ := strings.Cut(p.Host, transport.HostSeparator)
		if theirs == machine || ip == own {
			n++
		}
	}
	return n
}

// Wait returns when out may take more or in may have more.
func (m *Mesh) Wait(out, in transport.Flow) error {
	o, _ := out.(*lane)
	i, _ := in.(*lane)
	for _, l := range []*lane{o, i} {
		if l != nil && !l.taken.Load() {
			if err := l.take(); err != nil {
				return err
			}
		}
	}
	switch {
	case m.over.Load():
		return m.Err()
	case m.again(o, i):
		return nil
	}
	return m.sleep(o, i)
}

// Wait is Mesh.Wait, for who has nothing but a lane of the mesh.
func (l *lane) Wait(out, in transport.Flow) error { return l.mesh.Wait(out, in) }

// sleep returns when out may take more or in may have more.
func (m *Mesh) sleep(out, in *lane) error {
	var o, i *descriptor
	if out != nil {
		if err := out.hold(); err != nil {
			return err
		}
		defer out.use.RUnlock()
		o = out.fd
	}
	if in != nil && in != out {
		if err := in.hold(); err != nil {
			return err
		}
		defer in.use.RUnlock()
		i = in.fd
		low := 1
		if in.far() {
			low = batchBytes
		}
		if err := i.wakeAt(low); err != nil {
			return err
		}
	} else if in != nil {
		i = o
	}
	err := sleep(o, i)
	if m.over.Load() {
		return m.Err()
	}
	return err
}

// far says that much of a payload from another host is still to come.
func (l *lane) far() bool { return l.apart && l.incoming.left > 2*batchBytes }

// again says whether it is worth looking again before sleeping.
func (m *Mesh) again(out, in *lane) bool {
	var w *idle
	switch {
	case in != nil && in.far():
		return false
	case in == nil:
		w = &out.idleOut
	case out == nil:
		w = &in.idleIn
	default:
		if w = &in.idleIn; out.idleOut.tries == 0 {
			out.idleOut.tries, w.tries = 1, 0
		}
	}
	w.tries++
	if m.patience.spin == 0 {
		if w.tries > m.patience.yields {
			return false
		}
		yield()
		if w.tries%takeTurns == 0 {
			runtime.Gosched()
		}
		return true
	}
	if w.tries%spinTurn != 1 {
		return true
	}
	now := time.Now()
	if w.tries == 1 {
		w.since = now
		return true
	}
	past := now.Sub(w.since)
	if past > m.patience.spin {
		w.tries-- // look at the clock again when next asked
		return false
	}
	if past > keepFor {
		yield() // there may be fewer cores than it seems
	}
	if w.tries%(spinTurn*takeTurns) == 1 {
		runtime.Gosched()
	}
	return true
}
