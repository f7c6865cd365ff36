package launcher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/internal/rendezvous"
	"github.com/gorun-ml/gorun/internal/replica"
	"github.com/gorun-ml/gorun/launcher/joblist"
	"github.com/gorun-ml/gorun/launcher/membership"
)

// A keeper is one of the processes that a detached job is left to, each on another host. All
// are told the same events in the same order, by internal/replica, and so decide the
// same, have the same orders for agents and know the same generation. One leads: it
// takes in what happens. The others do nothing but know, until one of them leads.
type keeper struct {
	spec   keepSpec
	self   string
	l      *launch
	store  *rendezvous.Memory
	agents *control.Agents
	desk   *desk
	group  atomic.Pointer[replica.Group]
	hub    *control.Hub
	leads  atomic.Bool
	led    atomic.Int64 // when somebody led, as far as is known: Unix nanoseconds
	knows  atomic.Bool  // it was one of the first, or has what they knew

	clients  func() int     // of this host's broker
	changes  sync.WaitGroup // of keepers
	changing sync.Mutex     // held by the one that is made

	mu      sync.Mutex
	s       *supervisor
	hello   map[string]control.AgentHello
	history history
	seq     uint64                    // of the newest record
	at      time.Time                 // of the newest record, by the clock of who led then
	applied time.Time                 // when it was, by this one's
	gone    map[string]string         // hosts that gossip takes for dead, and why
	news    map[string]control.Report // the newest of each rank, not yet told to the others
	over    chan struct{}             // closed with the job
	changed chan struct{}             // one token if there was a record
}

// keepSpec is all that keepers have to know of a job.
type keepSpec struct {
	Options  Options
	Keepers  []keeperAddr // the first of them begin, the rest take the place of those that are lost
	First    int
	Source   bool
	Path     string // of the program, where it was built
	Digest   string
	Files    []control.File
	Dir      string
	Names    []string
	Capacity []int
	Placed   []int
	Began    time.Time
	Shown    string // the job's first line

	program string // where it is, if it has a digest
}

// keeperAddr is where a keeper is reached.
type keeperAddr struct {
	Host                             string
	Addr                             string
	Broker, Brokers, Replica, Gossip int // ports
}

func (a keeperAddr) at(port int) string { return net.JoinHostPort(a.Addr, fmt.Sprint(port)) }

// list is the addresses of all keepers, at a port of each.
func (s *keepSpec) list(port func(keeperAddr) int) []string {
	var all []string
	for _, k := range s.Keepers {
		all = append(all, k.at(port(k)))
	}
	return all
}

// brokers is the addresses of all brokers, that on a host first: whoever is on that host is
// not cut off by the loss of another.
func (s *keepSpec) brokers(host string) string {
	all := s.list(func(k keeperAddr) int { return k.Broker })
	if i := slices.IndexFunc(s.Keepers, func(k keeperAddr) bool { return k.Host == host }); i > 0 {
		all[0], all[i] = all[i], all[0]
	}
	return strings.Join(all, ",")
}

func (s *keepSpec) gossip() string {
	return strings.Join(s.list(func(k keeperAddr) int { return k.Gossip }), ",")
}

const (
	proposeWithin = 2 * time.Second  // for the other keepers to know of an event
	reportEvery   = time.Second      // for them to know of steps
	lonelyFor     = time.Minute      // without a leader until a keeper gives up
	wayward       = 5 * time.Second  // without a leader until a keeper leaves answering to others
	changeWithin  = 15 * time.Second // for another to take the place of a keeper
	keptFor       = 10 * time.Minute // after the job's end, for who asks how it ended
	keepWithin    = 20 * time.Second // for a keeper to be told what it keeps
)

// keep makes this process a keeper, until some time after the job's end.
func (a JobAgent) keep(l letter) error {
	addr, err := l.routed()
	if err != nil {
		return err
	}
	var secret [control.SecretBytes]byte
	copy(secret[:], l.Secret)
	folder, err := os.MkdirTemp("", "gorun-"+l.Job+"-") // 0700
	if err != nil {
		return fmt.Errorf("folder for the job on %s: %w%s", l.Host, err, room(err))
	}
	defer func() { _ = os.RemoveAll(folder) }() // what stays is in the system's folder for such files
	hosts, err := membership.Start(membership.Config{Group: "gorun " + l.Job, Host: keeperPrefix + l.Host, Bind: addr, Key: control.GossipKey(secret)})
	if err != nil {
		return err
	}
	defer func() { _ = hosts.Close() }() // nobody is left to be told
	_, gossip, _ := net.SplitHostPort(hosts.Addr())
	ear, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
	if err != nil {
		return fmt.Errorf("keeper on %s: %w", l.Host, err)
	}
	defer func() { _ = ear.Close() }() // the group's, once there is one
	// The broker wants to open its ports itself. Until then nobody else shall.
	held, ports, err := holdPorts(addr, 2)
	if err != nil {
		return err
	}
	at := keeperAddr{Host: l.Host, Addr: addr, Broker: ports[0], Brokers: ports[1], Replica: ear.Addr().(*net.TCPAddr).Port}
	_, _ = fmt.Sscan(gossip, &at.Gossip) // it is a number
	spec, err := a.spec(l, secret, at, folder)
	held()
	if err != nil {
		return err
	}
	k := &keeper{
		spec: spec, self: l.Host, hello: map[string]control.AgentHello{}, gone: map[string]string{},
		s: newSupervisor(), news: map[string]control.Report{}, over: make(chan struct{}), changed: make(chan struct{}, 1),
	}
	return k.run(a, l, secret, at, ear, hosts, folder)
}

// spec says hello to the launcher, fetches the job's files, and returns what it is told.
func (a JobAgent) spec(l letter, secret [control.SecretBytes]byte, at keeperAddr, folder string) (spec keepSpec, err error) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), keepWithin, errors.New("the launcher has not said what to keep"))
	defer cancel()
	c, err := control.Dial(ctx, control.Env{Job: l.Job, Broker: l.Broker, Member: "keeper " + l.Host, Host: l.Host}, secret)
	if err != nil {
		return spec, err
	}
	defer func() { _ = c.Close() }() // the launcher has all it needs
	own, err := json.Marshal(at)
	if err != nil {
		return spec, err
	}
	hello := control.AgentHello{PID: os.Getpid(), Addr: string(own), Now: float64(time.Now().UnixMicro()) / 1e6}
	if err := c.News(ctx, control.AgentNews{Host: l.Host, Hello: &hello}); err != nil {
		return spec, err
	}
	if _, err := fmt.Fprintln(a.Out, AgentReady); err != nil {
		return spec, fmt.Errorf("standard output: %w", err)
	}
	orders, err := c.Orders(ctx, l.Host, 0)
	if err != nil {
		return spec, err
	}
	if len(orders) == 0 || orders[0].Keep == nil {
		return spec, errEnded
	}
	if err := json.Unmarshal(orders[0].Keep, &spec); err != nil {
		return spec, fmt.Errorf("what to keep: %w", err)
	}
	h := &hostAgent{host: l.Host, client: c, folder: folder, ctx: ctx, cache: programCache()}
	if spec.Digest != "" {
		if spec.program, err = h.program(control.StartOrder{Path: spec.Path, Digest: spec.Digest}); err != nil {
			return spec, err
		}
	}
	for _, f := range spec.Files {
		if err := h.fetch(f.Digest, filepath.Join(folder, f.Digest), 0o600); err != nil {
			return spec, err
		}
	}
	return spec, c.News(ctx, control.AgentNews{Host: l.Host, Kept: true})
}

// run keeps the job.
func (k *keeper) run(a JobAgent, l letter, secret [control.SecretBytes]byte, at keeperAddr, ear net.Listener, hosts *membership.Membership, folder string) (err error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var routes []string
	members := map[string]string{}
	for i, o := range k.spec.Keepers {
		if o.Host != l.Host {
			routes = append(routes, o.at(o.Brokers))
		}
		if i < k.spec.First {
			members[o.Host] = o.at(o.Replica)
		}
	}
	if _, first := members[l.Host]; first {
		k.knows.Store(true)
	} else {
		members = nil // it is added when one of them is lost
	}
	b, err := startBrokerAmong(ctx, at.Addr, at.Broker, secret, brokers{l.Host, at.Brokers, routes})
	if err != nil {
		return err
	}
	defer b.close()
	k.clients = b.server.NumClients
	nc, err := b.connect()
	if err != nil {
		return err
	}
	defer nc.Close()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = null.Close() }() // nothing is kept there
	out, err := newOutput(newSink(null), newSink(null), k.spec.Options.Output, false, false)
	if err != nil {
		return fmt.Errorf("--output: %w", err)
	}
	defer func() { _ = out.close() }() // nobody waits for it
	k.l = &launch{
		Options: k.spec.Options, job: l.Job, host: keepersName, began: k.spec.Began, broker: k.spec.brokers(""), brokers: k.spec.brokers, out: out,
		bin: binary{path: k.spec.Path, source: k.spec.Source}, digest: k.spec.Digest, files: k.spec.Files, dir: k.spec.Dir,
		sites: &sites{names: k.spec.Names, capacity: k.spec.Capacity, placed: k.spec.Placed, hello: k.hello},
	}
	k.store = rendezvous.NewMemory()
	hub, err := control.NewSharedHub(nc, l.Job, k.store, voice{k.hear}, k.role)
	if err != nil {
		return err
	}
	defer func() { k.leads.Store(false); _ = hub.Close() }() // the other keepers tell
	k.hub = hub
	if k.desk, err = k.l.openDesk(folder, hub, k.propose, k.mayResize, k.mayDrain); err != nil {
		return err
	}
	defer k.desk.backlog.close()
	if k.agents, err = hub.ServeAgents(k.heard); err != nil {
		return err
	}
	for _, path := range k.spec.offers(folder) {
		if _, err := k.agents.Offer(path); err != nil {
			return err
		}
	}
	s := k.s
	s.story, s.stalls, s.paces = k.desk.story, newStalls(k.spec.Options.Stall), newPaces(k.spec.Options.EvictSlow)
	s.store, s.command, s.order, s.joined, s.out, s.plain = k.store, hub.Command, k.l.order, k.l.joined, out, true
	s.agent = &fleet{host: k.l.host, agents: k.agents, at: map[string]string{}}
	if k.spec.Options.Metrics != "" {
		s.metrics = &metricsFile{holds: true}
	}
	if err := errors.Join(hub.ServePS(k.ps), hub.ServeBegun(k.missing), hub.ServeKeepers(k.keepers)); err != nil {
		return err
	}
	config := replica.Config{Self: l.Host, Members: members, Listener: ear, Seed: control.ReplicaKey(secret), Machine: k}
	if len(k.spec.Keepers) == 1 {
		config.Listener = nil // there is nobody to hear
	}
	group, err := replica.Start(config)
	if err != nil {
		return err
	}
	defer func() { _ = group.Close() }() // the others go on
	k.group.Store(group)
	if err := hosts.Join(ctx, k.others(k.spec.list(func(o keeperAddr) int { return o.Gossip }), hosts.Addr())...); err != nil && len(k.spec.Keepers) > 1 {
		return err
	}
	entry, err := joblist.Enter(a.Runtime, joblist.Entry{
		Job: l.Job, PID: os.Getpid(), Broker: k.spec.brokers(l.Host), Seed: control.BrokerSeed(secret), Keeper: l.Host,
		Started: k.spec.Began, Command: k.command(), Folder: folder,
	})
	if err != nil {
		return err
	}
	defer entry.Leave()
	defer k.write(false)
	if a.Reach != nil {
		k.l.Reach = a.Reach()
		scouting, end := context.WithCancel(ctx)
		var scouts sync.WaitGroup
		defer scouts.Wait()
		defer end()
		crew := newCrew(k.l, func(event) {}, nil, 0)
		scouts.Go(func() {
			crew.scout(scouting, k.recruits, letter{Job: l.Job, Gossip: k.spec.gossip(), Secret: secret[:], Version: l.Version, NICs: l.NICs, Lasting: true})
		})
	}
	return k.watch(ctx, a, hosts)
}

// keepersName is what stands for the launcher's host in a job without a launcher.
const keepersName = "keepers"

// others leaves out this one.
func (k *keeper) others(addrs []string, own string) []string {
	return slices.DeleteFunc(addrs, func(a string) bool { return a == own })
}

// command is what the job was started with.
func (k *keeper) command() string {
	return quote(append([]string{"gorun"}, k.spec.Options.Command...))
}

// offers is the files that agents may fetch.
func (s *keepSpec) offers(folder string) []string {
	var all []string
	if s.Digest != "" {
		all = append(all, s.program)
	}
	for _, f := range s.Files {
		all = append(all, filepath.Join(folder, f.Digest))
	}
	return all
}

// watch is the keeper's loop.
func (k *keeper) watch(ctx context.Context, a JobAgent, hosts *membership.Membership) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	look := time.NewTicker(k.s.stalls.every())
	defer look.Stop()
	pace := time.NewTicker(paceEvery)
	defer pace.Stop()
	reports := time.NewTicker(reportEvery)
	defer reports.Stop()
	lonely, linger := time.Now(), (<-chan time.Time)(nil)
	over := k.over
	turns := make(chan bool)
	var following sync.WaitGroup
	defer following.Wait()
	defer k.changes.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	k.led.Store(time.Now().UnixNano())
	following.Go(func() { k.follow(ctx, turns) })
	for {
		timer.Reset(k.untilDeadline())
		select {
		case lead := <-turns:
			k.write(lead)
			if lead {
				k.succeed(ctx)
			}
			if lead && k.isOver() {
				k.conclude() // whoever led before may not have come to it
			}
		case h, ok := <-hosts.Sightings():
			if ok {
				k.sight(ctx, h)
			}
		case <-timer.C:
			_ = k.propose(evTick{}) // who leads then does
		case <-look.C:
			k.stalled()
		case <-pace.C:
			k.slowly()
		case <-reports.C:
			k.tellReports()
			if k.group.Load().Leader() != "" {
				k.led.Store(time.Now().UnixNano())
				lonely = time.Now()
			} else if linger != nil || !k.knows.Load() && k.sees() || k.clients() > 1 { // one is this keeper
				lonely = time.Now()
			} else if time.Since(lonely) > lonelyFor {
				return fmt.Errorf("the other keepers of job %s are out of reach since %v", k.l.job, lonelyFor)
			}
		case <-k.changed:
		case <-over:
			over = nil
			linger = time.After(keptFor)
			k.conclude()
		case <-linger:
			return nil
		case s := <-a.Signals:
			if _, ok := s.(syscall.Signal); ok {
				k.handOver(ctx)
				return nil // the others go on
			}
		}
	}
}
