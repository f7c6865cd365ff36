package launcher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/launcher/hosts"
)

// A Booted is a job agent that was started on another host. It lives no longer than its
// launcher wants it to.
type Booted interface {
	Ended() <-chan struct{} // closed when it has ended
	Err() error             // why; nil where Close ended it
	Close() error           // ends it, and all that it has started
}

// Boot starts job agents on hosts, for so many ranks on each, and hands each the letter, in
// whatever way hosts are reached.
type Boot func(ctx context.Context, names []string, ranks []int, letter []byte) (Booted, error)

// Reach is how the agents of a job's other hosts come to be started.
type Reach struct {
	Each Boot                              // on one host at a time: ssh, or an agent that is there
	All  Boot                              // on all at once: srun; nil for none
	Addr func(host string) (string, error) // address to connect to; nil for the name itself

	// Look finds the hosts that can take ranks now, for a job that grows; nil for those of the list.
	Look func(ctx context.Context) ([]hosts.Host, error)

	Keep  Boot     // keepers of a detached job, that take no slots
	Hosts []string // that may keep one beside those with ranks
}

const (
	enlistWithin = 30 * time.Second // for all agents to have said hello
	mostSkew     = 5 * time.Second  // between two hosts' clocks before it is said
)

var errNoReach = errors.New("there is no way to start an agent on it")

// sites are the hosts with ranks, and where the slots are at the start.
type sites struct {
	listed   []hosts.Host
	names    []string // in order of their first rank
	capacity []int
	placed   []int    // number of the host of each slot; nil as long as slots are not known
	others   []string // that need an agent
	taken    []int    // slots of each host that an elastic job takes; nil for those of its ranks
	hello    map[string]control.AgentHello
}

// list is the hosts that the job may use, with this one by its own name, and the ranks
// placed where it is known how many each takes.
func (l *launch) list() (*sites, error) {
	s := &sites{listed: slices.Clone(l.Hosts), hello: map[string]control.AgentHello{}}
	if len(s.listed) == 0 {
		s.listed = []hosts.Host{{Name: l.host, Slots: l.NP}}
	}
	own, known := ownNames(l.host), true
	for i := range s.listed {
		if own[strings.ToLower(s.listed[i].Name)] {
			s.listed[i].Name = l.host
			if s.listed[i].Slots == 0 {
				s.listed[i].Slots = runtime.NumCPU()
			}
		}
		known = known && s.listed[i].Slots > 0
	}
	if known {
		return s, l.place(s)
	}
	for _, h := range s.listed {
		if h.Name != l.host {
			s.others = append(s.others, h.Name)
		}
	}
	return s, nil
}

// place puts the ranks on hosts. Hosts without ranks are left out.
func (l *launch) place(s *sites) error {
	for i := range s.listed {
		if h := &s.listed[i]; h.Slots == 0 {
			h.Slots = max(1, s.hello[h.Name].Cores)
		}
	}
	if l.NP == 0 {
		for _, h := range s.listed {
			l.NP += h.Slots
		}
		if l.MaxNP > 0 {
			l.NP = min(l.NP, l.MaxNP)
		}
		if l.NP < l.MinNP {
			return refuse("--min-np %d: the hosts have %s", l.MinNP, plural(l.NP, "slot"))
		}
	}
	policy := hosts.Pack
	if l.Spread {
		policy = hosts.Spread
	}
	placed, err := hosts.Place(s.listed, l.NP, policy, l.Oversubscribe)
	if err != nil {
		return refuse("%v", err)
	}
	s.names, s.capacity, s.others, s.placed = nil, nil, nil, make([]int, l.NP)
	number := map[int]int{}
	for i, h := range placed {
		n, met := number[h]
		if !met {
			n = len(s.names)
			number[h] = n
			s.names = append(s.names, s.listed[h].Name)
			s.capacity = append(s.capacity, s.listed[h].Slots)
			if s.listed[h].Name != l.host {
				s.others = append(s.others, s.listed[h].Name)
			}
		}
		s.placed[i] = n
	}
	if l.elastic() && !l.Oversubscribe {
		s.take(l.MaxNP)
	}
	return nil
}

// take has each host take as many ranks as it has, and what the job may grow to of the rest.
func (s *sites) take(most int) {
	more := most - len(s.placed)
	for i, slots := range s.capacity {
		has := 0
		for _, site := range s.placed {
			if site == i {
				has++
			}
		}
		s.capacity[i] = has + max(min(slots-has, more), 0)
		more -= s.capacity[i] - has
	}
	s.taken = s.capacity
}

// ranksOn is how many ranks are placed on a host: as long as none are, one.
func (s *sites) ranksOn(name string) (n int) {
	if i := slices.Index(s.names, name); s.taken != nil && i >= 0 {
		return s.taken[i]
	}
	for _, site := range s.placed {
		if s.names[site] == name {
			n++
		}
	}
	return max(n, 1)
}

// ownNames is what this host may be called in a list of hosts.
func ownNames(host string) map[string]bool {
	own := map[string]bool{"localhost": true, "127.0.0.1": true, "::1": true, strings.ToLower(host): true}
	if short, _, cut := strings.Cut(host, "."); cut {
		own[strings.ToLower(short)] = true
	}
	if addrs, err := net.InterfaceAddrs(); err == nil {
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok {
				own[n.IP.String()] = true
			}
		}
	}
	return own
}

// listenFor settles the address that this host's part of the job listens on: the one from
// which connections to the other hosts come, unless --bind or --nic says otherwise.
func (l *launch) listenFor(s *sites) (err error) {
	if len(l.NICs) > 0 {
		if l.Bind, err = ownAddress(l.NICs, ""); err != nil {
			return refuse("host %s: %v", l.host, err)
		}
		return nil
	}
	others := s.others
	if l.elastic() { // it may come to use them
		others = nil
		for _, h := range s.listed {
			if h.Name != l.host {
				others = append(others, h.Name)
			}
		}
	}
	if len(others) == 0 || l.BindSet {
		return nil
	}
	for i, host := range others {
		addr := host
		if l.Reach.Addr != nil {
			var err error
			if addr, err = l.Reach.Addr(host); err != nil {
				return &Refusal{Status: control.StatusNoHost, Text: err.Error()}
			}
		}
		own, err := routeTo(net.JoinHostPort(addr, "9"))
		switch {
		case err != nil:
			return &Refusal{Status: control.StatusNoHost, Text: fmt.Sprintf("host %s: %v: check its name and the network, or name this host's address by --bind", host, err)}
		case i > 0 && own != l.Bind:
			return refuse("hosts %s and %s are reached from different addresses of this host, %s and %s: choose one that all can reach by --bind", others[0], host, l.Bind, own)
		}
		l.Bind = own
	}
	return nil
}

// WayOut is the address of this host from which the first of the hosts whose name resolves
// is reached; loopback where none does.
func WayOut(names []string, addr func(host string) (string, error)) string {
	for _, host := range names {
		there, err := addr(host)
		if err != nil {
			continue
		}
		if own, err := routeTo(net.JoinHostPort(there, "9")); err == nil {
			return own
		}
	}
	return DefaultBind
}

// crew is the agents of a job's other hosts.
type crew struct {
	launch *launch
	tell   func(event)
	agents *control.Agents

	mu     sync.Mutex
	hello  map[string]control.AgentHello
	skew   map[string]time.Duration // of its clock, when it said hello
	all    chan struct{}            // closed when all that are waited for have said hello
	wanted int
	booted []Booted
	late   []string // names of agents that were started for a job that runs
	ending bool
	watch  sync.WaitGroup
}

// newCrew waits for so many hellos, which it notes in hello.
func newCrew(l *launch, tell func(event), hello map[string]control.AgentHello, wanted int) *crew {
	return &crew{launch: l, tell: tell, hello: hello, skew: map[string]time.Duration{}, all: make(chan struct{}), wanted: wanted}
}

// enlist starts the agents of all other hosts and waits until each has said hello, with a
// bound. Where one can't be had none is kept, and the refusal names all that failed.
func (l *launch) enlist(ctx context.Context, hub *control.Hub, s *sites, gossip string, secret []byte, tell func(event)) (*crew, error) {
	c := newCrew(l, tell, s.hello, len(s.others))
	if len(s.others) == 0 && !l.elastic() {
		return c, nil
	}
	if len(s.others) == 0 {
		close(c.all) // none is waited for
	}
	var err error
	if c.agents, err = hub.ServeAgents(c.news); err != nil {
		return nil, err
	}
	within, cancel := context.WithTimeoutCause(ctx, enlistWithin, fmt.Errorf("no word from its agent within %v", enlistWithin))
	defer cancel()
	if len(s.others) == 0 {
		return c, nil
	}
	failed := c.boot(within, s.others, letter{Job: l.job, Broker: l.broker, Gossip: gossip, Secret: secret, Version: l.Version, NICs: l.NICs})
	if len(failed) == 0 {
		failed = c.await(within, s.others)
	}
	if len(failed) > 0 {
		c.close()
		return nil, failed.refusal()
	}
	for _, host := range s.others {
		if skew := c.skew[host]; skew.Abs() > mostSkew { // all have said hello: nobody writes to it
			l.out.note(fmt.Sprintf("warning: the clock of host %s is %v off: times that it writes are wrong, nothing else", host, skew.Round(time.Second)))
		}
	}
	return c, nil
}

// failures are the hosts that can't be used, and why.
type failures []failure

type failure struct {
	host string
	err  error
}

func (f failure) String() string {
	return fmt.Sprintf("host %s: %s", f.host, oneLine(strings.TrimPrefix(f.err.Error(), f.host+": ")))
}

func (f failures) rest() (lines []string) {
	for _, x := range f[1:] {
		lines = append(lines, x.String())
	}
	return lines
}

// statusOf is the exit status for a host that can't be used.
func statusOf(err error) int {
	status := 0
	var said interface{ ExitCode() int }
	var r *Refusal
	switch {
	case errors.As(err, &r):
		status = r.Status
	case errors.As(err, &said):
		status = said.ExitCode()
	}
	if status == control.StatusDisagree || status == control.StatusAuth {
		return status
	}
	return control.StatusNoHost
}

// boot starts the agents, all at once.
func (c *crew) boot(ctx context.Context, names []string, l letter) (failed failures) {
	reach := c.launch.Reach
	if reach.All != nil {
		return c.bootOne(ctx, reach.All, names, l)
	}
	if reach.Each == nil {
		return failures{{names[0], errNoReach}}
	}
	found := make([]failures, len(names))
	var all sync.WaitGroup
	for i, host := range names {
		all.Go(func() {
			l := l
			l.Host = host
			if c.launch.brokers != nil {
				l.Broker = c.launch.brokers(host)
			}
			found[i] = c.bootOne(ctx, reach.Each, []string{host}, l)
		})
	}
	all.Wait()
	return slices.Concat(found...)
}

func (c *crew) bootOne(ctx context.Context, boot Boot, names []string, l letter) failures {
	text, err := json.Marshal(l)
	if err != nil {
		panic("launcher: " + err.Error()) // words and bytes
	}
	ranks := make([]int, len(names))
	for i, name := range names {
		if ranks[i] = l.Slots; l.Slots == 0 {
			ranks[i] = c.launch.sites.ranksOn(name)
		}
	}
	b, err := boot(ctx, names, ranks, append(text, '\n'))
	if err != nil {
		return failures{{strings.Join(names, ","), err}}
	}
	c.mu.Lock()
	c.booted = append(c.booted, b)
	c.mu.Unlock()
	c.watch.Go(func() { // ends with the agent, which close ends
		<-b.Ended()
		c.mu.Lock()
		ending := c.ending
		c.mu.Unlock()
		if ending {
			return
		}
		why := "its agent has ended"
		if err := b.Err(); err != nil {
			why = oneLine(err.Error())
		}
		for _, host := range names {
			if l.Agent != "" {
				c.tell(evHostLost{l.Agent, strings.TrimPrefix(why, host+": ")})
				continue
			}
			c.tell(evHostLost{host, strings.TrimPrefix(why, host+": ")})
		}
	})
	return nil
}

// await waits for the hellos.
func (c *crew) await(ctx context.Context, names []string) (failed failures) {
	select {
	case <-c.all:
		return nil
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, host := range names {
		if _, there := c.hello[host]; !there {
			failed = append(failed, failure{host, context.Cause(ctx)})
		}
	}
	return failed
}

// news takes what agents tell.
func (c *crew) news(n control.AgentNews) error {
	switch {
	case n.Hello != nil && n.Hello.Slots == 0:
		c.mu.Lock()
		if _, again := c.hello[n.Host]; !again {
			c.skew[n.Host] = time.Duration((n.Hello.Now - float64(time.Now().UnixMicro())/1e6) * float64(time.Second))
			if c.hello[n.Host] = *n.Hello; len(c.hello) == c.wanted {
				close(c.all)
			}
		}
		c.mu.Unlock()
	case n.Output != nil:
		c.launch.out.lines(n.Output.Error, n.Output.Rank, n.Output.Raw, n.Output.Shown)
	default:
		if e := eventOf(n); e != nil {
			c.tell(e)
		}
	}
	return nil
}

// close ends all agents, at once, and waits for them. It may be called again.
func (c *crew) close() {
	c.mu.Lock()
	again := c.ending
	c.ending = true
	booted, there := slices.Clone(c.booted), slices.AppendSeq(slices.Clone(c.late), maps.Keys(c.hello))
	c.mu.Unlock()
	if again {
		return
	}
	for _, host := range there {
		c.agents.Order(host, control.AgentOrder{End: true}) // srun may pass on no end of input any more
	}
	var all sync.WaitGroup
	for _, b := range booted {
		all.Go(func() { _ = b.Close() }) // bounded; what is left ends without its launcher
	}
	all.Wait()
	c.watch.Wait()
}
