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
	batchBytes = 32 << 10
	farBytes   = 128 << 10
)

// patience is what who waits does before it sleeps.
type patience struct {
	spin   time.Duration // looks again and again for so long
	yields int           // or lets others have the core so often
}

// patience is that of a rank that shares its core with others, or not.
func (c *Config) patience(crowded bool) patience {
	switch {
	case c.Spin > 0:
		return patience{spin: c.Spin}
	case c.Spin < 0:
		return patience{}
	case crowded:
		return patience{yields: yieldTimes}
	default:
		return patience{spin: spinFor}
	}
}

// Near is how many peers are on this machine, which share its cores.
func (m *Mesh) Near() int { return m.near }

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

// Wait returns when something of w may move.
func (m *Mesh) Wait(w *transport.Waiting) error {
	again, err := m.Again(w)
	if again || err != nil {
		return err
	}
	return m.Sleep(w, Bell{})
}

// Again says whether it is worth looking again before sleeping, having spent a moment.
func (m *Mesh) Again(w *transport.Waiting) (bool, error) {
	apart := len(w.In) > 0
	for _, flows := range [][]transport.Flow{w.Out, w.In} {
		for _, f := range flows {
			if l, ok := f.(*lane); ok && !l.taken.Load() {
				if err := l.take(); err != nil {
					return false, err
				}
			}
		}
	}
	for _, f := range w.In {
		l, ok := f.(*lane)
		apart = apart && ok && l.far()
	}
	switch {
	case m.over.Load():
		return false, m.Err()
	case apart:
		return false, nil
	}
	return m.patience.again(w), nil
}

// again spends a moment of who is patient.
func (p patience) again(w *transport.Waiting) bool {
	w.Tries++
	if p.spin == 0 {
		if w.Tries > p.yields {
			return false
		}
		yield()
		if w.Tries%takeTurns == 0 {
			runtime.Gosched()
		}
		return true
	}
	if w.Tries%spinTurn != 1 {
		return true
	}
	now := time.Now()
	if w.Tries == 1 {
		w.Since = now
		return true
	}
	past := now.Sub(w.Since)
	if past > p.spin {
		w.Tries-- // look at the clock again when next asked
		return false
	}
	if past > keepFor {
		yield() // there may be fewer cores than it seems
	}
	if w.Tries%(spinTurn*takeTurns) == 1 {
		runtime.Gosched()
	}
	return true
}

// Bell is what else wakes who sleeps: that its descriptor can be read, if it has one, or the
// end of Limit.
type Bell struct {
	Descriptor int // 0 for none
	Limit      time.Duration
}

// Sleep returns when something of w may move, those flows of it that are this mesh's, or
// when the bell rings.
func (m *Mesh) Sleep(w *transport.Waiting, bell Bell) error {
	var set polled
	return m.rest(&set, m.hold(&set, w), bell)
}

// hold adds the lanes of w to a set, which keeps their descriptors open.
func (m *Mesh) hold(set *polled, w *transport.Waiting) error {
	for _, f := range w.Out {
		if l, ok := f.(*lane); ok {
			if err := set.add(l, true); err != nil {
				return err
			}
		}
	}
	for _, f := range w.In {
		if l, ok := f.(*lane); ok {
			if err := set.add(l, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// doze is Sleep for one lane alone, or both ways of it.
func (m *Mesh) doze(out, in *lane) error {
	var set polled
	var err error
	if out != nil {
		err = set.add(out, true)
	}
	if in != nil && err == nil {
		err = set.add(in, false)
	}
	return m.rest(&set, err, Bell{})
}

// rest sleeps, unless there was an error, and lets go of the lanes.
func (m *Mesh) rest(set *polled, err error, bell Bell) error {
	if err == nil {
		if err = set.sleep(bell); m.over.Load() {
			err = m.Err()
		}
	}
	for _, l := range set.lanes[:set.n] {
		l.use.RUnlock()
	}
	return err
}

// far says that much of a payload from another host is still to come.
func (l *lane) far() bool { return l.apart && l.incoming.left > farBytes }
