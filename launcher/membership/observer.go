package membership

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/gorun-ml/gorun/internal/rendezvous"
)

// observer turns the library's callbacks into sightings. The callbacks hold the library's
// locks, so that they only note; what is noted is bounded by the number of hosts.
type observer struct {
	self     string
	out      chan Sighting
	wake     chan struct{} // one token if there is news
	conflict chan error    // room for the one that is told

	mu      sync.Mutex
	meta    []byte                   // what this host tells of itself
	trips   map[string]time.Duration // there and back, by host
	alive   map[string]string        // address by host
	news    map[string]Sighting      // not yet delivered
	order   []string                 // of news
	leaving bool                     // this agent is
	refused error                    // this agent's own name is another's
	rival   string                   // where that one is
}

func newObserver(self string) *observer {
	return &observer{
		self: self, out: make(chan Sighting), wake: make(chan struct{}, 1), conflict: make(chan error, 1),
		alive: make(map[string]string), news: make(map[string]Sighting), trips: make(map[string]time.Duration),
	}
}

// deliver hands out news until ctx ends.
func (o *observer) deliver(ctx context.Context) {
	defer close(o.out)
	for {
		select {
		case <-o.wake:
		case <-ctx.Done():
			return
		}
		for s, ok := o.next(); ok; s, ok = o.next() {
			select {
			case o.out <- s:
			case <-ctx.Done():
				return
			}
		}
	}
}

func (o *observer) next() (Sighting, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.order) == 0 {
		return Sighting{}, false
	}
	s := o.news[o.order[0]]
	delete(o.news, o.order[0])
	o.order = o.order[1:]
	return s, true
}

func (o *observer) note(n *memberlist.Node, state rendezvous.State) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := Sighting{Host: n.Name, Addr: n.Address(), State: state, Since: time.Now()}
	if state == rendezvous.Registered {
		o.alive[n.Name] = n.Address()
		s.Meta = slices.Clone(n.Meta) // the library's own may be reused
	} else {
		delete(o.alive, n.Name)
		delete(o.trips, n.Name)
	}
	if n.Name == o.self {
		return
	}
	if _, waits := o.news[n.Name]; !waits {
		o.order = append(o.order, n.Name)
	}
	o.news[n.Name] = s
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// leavingMeta is what an agent says of itself before it leaves. The library tells a crash
// from a leave among its members, but not to those who listen.
const leavingMeta = "leaving"

// tells sets what this host tells of itself.
func (o *observer) tells(meta []byte) error {
	switch {
	case len(meta) > MaxMeta:
		return fmt.Errorf("%d bytes: %w, which carries %d for each host: tell less", len(meta), ErrMeta, MaxMeta)
	case string(meta) == leavingMeta:
		return fmt.Errorf("%q: %w, where it means that the host leaves", meta, ErrMeta)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.meta = slices.Clone(meta)
	return nil
}

// others is where the other hosts are. The library's own list changes while it is read.
func (o *observer) others() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var addrs []string
	for host, addr := range o.alive {
		if host != o.self {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}

func (o *observer) roundTrip(host string) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.trips[host]
}

// NotifyPingComplete is called when a host has answered a probe.
func (o *observer) NotifyPingComplete(n *memberlist.Node, took time.Duration, _ []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, here := o.alive[n.Name]; here {
		o.trips[n.Name] = took
	}
}

// AckPayload adds nothing to an answer.
func (o *observer) AckPayload() []byte { return nil }

func (o *observer) leaves() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.leaving = true
}

// NodeMeta is asked for what this host says of itself.
func (o *observer) NodeMeta(int) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.leaving {
		return []byte(leavingMeta)
	}
	return o.meta
}

// The library's other ways to carry data are not used.

// NotifyMsg does nothing.
func (o *observer) NotifyMsg([]byte) {}

// GetBroadcasts has nothing to send.
func (o *observer) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState has nothing to add.
func (o *observer) LocalState(bool) []byte { return nil }

// MergeRemoteState takes nothing over.
func (o *observer) MergeRemoteState([]byte, bool) {}

// NotifyJoin is called when a host appears or comes back.
func (o *observer) NotifyJoin(n *memberlist.Node) { o.NotifyUpdate(n) }

// NotifyUpdate is called when a host's address, or what it says of itself, changes.
func (o *observer) NotifyUpdate(n *memberlist.Node) {
	if string(n.Meta) == leavingMeta {
		o.note(n, rendezvous.Leaving)
	} else {
		o.note(n, rendezvous.Registered)
	}
}

// NotifyLeave is called when a host has left, or didn't answer for long enough.
func (o *observer) NotifyLeave(n *memberlist.Node) {
	if string(n.Meta) != leavingMeta { // of the others it is known
		o.note(n, rendezvous.Dead)
	}
}

// NotifyMerge is asked, on both sides, before an agent joins. It refuses one whose name is
// another's: the library would let it in without a word.
func (o *observer) NotifyMerge(peers []*memberlist.Node) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range peers {
		if p.State != memberlist.StateAlive {
			continue
		}
		if addr, known := o.alive[p.Name]; known && addr != p.Address() {
			err := nameTaken(p.Name, addr, p.Address())
			if p.Name == o.self {
				o.refused, o.rival = err, p.Address()
			}
			return err
		}
	}
	return nil
}

// NotifyConflict is called when gossip, not a join, brings a second agent of one name.
func (o *observer) NotifyConflict(existing, other *memberlist.Node) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if existing.Name == o.self {
		o.refused = nameTaken(existing.Name, existing.Address(), other.Address())
		o.rival = other.Address()
		o.yield()
	}
}

// yields decides after an exchange that this host has asked for, when it had joined long
// before, whether it has to give its name up.
func (o *observer) yields() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.yield()
}

// yield tells, if two hosts of one name have both joined and this is the one to go. Both
// can tell which: the one whose address is the greater.
func (o *observer) yield() {
	if o.refused == nil || o.alive[o.self] < o.rival {
		return
	}
	select {
	case o.conflict <- o.refused:
	default: // it was told
	}
}

func nameTaken(name, first, second string) error {
	return fmt.Errorf("%w: agents at %s and %s both go by %q: give each host a name of its own", ErrNameTaken, first, second, name)
}

// refusal takes the reason for which this agent can't join, if it is its own name.
func (o *observer) refusal() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	err := o.refused
	o.refused = nil
	return err
}
