package main

import (
	"context"
	"os"
	"slices"
	"sync"

	"github.com/gorun-ml/gorun/launcher"
	"github.com/gorun-ml/gorun/launcher/cluster"
	"github.com/gorun-ml/gorun/launcher/hosts"
)

// roster is the hosts of a cluster for a job that runs: they come and go.
type roster struct {
	key  string // file
	self string // this gorun

	mu     sync.Mutex
	client *cluster.Client // what was known last; nil for nothing yet
	ask    []string        // agents, the one that answered last first
}

// newRoster begins with what a client knows or, where that is nil, with this host's agent.
func newRoster(client *cluster.Client, key string) *roster {
	r := &roster{key: key, client: client}
	r.self, _ = itself() // the agents refuse another, and say so
	return r
}

// look asks the first agent that answers for the hosts with free slots.
func (r *roster) look(ctx context.Context) ([]hosts.Host, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.client != nil {
		for _, h := range r.client.Hosts() {
			if !slices.Contains(r.ask, h.Addr) {
				r.ask = append(r.ask, h.Addr)
			}
		}
	}
	var found *cluster.Client
	var err error
	if len(r.ask) == 0 || cluster.Here(launcher.RuntimeFolder(os.LookupEnv)) {
		found, err = find(ctx, nil, r.key, r.self)
	}
	for i := 0; i < len(r.ask) && found == nil; i++ {
		addr := r.ask[i]
		if found, err = find(ctx, []string{addr}, r.key, r.self); err == nil {
			r.ask = slices.Insert(slices.Delete(r.ask, i, i+1), 0, addr)
		}
	}
	if err != nil {
		return nil, err
	}
	r.client = found
	var free []hosts.Host
	for _, h := range found.Hosts() {
		if h.Free > 0 {
			free = append(free, hosts.Host{Name: h.Name, Slots: h.Free})
		}
	}
	return free, nil
}

func (r *roster) known() *cluster.Client {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.client
}

// each has agents started on hosts, which outlive this process if they are to.
func (r *roster) each(lasting bool) launcher.Boot {
	return func(ctx context.Context, names []string, ranks []int, letter []byte) (launcher.Booted, error) {
		boot := r.known().Start
		if lasting {
			boot = r.known().StartLasting
		}
		a, err := boot(ctx, names[0], ranks[0], letter)
		if err != nil {
			return nil, clusterRefusal(err)
		}
		return a, nil
	}
}

// lasting is how a keeper has agents started.
func (r *roster) lasting() launcher.Reach {
	return launcher.Reach{Look: r.look, Each: r.each(true)}
}
