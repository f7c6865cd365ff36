package cluster

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/gorun-ml/gorun/internal/rendezvous"
	"github.com/gorun-ml/gorun/launcher/membership"
)

const (
	maxLost   = 64        // hosts that are remembered, to be joined again
	forgetful = time.Hour // for how long
)

// view is the other hosts, as gossip shows them.
type view struct {
	hosts map[string]HostInfo
	lost  map[string]time.Time // addresses
}

func newView() *view {
	return &view{hosts: map[string]HostInfo{}, lost: map[string]time.Time{}}
}

// see takes a sighting in. It returns what people are told, "" for nothing new.
func (v *view) see(s membership.Sighting) string {
	if err := checkName(s.Host); err != nil {
		return ""
	}
	old, known := v.hosts[s.Host]
	switch s.State {
	case rendezvous.Registered:
		o, err := decodeOffer(s.Meta)
		if err != nil {
			delete(v.hosts, s.Host)
			return fmt.Sprintf("host %s at %s offers what this gorun doesn't understand (%v): it isn't listed", s.Host, s.Addr, err)
		}
		v.hosts[s.Host] = o.info(s.Host, s.Addr)
		delete(v.lost, s.Addr)
		if !known || old.Addr != s.Addr {
			return fmt.Sprintf("host %s has joined at %s: %s", s.Host, s.Addr, plural(o.Slots, "slot"))
		}
	case rendezvous.Leaving:
		delete(v.hosts, s.Host)
		if known {
			return fmt.Sprintf("host %s has left", s.Host)
		}
	case rendezvous.Dead:
		delete(v.hosts, s.Host)
		if known {
			v.lose(s.Addr, s.Since)
			return fmt.Sprintf("host %s at %s is lost: it doesn't answer", s.Host, s.Addr)
		}
	}
	return ""
}

// lose remembers an address: the host may come back, or the network.
func (v *view) lose(addr string, now time.Time) {
	for a, since := range v.lost {
		if now.Sub(since) > forgetful {
			delete(v.lost, a)
		}
	}
	if len(v.lost) < maxLost {
		v.lost[addr] = now
	}
}

// at says whether there is a host at the address.
func (v *view) at(addr string) bool {
	for _, h := range v.hosts {
		if h.Addr == addr {
			return true
		}
	}
	return false
}

// list is all hosts by name.
func (v *view) list() []HostInfo {
	all := make([]HostInfo, 0, len(v.hosts)+1)
	for _, h := range v.hosts {
		all = append(all, h)
	}
	slices.SortFunc(all, byName)
	return all
}

func byName(a, b HostInfo) int { return cmp.Compare(a.Name, b.Name) }

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
