package launcher

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/gorun-ml/gorun/internal/control"
)

// order says how to start a candidate.
func (l *launch) order(a actStart) (order, error) {
	port, err := l.masterPort(a.place.first, a.attempt)
	if err != nil {
		return order{}, err
	}
	env := control.Env{
		Job: l.job, Broker: l.brokersFor(a.place.host), Member: a.member, Host: a.place.host, Slot: a.slot, Bind: l.addrOf(a.place.host),
		SecretFD: 3, Checkpoint: l.Checkpoint, Guards: l.Guards, Flight: l.flightFolder(a.place.host), Stall: l.Stall, Patience: l.ElasticTimeout,
		Rank: a.slot, LocalRank: a.place.localRank, WorldSize: a.place.worldSize, LocalWorldSize: a.place.localSize,
		CrossRank: a.place.hostRank, CrossSize: a.place.hostsInUse,
		MasterAddr: l.addrOf(a.place.first), MasterPort: port,
	}
	if ip := net.ParseIP(env.MasterAddr); ip != nil && ip.IsUnspecified() {
		env.MasterAddr = DefaultBind // an address that can be connected to
	}
	own := append(env.Environ(), l.network()...)
	o := order{member: a.member, host: a.place.host, rank: a.slot, path: l.bin.path, args: l.Args}
	if o.host == l.host {
		o.env = merge(l.Environ, own)
		return o, nil
	}
	o.env, o.digest, o.files = merge(l.forwarded(), own), l.digest, l.files
	if o.digest == "" {
		o.path = l.Program
	}
	o.dir = l.dir
	return o, nil
}

// brokersFor is where the ranks of a host reach the job's broker, or brokers.
func (l *launch) brokersFor(host string) string {
	if l.brokers == nil {
		return l.broker
	}
	return l.brokers(host)
}

// addrOf is the address that a host's part of the job listens on.
func (l *launch) addrOf(host string) string {
	if h, other := l.sites.hello[host]; other {
		return h.Addr
	}
	return l.Bind
}

// network tells ranks how to communicate, in any language: worker reads it too.
func (l *launch) network() []string {
	return []string{
		"GORUN_TRANSPORT=" + cmp.Or(l.Transport, "auto"),
		"GORUN_DETERMINISTIC=" + strconv.FormatBool(l.Deterministic),
		"GORUN_ENCRYPT=" + strconv.FormatBool(l.Encrypt),
	}
}

// masterPort is a free port for a gang's own rendezvous on a host, another one each time it
// starts: the former may still be held by what is closing.
func (l *launch) masterPort(host string, attempt int) (int, error) {
	if h, other := l.sites.hello[host]; other && len(h.Ports) > 0 {
		return h.Ports[attempt%len(h.Ports)], nil
	}
	if port, ok := l.ports[attempt]; ok {
		return port, nil
	}
	ln, err := net.Listen("tcp", net.JoinHostPort(l.Bind, "0"))
	if err != nil {
		return 0, fmt.Errorf("no free port for MASTER_PORT: %w", err)
	}
	port := ln.Addr().(*net.TCPAddr).Port // the address of a TCP listener
	if err := ln.Close(); err != nil {
		return 0, fmt.Errorf("no free port for MASTER_PORT: %w", err)
	}
	if l.ports == nil {
		l.ports = map[int]int{}
	}
	l.ports[attempt] = port
	return port, nil
}

// merge is base with the variables of own in place of those of the same name.
func merge(base, own []string) []string {
	names := map[string]bool{}
	for _, kv := range own {
		name, _, _ := strings.Cut(kv, "=")
		names[name] = true
	}
	kept := slices.DeleteFunc(slices.Clone(base), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return names[name]
	})
	return append(kept, own...)
}
