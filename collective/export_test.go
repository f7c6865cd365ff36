package collective

import (
	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/topology"
)

// Force makes c use an algorithm for an operation whatever the size. All ranks call it
// before the operation's first use.
func (c *Comm) Force(k topology.Kind, name string) error {
	n, err := topology.Find(k, name)
	if err != nil {
		return err
	}
	if k == topology.AllReduce {
		c.choice.forced = n.ID
	}
	for own := allReduce; own <= allToAllV; own++ {
		if own.contract() != k {
			continue
		}
		for i := range c.choice.made[own] {
			c.choice.made[own][i].Store(uint32(n.ID))
		}
	}
	return nil
}

// Shares tells whether c's all-reduces run through shared memory.
func (c *Comm) Shares() bool { return c.shares }

// Connected tells whether the watch's connections are there.
func (c *Comm) Connected() bool {
	for _, l := range c.core.watch.links {
		l.mu.Lock()
		there := l.conn != nil
		l.mu.Unlock()
		if !there {
			return false
		}
	}
	return true
}

// Noting returns what notes the beginning and the end of an operation, of a rank on its own.
func Noting() (note, end func()) {
	c := New(nil, topology.Uniform(1, 1), 0, Options{})
	l, seq := c.lanes[1], uint32(0)
	note = func() {
		c.core.watch.begin(l.record, transport.Tag{Seq: seq, Kind: uint8(allReduce), Bytes: 1 << 20}, "bucket conv2.w")
		c.core.watch.end(l.record, false)
		seq++
	}
	return note, func() { _ = c.Close() } // a test is over
}
