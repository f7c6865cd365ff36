package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// tell keeps what the others hear of this host up to date.
func (d *Daemon) tell(ctx context.Context) {
	for {
		select {
		case <-d.changed:
		case <-ctx.Done():
			return
		}
		o := d.o.offer(tcpPort(d.control.Addr()))
		d.mu.Lock()
		o.Free, o.Jobs = d.offered(), d.jobs
		d.mu.Unlock()
		if data, err := o.encode(); err == nil { // it fits: the widest did
			_ = d.hosts.SetMeta(data)
		}
	}
}

// take takes slots for a job agent. One that only keeps a job needs none.
func (d *Daemon) take(slots int, keeps bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if slots < 0 || slots == 0 && !keeps {
		return usage("%d slots of host %s: want at least 1", slots, d.o.Name)
	}
	if d.drained && slots > 0 {
		return fmt.Errorf("%w: host %s is drained: use another, or gorun drain --undo %s", ErrSlots, d.o.Name, d.o.Name)
	}
	if slots > d.free {
		return fmt.Errorf("%w: host %s has %d of %s free and %d were asked for: ask for fewer, or wait until a job ends", ErrSlots, d.o.Name, d.free, plural(d.o.Slots, "slot"), slots)
	}
	d.free -= slots
	d.jobs++
	d.note()
	return nil
}

// give gives slots back: the job agent is gone.
func (d *Daemon) give(slots int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.free += slots
	d.jobs--
	d.note()
	d.idle.Broadcast()
}

func (d *Daemon) note() {
	select {
	case d.changed <- struct{}{}:
	default:
	}
}

// status is all hosts that this daemon knows, itself included.
func (d *Daemon) status() *status {
	self := d.o.offer(tcpPort(d.control.Addr())).info(d.o.Name, d.Addr())
	d.mu.Lock()
	self.Free, self.Jobs = d.offered(), d.jobs
	hosts := d.view.list()
	d.mu.Unlock()
	for i := range hosts {
		hosts[i].RTT = d.hosts.RTT(hosts[i].Name)
		hosts[i].Labels = maps.Clone(hosts[i].Labels)
	}
	hosts = append(hosts, self)
	slices.SortFunc(hosts, byName)
	return &status{Self: d.o.Name, Hosts: hosts}
}

// drain waits until the job agents are gone. It returns how many are not.
func (d *Daemon) drain() int {
	late := false
	bound := time.AfterFunc(d.o.Grace+killBound+time.Second, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		late = true
		d.idle.Broadcast()
	})
	defer bound.Stop()
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.jobs > 0 && !late {
		d.idle.Wait()
	}
	return d.jobs
}
