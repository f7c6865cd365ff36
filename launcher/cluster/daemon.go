package cluster

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/gorun-ml/gorun/internal/gate"
	"github.com/gorun-ml/gorun/launcher/membership"
)

// Options is what a daemon offers, and how it is reached.
type Options struct {
	Key     Key
	Name    string // unique in the cluster
	Bind    string // an IP address of this host
	Port    int    // for gossip; orders go to the next one. 0 for any two that are free
	Join    []string
	Slots   int
	Labels  map[string]string
	Version string
	Runtime string // folder to leave this daemon's address in; "" for none

	Cores       int
	MemoryBytes uint64
	GPUs        []string

	Child      []string      // a job agent's command; nil for this program with agent --job
	ReadyBound time.Duration // for a job agent to be ready; 0 for 10 s
	Grace      time.Duration // for a job agent to end when it is told to; 0 for 5 s
	LeaveBound time.Duration // for ranks to leave a host that is about to go; 0 for 15 s
	Log        func(string)  // a line for people; nil for nobody
	Gossip     io.Writer     // what the gossip's library has to say; nil for nothing
}

const (
	defaultReady = 10 * time.Second
	defaultGrace = 5 * time.Second
	// patience makes a host dead 1.4 to 2 s after its last word, so that one that is stopped
	// for a second is not.
	patience    = 6
	rejoinEvery = 5 * time.Second
	rejoinHosts = 3 // at once
	listenTries = 64
	groupName   = "gorun cluster"
)

// Daemon offers one host's slots.
type Daemon struct {
	o       Options
	creds   credentials
	gorun   *executable
	control net.Listener
	hosts   *membership.Membership
	gate    gate.Gate
	quiet   quiet
	changed chan struct{} // one token if the offer has
	kill    chan struct{} // closed when job agents have no time left

	mu       sync.Mutex
	view     *view
	free     int
	jobs     int
	drained  bool // the host takes no job agents
	children map[*child]bool
	killed   bool
	idle     *sync.Cond // of mu: a job agent is gone, or waiting for it is over
}

// Listen opens the daemon's ports. Serve has to follow.
func Listen(o Options) (*Daemon, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if o.Child == nil {
		o.Child = []string{path, "agent", "--job"}
	}
	if o.Log == nil {
		o.Log = func(string) {}
	}
	o.ReadyBound, o.Grace, o.LeaveBound = cmp.Or(o.ReadyBound, defaultReady), cmp.Or(o.Grace, defaultGrace), cmp.Or(o.LeaveBound, defaultLeave)
	d := &Daemon{
		o: o, creds: newCredentials(o.Key), gorun: &executable{path: path}, view: newView(), free: o.Slots, children: map[*child]bool{},
		gate:    gate.Gate{Strangers: maxStrangers, Members: maxMembers},
		changed: make(chan struct{}, 1), kill: make(chan struct{}),
	}
	d.idle = sync.NewCond(&d.mu)
	if err := d.listen(); err != nil {
		return nil, err
	}
	return d, nil
}

func (o *Options) check() error {
	if err := checkName(o.Name); err != nil {
		return err
	}
	for k, v := range o.Labels {
		if err := checkLabel(k, v); err != nil {
			return usage("label %q: %v", k+"="+v, err)
		}
	}
	for _, addr := range o.Join {
		if _, _, err := splitAddr(addr); err != nil {
			return err
		}
	}
	switch {
	case o.Slots < 1 || o.Slots > maxSlots:
		return usage("--slots %d: want 1 to %d", o.Slots, maxSlots)
	case net.ParseIP(o.Bind) == nil:
		return usage("--bind %s: want an IP address of this host", o.Bind)
	case o.Port < 0 || o.Port > 65534:
		return usage("--port %d: want 1 to 65534, or 0 for any", o.Port)
	}
	_, err := o.offer(1).widest().encode()
	return err
}

// offer is what the host tells while nothing runs on it.
func (o *Options) offer(port int) offer {
	return offer{
		Port: port, Slots: o.Slots, Free: o.Slots, Cores: o.Cores, Memory: o.MemoryBytes >> 20,
		GPUs: countGPUs(o.GPUs), Labels: o.Labels, Version: cut(plain(o.Version), maxName),
	}
}

// Addr is where other daemons join this one.
func (d *Daemon) Addr() string { return d.hosts.Addr() }

// controlAddr is where clients of this host reach the daemon.
func (d *Daemon) controlAddr() string {
	host, _, _ := net.SplitHostPort(d.Addr()) // gossip listens there
	return net.JoinHostPort(host, strconv.Itoa(tcpPort(d.control.Addr())))
}

// Serve joins the others and takes orders, until ctx ends. Then it ends the job agents it
// has started and leaves the others in an orderly way. It fails where the host can't be
// part of the cluster: another key, a name that is another's.
func (d *Daemon) Serve(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var busy sync.WaitGroup
	defer func() {
		cancel(err)
		_ = d.control.Close() // no more orders
		if left := d.drain(); left > 0 && err == nil {
			err = fmt.Errorf("%w: %s can't be killed, waiting in the kernel", ErrChild, plural(left, "job agent"))
		}
		busy.Wait()
		_ = d.hosts.Close() // nobody is left to be told
	}()
	busy.Go(func() { d.accept(ctx) })
	busy.Go(func() { d.tell(ctx) })
	broken := make(chan error, 1)
	busy.Go(func() {
		if err := d.keepJoined(ctx); err != nil {
			broken <- err
		}
	})
	for {
		select {
		case s, ok := <-d.hosts.Sightings():
			if ok {
				d.mu.Lock()
				line := d.view.see(s)
				d.mu.Unlock()
				if line != "" {
					d.o.Log(line)
				}
			}
		case err := <-d.hosts.Conflict():
			return fmt.Errorf("%w, with --name", err)
		case err := <-broken:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

// Kill makes Serve end job agents at once, whatever their time to end.
func (d *Daemon) Kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.killed {
		d.killed = true
		close(d.kill)
	}
}

// announce says that this host is part of the cluster: to people, and to commands of this
// host that look for it.
func (d *Daemon) announce() (withdraw func()) {
	withdraw = func() {}
	if d.o.Runtime != "" {
		remove, err := leaveTrace(d.o.Runtime, trace{Name: d.o.Name, Control: d.controlAddr(), PID: os.Getpid()})
		if err != nil {
			d.o.Log(fmt.Sprintf("%v: gorun hosts finds this agent only with --join %s", err, d.Addr()))
		} else {
			withdraw = remove
		}
	}
	d.o.Log(fmt.Sprintf("agent %s offers %s at %s; other hosts join with gorun agent --join %s", d.o.Name, plural(d.o.Slots, "slot"), d.Addr(), d.Addr()))
	return withdraw
}
