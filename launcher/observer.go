package launcher

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/gorun-ml/gorun/internal/rendezvous"
)

// observer turns the library's callbacks into sightings. The callbacks hold the library's
// locks, so that they only note; what is noted is bounded by the number of hosts.
type observer struct {
	self string
	out  chan hostSighting
	wake chan struct{} // one token if there is news

	mu      sync.Mutex
	alive   map[string]string       // address by host
	news    map[string]hostSighting // not yet delivered
	order   []string                // of news
	leaving bool                    // this agent is
	refused error                   // this agent's own name is another's
}

func newObserver(self string) *observer {
	return &observer{
		self: self, out: make(chan hostSighting), wake: make(chan struct{}, 1),
		alive: make(map[string]string), news: make(map[string]hostSighting),
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

func (o *observer) next() (hostSighting, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.order) == 0 {
		return hostSighting{}, false
	}
	s := o.news[o.order[0]]
	delete(o.news, o.order[0])
	o.order = o.order[1:]
	return s, true
}

func (o *observer) note(n *memberlist.Node, state rendezvous.State) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if state == rendezvous.Registered {
		o.alive[n.Name] = n.Address()
	} else {
		delete(o.alive, n.Name)
	}
	if n.Name == o.self {
		return
	}
	if _, waits := o.news[n.Name]; !waits {
		o.order = append(o.order, n.Name)
	}
	o.news[n.Name] = hostSighting{Host: n.Name, Addr: n.Address(), State: state, Since: time.Now()}
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// leavingMeta is what an agent says of itself before it leaves. The library tells a crash
// from a leave among its members, but not to those who listen.
const leavingMeta = "leaving"

func (o *observer) leaves() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.leaving = true
}

// NodeMeta is asked for what this agent says of itself.
func (o *observer) NodeMeta(int) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.leaving {
		return []byte(leavingMeta)
	}
	return nil
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
				o.refused = err
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
	}
}

func nameTaken(name, first, second string) error {
	return fmt.Errorf("%w: agents at %s and %s both go by %q: give each host a name of its own", errNameTaken, first, second, name)
}

// refusal takes the reason for which this agent can't join, if it is its own name.
func (o *observer) refusal() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	err := o.refused
	o.refused = nil
	return err
}
