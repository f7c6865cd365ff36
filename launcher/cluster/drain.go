package cluster

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// leaveSignal tells a job agent that its host is about to go, so that ranks leave it.
const leaveSignal = syscall.SIGUSR1

const defaultLeave = 15 * time.Second

// drainRequest has a host take no job agents any more, or again.
type drainRequest struct {
	Undo bool `json:"undo,omitempty"`
}

// setDrained says whether the host takes job agents.
func (d *Daemon) setDrained(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.drained == on {
		return
	}
	d.drained = on
	d.note()
	state := "is drained: it offers no slots until gorun drain --undo " + d.o.Name
	if !on {
		state = "offers its slots again"
	}
	d.o.Log("host " + d.o.Name + " " + state)
}

// offered is the slots that others may take. It is called with mu held.
func (d *Daemon) offered() int {
	if d.drained {
		return 0
	}
	return d.free
}

// Leave has ranks leave the host, and waits until all job agents are gone: for a bounded
// time, or until ctx ends. Those that are left then end with Serve.
func (d *Daemon) Leave(ctx context.Context) {
	d.mu.Lock()
	d.drained = true
	d.note()
	children := slices.Collect(maps.Keys(d.children))
	d.mu.Unlock()
	for _, c := range children {
		c.signal(leaveSignal)
	}
	ctx, cancel := context.WithTimeout(ctx, d.o.LeaveBound)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.idle.Broadcast()
	})
	defer stop()
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.jobs > 0 && ctx.Err() == nil {
		d.idle.Wait()
	}
}

// Drain has a host offer no slots any more or, with undo, again.
func (c *Client) Drain(ctx context.Context, host string, undo bool) error {
	i := slices.IndexFunc(c.hosts, func(h HostInfo) bool { return h.Name == host })
	if i < 0 {
		return c.unknown(host)
	}
	ip, _, err := net.SplitHostPort(c.hosts[i].Addr)
	if err != nil {
		return fmt.Errorf("%w: host %s at %q: %w", ErrLost, host, c.hosts[i].Addr, err)
	}
	t, err := dialControl(ctx, net.JoinHostPort(ip, strconv.Itoa(c.hosts[i].ControlPort)), c.creds)
	if err != nil {
		return fmt.Errorf("host %s: %w", host, err)
	}
	_, _, err = exchange(ctx, t, request{Drain: &drainRequest{Undo: undo}})
	return err
}
