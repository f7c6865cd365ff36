package launcher

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/internal/rendezvous"
)

const (
	firstKeepers = 3                // that hold a job's state: any of them may die
	mostKeepers  = 5                // with those that take a dead one's place
	beginWithin  = 30 * time.Second // for a detached job to begin
	beginPoll    = 50 * time.Millisecond
	askWithin    = 2 * time.Second // for a keeper to answer
)

// A Lasting is a job agent or a keeper that can be left to its host.
type Lasting interface{ Leave() error }

// detach leaves the job to keepers on its hosts, and returns when it has begun there.
func (l *launch) detach(signals <-chan os.Signal) (Verdict, error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	left := make(chan struct{})
	defer close(left)
	go func() { // ends with this call
		select {
		case s := <-signals:
			if n, ok := s.(syscall.Signal); ok {
				cancel(errSignalled{n})
			}
		case <-left:
		}
	}()
	var secret [control.SecretBytes]byte
	_, _ = rand.Read(secret[:]) // never fails
	b, err := startBroker(ctx, l.Bind, secret)
	if err != nil {
		return Verdict{}, &Refusal{Status: control.StatusNoHost, Text: err.Error()}
	}
	defer b.close()
	nc, err := b.connect()
	if err != nil {
		return Verdict{}, err
	}
	defer nc.Close()
	hub, err := control.NewHub(nc, l.job, rendezvous.NewMemory(), voice{func(event) error { return nil }})
	if err != nil {
		return Verdict{}, err
	}
	defer func() { _ = hub.Close() }() // it has told all it had to tell
	l.broker = b.addr()
	ended := func(e event) { // of what was started, before all was
		if lost, ok := e.(evHostLost); ok {
			cancel(&Refusal{Status: control.StatusNoHost, Text: fmt.Sprintf("host %s: %s", lost.host, lost.why)})
		}
	}
	spec, keepers, err := l.findKeepers(ctx, hub, secret, ended)
	if keepers != nil {
		defer keepers.close()
	}
	if err != nil {
		return Verdict{}, err
	}
	agents := newCrew(l, ended, map[string]control.AgentHello{}, len(l.sites.others))
	defer agents.close()
	failed := agents.boot(ctx, l.sites.others, letter{Job: l.job, Broker: spec.brokers(), Gossip: spec.gossip(), Secret: secret[:], Version: l.Version, NICs: l.NICs, Lasting: true})
	if len(failed) > 0 {
		return Verdict{}, first(ctx, failed.refusal())
	}
	if err := l.begun(ctx, spec, secret); err != nil {
		return Verdict{}, err
	}
	for _, c := range []*crew{keepers, agents} {
		c.leave()
	}
	l.out.note(l.bin.describe() + plural(l.NP, "rank") + " on " + plural(len(l.sites.names), "host") + l.means() + " · job " + l.job + ": see gorun logs -f " + l.job)
	return Verdict{Job: l.job, OK: true}, nil
}

// findKeepers starts the keepers and has them know the job.
func (l *launch) findKeepers(ctx context.Context, hub *control.Hub, secret [control.SecretBytes]byte, ended func(event)) (spec keepSpec, c *crew, err error) {
	own := *l
	own.Reach = Reach{Each: l.Reach.Keep, Addr: l.Reach.Addr}
	names := l.keeperHosts()
	c = newCrew(&own, ended, map[string]control.AgentHello{}, len(names))
	kept := make(chan control.AgentNews, len(names))
	c.agents, err = hub.ServeAgents(func(n control.AgentNews) error {
		if n.Kept {
			kept <- n // once each
			return nil
		}
		return c.news(n)
	})
	if err != nil {
		return spec, c, err
	}
	within, cancel := context.WithTimeoutCause(ctx, enlistWithin, fmt.Errorf("no word from its keeper within %v", enlistWithin))
	defer cancel()
	failed := c.boot(within, names, letter{Job: l.job, Broker: l.broker, Secret: secret[:], Version: l.Version, NICs: l.NICs, Lasting: true, Keeper: true})
	if len(failed) == 0 {
		failed = c.await(within, names)
	}
	if len(failed) > 0 {
		return spec, c, first(ctx, failed.refusal())
	}
	if err := own.offer(c.agents); err != nil {
		return spec, c, err
	}
	if spec, err = l.keepSpec(c, names, &own); err != nil {
		return spec, c, err
	}
	order, err := json.Marshal(spec)
	if err != nil {
		return spec, c, err
	}
	for _, host := range names {
		c.agents.Order(host, control.AgentOrder{Keep: order})
	}
	for range names {
		select {
		case <-kept:
		case <-within.Done():
			return spec, c, first(within, &Refusal{Status: control.StatusNoHost, Text: context.Cause(within).Error()})
		}
	}
	return spec, c, nil
}

// keeperHosts are the hosts that keep the job: with three or more any of them may be lost,
// with fewer one does as well.
func (l *launch) keeperHosts() []string {
	var names []string
	for _, h := range append(slices.Clone(l.sites.names), l.Reach.Hosts...) {
		if !slices.Contains(names, h) {
			names = append(names, h)
		}
	}
	if len(names) < firstKeepers {
		return names[:1]
	}
	return names[:min(len(names), mostKeepers)]
}

// keepSpec is what the keepers are told.
func (l *launch) keepSpec(c *crew, names []string, offered *launch) (keepSpec, error) {
	s := keepSpec{
		Options: l.Options, First: min(len(names), firstKeepers), Source: l.bin.source, Path: l.bin.path, Digest: offered.digest, Files: offered.files, Dir: l.dir,
		Names: l.sites.names, Capacity: l.sites.capacity, Placed: l.sites.placed, Began: l.began,
		Shown: plural(l.NP, "rank") + " on " + plural(len(l.sites.names), "host") + l.means() + " · job " + l.job,
	}
	s.Options.Forward = l.forwarded()
	s.Options.Hosts = nil
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, host := range names {
		var at keeperAddr
		if err := json.Unmarshal([]byte(c.hello[host].Addr), &at); err != nil {
			return s, fmt.Errorf("keeper on %s: where it is reached: %w", host, err)
		}
		s.Keepers = append(s.Keepers, at)
	}
	return s, nil
}

// begun waits until the keepers say that the job has begun.
func (l *launch) begun(ctx context.Context, spec keepSpec, secret [control.SecretBytes]byte) error {
	ctx, cancel := context.WithTimeoutCause(ctx, beginWithin, fmt.Errorf("the job had not begun after %v", beginWithin))
	defer cancel()
	var last error
	for {
		last = askBegun(ctx, spec.brokers(), control.BrokerSeed(secret), l.job)
		if last == nil {
			return nil
		}
		timer := time.NewTimer(beginPoll)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return first(ctx, &Refusal{Status: control.StatusNoHost, Text: fmt.Sprintf("%v: %v", context.Cause(ctx), last)})
		}
	}
}

// first is why it can't be: that something has ended, or a signal, comes before what follows
// from it.
func first(ctx context.Context, err error) error {
	var stopped errSignalled
	var ended *Refusal
	switch cause := context.Cause(ctx); {
	case errors.As(cause, &stopped):
		return stopped
	case errors.As(cause, &ended):
		return ended
	}
	return err
}

func askBegun(ctx context.Context, brokers, seed, job string) error {
	v, err := control.Visit(ctx, job, brokers, seed)
	if err != nil {
		return err
	}
	defer v.Close()
	missing, err := v.Begun(ctx)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return fmt.Errorf("no word from %s", strings.Join(missing, ", "))
	}
	return nil
}

// leave leaves all that was started to its hosts.
func (c *crew) leave() {
	c.mu.Lock()
	c.ending = true
	booted := slices.Clone(c.booted)
	c.mu.Unlock()
	for _, b := range booted {
		if l, ok := b.(Lasting); ok {
			_ = l.Leave() // a host that is lost just now is lost to the job, which goes on
		}
	}
	c.watch.Wait()
}

// refusal says why the hosts can't be used.
func (f failures) refusal() *Refusal {
	return &Refusal{Status: statusOf(f[0].err), Text: f[0].String(), Lines: f.rest()}
}
