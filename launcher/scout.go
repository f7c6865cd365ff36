package launcher

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/launcher/hosts"
)

const (
	scoutEvery  = 500 * time.Millisecond // for hosts that an elastic job could use
	scoutWithin = 15 * time.Second       // for one to be looked up, or for its agent to be ready
	scoutPause  = 2 * time.Second        // after a host could not be used; it doubles each time
	scoutMost   = time.Minute
	helloWithin = 5 * time.Second // for an agent that is ready to be part of the job
)

// scout has agents started on hosts that a job looks for, until ctx ends. What comes of them
// is told by their hellos.
func (c *crew) scout(ctx context.Context, recruits func() recruiting, l letter) {
	if !c.launch.elastic() {
		return
	}
	look := c.launch.Reach.Look
	if look == nil {
		listed := c.launch.sites.listed
		look = func(context.Context) ([]hosts.Host, error) { return listed, nil }
	}
	tick := time.NewTicker(scoutEvery)
	defer tick.Stop()
	s := scout{crew: c, letter: l, again: map[string]time.Time{}, tries: map[string]int{}}
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if want := recruits(); want.slots > 0 {
			s.look(ctx, look, want, time.Now())
		}
	}
}

// scout is what is remembered of hosts that an agent was to be started on.
type scout struct {
	crew   *crew
	letter letter
	again  map[string]time.Time // when a host is tried next
	tries  map[string]int       // in vain
}

// look has agents started where there are slots. One that could not be is left alone for a
// while.
func (s *scout) look(ctx context.Context, look func(context.Context) ([]hosts.Host, error), want recruiting, now time.Time) {
	ctx, cancel := context.WithTimeout(ctx, scoutWithin)
	defer cancel()
	found, err := look(ctx)
	if err != nil {
		return // there is another time
	}
	for _, h := range found {
		if want.slots == 0 {
			return
		}
		if h.Slots == 0 || want.except[h.Name] || h.Name == s.crew.launch.host || now.Before(s.again[h.Name]) {
			continue
		}
		l := s.letter
		l.Host, l.Agent, l.Slots = h.Name, h.Name+"+"+nonce(), min(h.Slots, want.slots)
		if failed := s.crew.enlistOne(ctx, h.Name, l); failed != nil {
			s.tries[h.Name]++
			s.again[h.Name] = now.Add(min(scoutPause<<min(s.tries[h.Name]-1, 10), scoutMost))
			continue
		}
		delete(s.tries, h.Name)
		s.again[h.Name] = time.Now().Add(helloWithin) // by then the job has it
		want.slots -= l.Slots
	}
}

// enlistOne has an agent started on one host.
func (c *crew) enlistOne(ctx context.Context, host string, l letter) failures {
	if c.launch.Reach.Each == nil {
		return failures{{host, errNoReach}}
	}
	if c.launch.brokers != nil {
		l.Broker = c.launch.brokers(host)
	}
	c.mu.Lock()
	ending := c.ending
	c.late = append(c.late, l.Agent)
	c.mu.Unlock()
	if ending {
		return failures{{host, errEnded}}
	}
	if !l.Lasting {
		return c.bootOne(ctx, c.launch.Reach.Each, []string{host}, l)
	}
	text, err := json.Marshal(l)
	if err != nil {
		panic("launcher: " + err.Error()) // words and bytes
	}
	b, err := c.launch.Reach.Each(ctx, []string{host}, []int{l.Slots}, append(text, '\n'))
	if err != nil {
		return failures{{host, err}}
	}
	if left, ok := b.(Lasting); ok {
		_ = left.Leave() // gossip tells if it is lost just now
	}
	return nil
}

// nonce tells an agent of a host from those before it.
func nonce() string {
	var b [3]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// joined takes in what the agent of a host has said, before ranks are started there.
func (l *launch) joined(host string, hello control.AgentHello) { l.sites.hello[host] = hello }

// known is the agent's name among those of its job.
func (l letter) known() string { return cmp.Or(l.Agent, l.Host) }
