package replica

import (
	"net"
	"sync"
	"testing"
	"time"
)

// network is what lies between members of a test: for each two of them, in each direction, a
// relay that can be cut and slowed down.
type network struct {
	mu     sync.Mutex
	relays map[[2]string]*relay // from, to
	addrs  map[string]string    // of members, by name
	names  map[string]string    // the other way round
	direct bool                 // nothing lies between
}

func newNetwork(t testing.TB) *network {
	n := &network{relays: map[[2]string]*relay{}, addrs: map[string]string{}, names: map[string]string{}}
	t.Cleanup(func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, r := range n.relays {
			r.close()
		}
	})
	return n
}

// listen makes a member's listener.
func (n *network) listen(t testing.TB, name string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addrs[name] = l.Addr().String()
	n.names[l.Addr().String()] = name
	return l
}

// members are the addresses of some.
func (n *network) members(names ...string) map[string]string {
	n.mu.Lock()
	defer n.mu.Unlock()
	members := map[string]string{}
	for _, name := range names {
		members[name] = n.addrs[name]
	}
	return members
}

// route returns how a member reaches an address.
func (n *network) route(t testing.TB, from string) func(string) string {
	return func(addr string) string {
		n.mu.Lock()
		to, ok := n.names[addr]
		n.mu.Unlock()
		if !ok || n.direct {
			return addr
		}
		return n.between(t, from, to).l.Addr().String()
	}
}

// between returns the relay from one member to another.
func (n *network) between(t testing.TB, from, to string) *relay {
	n.mu.Lock()
	defer n.mu.Unlock()
	key := [2]string{from, to}
	if n.relays[key] == nil {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err) // not the test's goroutine
		}
		r := &relay{l: l, to: n.addrs[to], conns: map[net.Conn]bool{}, open: make(chan struct{}), over: make(chan struct{})}
		close(r.open)
		r.running.Go(r.accept)
		n.relays[key] = r
	}
	return n.relays[key]
}

// how a link is cut.
type how int

const (
	whole  how = iota
	silent     // nothing comes through, nobody is told
	broken     // connections are broken off, and new ones refused
)

// isolate cuts or heals the links between a member and all others, in both directions.
func (n *network) isolate(t testing.TB, name string, h how) {
	n.mu.Lock()
	var others []string
	for other := range n.addrs {
		if other != name {
			others = append(others, other)
		}
	}
	n.mu.Unlock()
	for _, other := range others {
		n.between(t, name, other).set(h)
		n.between(t, other, name).set(h)
	}
}

// heal heals all links.
func (n *network) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.relays {
		r.set(whole)
		r.slow(0)
	}
}

// relay passes connections on to a member.
type relay struct {
	l       net.Listener
	to      string
	running sync.WaitGroup
	over    chan struct{}

	mu      sync.Mutex
	how     how
	open    chan struct{} // closed while the link is not silent
	delay   time.Duration
	conns   map[net.Conn]bool
	refused int
	ended   bool
}

func (r *relay) set(h how) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.how == silent && h != silent {
		close(r.open)
	}
	if r.how != silent && h == silent {
		r.open = make(chan struct{})
	}
	r.how = h
	if h == broken {
		for c := range r.conns {
			_ = c.Close()
		}
	}
}

func (r *relay) slow(delay time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delay = delay
}

func (r *relay) close() {
	r.mu.Lock()
	if !r.ended {
		r.ended = true
		close(r.over)
	}
	for c := range r.conns {
		_ = c.Close()
	}
	r.mu.Unlock()
	_ = r.l.Close()
	r.running.Wait()
}

func (r *relay) accept() {
	for {
		c, err := r.l.Accept()
		if err != nil {
			return
		}
		r.running.Go(func() {
			defer r.drop(c)
			if !r.keep(c) || !r.pass() {
				return
			}
			d, err := net.Dial("tcp", r.to)
			if err != nil {
				return
			}
			defer r.drop(d)
			if !r.keep(d) {
				return
			}
			var both sync.WaitGroup
			both.Go(func() { r.copy(c, d) })
			both.Go(func() { r.copy(d, c) })
			both.Wait()
		})
	}
}

// keep says whether a connection may be.
func (r *relay) keep(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns[c] = true
	if r.how == broken {
		r.refused++
	}
	return !r.ended && r.how != broken
}

func (r *relay) drop(c net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
	_ = c.Close()
}

// pass waits until something may pass, and says whether it may.
func (r *relay) pass() bool {
	for {
		r.mu.Lock()
		h, open, delay := r.how, r.open, r.delay
		r.mu.Unlock()
		switch h {
		case broken:
			return false
		case silent:
			select {
			case <-open:
			case <-r.over:
				return false
			}
		case whole:
			if delay > 0 {
				select {
				case <-time.After(delay):
				case <-r.over:
				}
			}
			return true
		}
	}
}

func (r *relay) copy(to, from net.Conn) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil || !r.pass() {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}
