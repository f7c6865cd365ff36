package launcher

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/internal/rendezvous"
	"github.com/gorun-ml/gorun/launcher/membership"
)

// role is this keeper's part among all.
func (k *keeper) role() control.Role {
	switch g := k.group.Load(); {
	case k.leads.Load():
		return control.Leads
	case !k.knows.Load():
		return control.Absent
	case (g == nil || g.Leader() == "") && time.Since(time.Unix(0, k.led.Load())) < wayward:
		return control.Leaderless
	}
	return control.Follows
}

// handOver has another keeper lead before this one leaves, so that they need not miss it.
func (k *keeper) handOver(ctx context.Context) {
	if k.leads.Load() && len(k.spec.Keepers) > 1 && !k.isOver() {
		ctx, cancel := context.WithTimeout(ctx, proposeWithin)
		defer cancel()
		_ = k.group.Load().Transfer(ctx) // else they elect one
	}
}

// follow tells when this keeper leads, and when no more.
func (k *keeper) follow(ctx context.Context, turns chan<- bool) {
	tell := func(lead bool) bool {
		select {
		case turns <- lead:
			return true
		case <-ctx.Done():
			return false
		}
	}
	for {
		term, err := k.group.Load().Lead(ctx)
		if err != nil {
			return // the keeper ends
		}
		k.leads.Store(true)
		_ = k.hub.Turn() // else who waits asks again after its bound
		if !tell(true) {
			return
		}
		select {
		case <-term.Done():
		case <-ctx.Done():
			return
		}
		k.leads.Store(false)
		if !tell(false) {
			return
		}
	}
}

// succeed begins to lead: it tells the others what happened while nobody led.
func (k *keeper) succeed(ctx context.Context) {
	k.mu.Lock()
	gone := make(map[string]string, len(k.gone))
	for host, why := range k.gone {
		gone[host] = why
	}
	k.mu.Unlock()
	for host, why := range gone {
		k.lost(ctx, host, why)
	}
	_ = k.propose(evTick{}) // something may be overdue
}

// sight takes in what gossip says of a host.
func (k *keeper) sight(ctx context.Context, h membership.Sighting) {
	why := ""
	switch h.State {
	case rendezvous.Dead:
		why = "it doesn't answer any more"
	case rendezvous.Leaving:
		why = "its agent has left"
	}
	k.mu.Lock()
	if why != "" {
		k.gone[h.Host] = why
	} else {
		delete(k.gone, h.Host)
	}
	k.mu.Unlock()
	if why != "" && k.leads.Load() {
		k.lost(ctx, h.Host, why)
	}
}

// lost tells the others that a host is gone, or has another keeper take the place of one
// that is.
func (k *keeper) lost(ctx context.Context, host, why string) {
	name, keeps := strings.CutPrefix(host, keeperPrefix)
	if !keeps {
		_ = k.propose(evHostLost{host, why}) // or the next to lead does
		return
	}
	k.changes.Go(func() {
		k.changing.Lock()
		defer k.changing.Unlock()
		ctx, cancel := context.WithTimeout(ctx, changeWithin)
		defer cancel()
		k.supersede(ctx, name)
	})
}

// supersede has a keeper that is not one of the group yet take the place of another. Without
// one that other stays: it may come back, and the group is no worse off with it.
func (k *keeper) supersede(ctx context.Context, name string) {
	g := k.group.Load()
	members := g.Members()
	if _, is := members[name]; !is {
		return
	}
	for _, o := range k.spec.Keepers {
		if _, is := members[o.Host]; is || k.isGone(keeperPrefix+o.Host) {
			continue
		}
		if g.Add(ctx, o.Host, o.at(o.Replica)) == nil {
			_ = g.Remove(ctx, name) // else the next to lead does
			return
		}
	}
}

// keeperPrefix is before a host's name where it is its keeper that gossips.
const keeperPrefix = "keeper."

func (k *keeper) isGone(name string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, gone := k.gone[name]
	return gone
}

// sees says whether another keeper is there.
func (k *keeper) sees() bool {
	return slices.ContainsFunc(k.spec.Keepers, func(o keeperAddr) bool {
		return o.Host != k.self && !k.isGone(keeperPrefix+o.Host)
	})
}

// keepers tells who keeps the job.
func (k *keeper) keepers() control.Keepers {
	all := control.Keepers{End: k.desk.story.ending()}
	if g := k.group.Load(); g != nil {
		all.Leader = g.Leader()
		for host := range g.Members() {
			all.Hosts = append(all.Hosts, host)
		}
		slices.Sort(all.Hosts)
	}
	return all
}
