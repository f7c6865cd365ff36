package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Caller is what Find has to know of the process that calls it.
type Caller struct {
	Runtime string // folder in which the daemon of this host leaves its address
	Version string // of this gorun, for people
	Binary  string // file of this gorun; "" for the program that runs
}

// Client knows the hosts of a cluster.
type Client struct {
	creds  credentials
	caller Caller
	gorun  *executable
	hosts  []HostInfo
}

const (
	dialBound   = 3 * time.Second  // for a daemon to accept and to prove itself
	statusBound = 3 * time.Second  // to answer
	startBound  = 30 * time.Second // to start a job agent, or to say why not
)

// Find asks a daemon for all hosts: one of those at the addresses in join (HOST or
// HOST:PORT), or else the one of this host. The first that answers is enough.
func Find(ctx context.Context, join []string, key Key, caller Caller) (*Client, error) {
	c := &Client{creds: newCredentials(key), caller: caller}
	if c.caller.Binary == "" {
		path, err := os.Executable()
		if err != nil {
			return nil, err
		}
		c.caller.Binary = path
	}
	c.gorun = &executable{path: c.caller.Binary}
	if len(join) == 0 {
		if err := c.findHere(ctx); err != nil {
			return nil, err
		}
		return c, nil
	}
	var errs []error
	for _, addr := range join {
		t, err := dial(ctx, addr, c.creds)
		if err == nil {
			err = c.ask(ctx, t)
		}
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
	}
	return nil, oneOf(errs)
}

// findHere asks the daemons of this host.
func (c *Client) findHere(ctx context.Context) error {
	here, err := traces(c.caller.Runtime)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNobody, err)
	}
	if len(here) == 0 {
		return fmt.Errorf("%w on this host: start one with gorun agent, or name a host that has one with --join", ErrNobody)
	}
	var errs []error
	for _, t := range here {
		conn, err := dialControl(ctx, t.Control, c.creds)
		if err == nil {
			err = c.ask(ctx, conn)
		}
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return oneOf(errs)
}

// oneOf is the error to show of several: the one that trying elsewhere can't mend.
func oneOf(errs []error) error {
	for _, err := range errs {
		if errors.Is(err, ErrKey) {
			return err
		}
	}
	return errs[0]
}

// dial connects to the control port of the daemon that gossips at addr.
func dial(ctx context.Context, addr string, creds credentials) (*tls.Conn, error) {
	host, port, err := splitAddr(addr)
	if err != nil {
		return nil, err
	}
	return dialControl(ctx, net.JoinHostPort(host, strconv.Itoa(port+1)), creds)
}

func dialControl(ctx context.Context, addr string, creds credentials) (*tls.Conn, error) {
	bounded, cancel := context.WithTimeout(ctx, dialBound)
	defer cancel()
	c, err := (&net.Dialer{KeepAliveConfig: keepAlive}).DialContext(bounded, "tcp", addr)
	if err == nil {
		t := tls.Client(c, creds.client)
		if err = t.HandshakeContext(bounded); err == nil {
			return t, nil
		}
		_ = c.Close() // nothing was said
	}
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, ErrKey):
		return nil, fmt.Errorf("agent at %s: %w: copy the key file from there", addr, err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w at %s: start one there with gorun agent, or name another with --join", ErrNobody, addr)
	}
	return nil, fmt.Errorf("%w at %s (%w): start one there with gorun agent, or name another with --join", ErrNobody, addr, err)
}

// ask takes over what a daemon knows. It closes the connection.
func (c *Client) ask(ctx context.Context, t *tls.Conn) error {
	s, err := query(ctx, t)
	if err == nil {
		c.hosts = s.Hosts
	}
	return err
}

// exchange asks a daemon one thing, and closes the connection. took is how long it was on
// its way there and back.
func exchange(ctx context.Context, t *tls.Conn, r request) (a answer, took time.Duration, err error) {
	defer func() { _ = t.Close() }() // all was said
	stop := context.AfterFunc(ctx, func() { _ = t.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	_ = t.SetDeadline(time.Now().Add(statusBound))
	asked := time.Now()
	if err = writeFrame(t, r); err == nil {
		a, err = readFrame[answer](t)
	}
	took = time.Since(asked)
	switch {
	case ctx.Err() != nil:
		return a, took, context.Cause(ctx)
	case err != nil:
		return a, took, fmt.Errorf("%w at %s (%w)", ErrNobody, t.RemoteAddr(), alert(err))
	case a.Refused != nil:
		return a, took, a.Refused.err()
	}
	return a, took, nil
}

// query asks a daemon for what it knows, and closes the connection.
func query(ctx context.Context, t *tls.Conn) (*status, error) {
	a, took, err := exchange(ctx, t, request{Status: true})
	switch {
	case err != nil:
		return nil, err
	case a.Status == nil:
		return nil, fmt.Errorf("%w at %s: its answer is one to another question", ErrNobody, t.RemoteAddr())
	}
	for i := range a.Status.Hosts {
		if a.Status.Hosts[i].Name == a.Status.Self {
			a.Status.Hosts[i].RTT = took
		}
	}
	return a.Status, nil
}

// Refresh asks the hosts on which slots are taken, each by itself: that a job has ended a
// moment ago is not yet gossip. What one that doesn't answer has told before stays.
func (c *Client) Refresh(ctx context.Context) {
	var all sync.WaitGroup
	for i := range c.hosts {
		h := &c.hosts[i] // of this goroutine alone, until all are done
		if h.Free == h.Slots {
			continue
		}
		all.Go(func() {
			ip, _, err := net.SplitHostPort(h.Addr)
			if err != nil {
				return
			}
			t, err := dialControl(ctx, net.JoinHostPort(ip, strconv.Itoa(h.ControlPort)), c.creds)
			if err != nil {
				return
			}
			s, err := query(ctx, t)
			if err != nil {
				return
			}
			for _, own := range s.Hosts {
				if own.Name == s.Self && own.Name == h.Name {
					h.Free, h.Jobs = own.Free, own.Jobs
				}
			}
		})
	}
	all.Wait()
}

// alert tells a daemon's refusal of the key from other ends of a connection: it comes when
// this side has taken its own part of the handshake for done.
func alert(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		return fmt.Errorf("%w: it was refused: %w", ErrKey, err)
	}
	return err
}

// Hosts is all hosts by name, as they were when Find asked.
func (c *Client) Hosts() []HostInfo { return slices.Clone(c.hosts) }

// Start has the daemon of a host start a job agent, with a letter for it, that takes so many
// slots. It returns when the job agent is ready.
func (c *Client) Start(ctx context.Context, host string, slots int, letter []byte) (*Agent, error) {
	return c.start(ctx, host, startRequest{Slots: slots, Letter: letter})
}

// StartLasting is Start for a job agent that may be left to its host. One that takes no
// slots keeps a job.
func (c *Client) StartLasting(ctx context.Context, host string, slots int, letter []byte) (*Agent, error) {
	return c.start(ctx, host, startRequest{Slots: slots, Letter: letter, Lasting: true})
}

// unknown is the refusal of a host that the cluster doesn't have.
func (c *Client) unknown(host string) error {
	var names []string
	for _, h := range c.hosts {
		names = append(names, h.Name)
	}
	return usage("no host %s in the cluster: there is %s", host, strings.Join(names, ", "))
}

func (c *Client) start(ctx context.Context, host string, r startRequest) (*Agent, error) {
	i := slices.IndexFunc(c.hosts, func(h HostInfo) bool { return h.Name == host })
	if i < 0 {
		return nil, c.unknown(host)
	}
	ip, _, err := net.SplitHostPort(c.hosts[i].Addr)
	if err != nil {
		return nil, fmt.Errorf("%w: host %s at %q: %w", ErrLost, host, c.hosts[i].Addr, err)
	}
	digest, err := c.gorun.digest()
	if err != nil {
		return nil, err
	}
	t, err := dialControl(ctx, net.JoinHostPort(ip, strconv.Itoa(c.hosts[i].ControlPort)), c.creds)
	if err != nil {
		return nil, fmt.Errorf("host %s: %w", host, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = t.SetDeadline(time.Unix(1, 0)) })
	_ = t.SetDeadline(time.Now().Add(startBound))
	r.Digest, r.Version = digest, c.caller.Version
	err = writeFrame(t, request{Start: &r})
	var a answer
	if err == nil {
		a, err = readFrame[answer](t)
	}
	if !stop() && err == nil { // ctx has ended just now
		err = context.Cause(ctx)
	}
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case err != nil:
		err = fmt.Errorf("host %s: %w: %w", host, ErrLost, alert(err))
	case a.Refused != nil:
		err = a.Refused.err()
	case a.Ended != nil:
		err = fmt.Errorf("host %s: %w: its agent is being stopped", host, ErrLost)
	case !a.Started:
		err = fmt.Errorf("host %s: %w: its answer is one to another question", host, ErrLost)
	}
	if err != nil {
		_ = t.Close() // which ends what was started
		return nil, err
	}
	_ = t.SetDeadline(time.Time{})
	agent := &Agent{host: host, conn: t, over: make(chan struct{})}
	go agent.listen()
	return agent, nil
}
