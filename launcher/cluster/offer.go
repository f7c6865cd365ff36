package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gorun-ml/gorun/launcher/membership"
)

// offer is what a host tells of itself by gossip. It has to fit into membership.MaxMeta, so
// that its names are short.
type offer struct {
	Port    int               `json:"p"`
	Slots   int               `json:"s"`
	Free    int               `json:"f"`
	Jobs    int               `json:"j,omitempty"`
	Cores   int               `json:"c"`
	Memory  uint64            `json:"m"` // MiB
	GPUs    []gpus            `json:"g,omitempty"`
	Labels  map[string]string `json:"l,omitempty"`
	Version string            `json:"v,omitempty"`
}

// gpus is how often a host has one kind of GPU.
type gpus struct {
	Name string `json:"n"`
	N    int    `json:"x"`
}

const (
	maxSlots   = 1 << 16
	maxName    = 64 // bytes of a host's name, and of a version
	maxGPUName = 48 // bytes of the name of a GPU that are told
	gpuKinds   = 3  // that are told; the rest is "other"
	maxGPUs    = 64
)

// encode writes an offer. One that doesn't fit is refused.
func (o offer) encode() ([]byte, error) {
	data, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	if len(data) > membership.MaxMeta {
		return nil, usage("what this host tells of itself takes %d bytes and gossip carries %d: use fewer or shorter labels than %s", len(data), membership.MaxMeta, showLabels(o.Labels, " "))
	}
	return data, nil
}

// widest is the offer at its longest: its numbers change while the daemon runs.
func (o offer) widest() offer {
	o.Free, o.Jobs = o.Slots, o.Slots
	return o
}

// decodeOffer reads what another host tells of itself. A later version may tell more.
func decodeOffer(data []byte) (offer, error) {
	var o offer
	if len(data) > membership.MaxMeta {
		return o, fmt.Errorf("%d bytes, the limit is %d", len(data), membership.MaxMeta)
	}
	if err := json.Unmarshal(data, &o); err != nil {
		return o, err
	}
	n := 0
	for _, g := range o.GPUs {
		if g.N < 1 || g.N > maxGPUs {
			return o, fmt.Errorf("%d GPUs of a kind", g.N)
		}
		n += g.N
	}
	switch {
	case o.Port < 1 || o.Port > 65535:
		return o, fmt.Errorf("port %d", o.Port)
	case o.Slots < 1 || o.Slots > maxSlots || o.Free < 0 || o.Free > o.Slots || o.Jobs < 0:
		return o, fmt.Errorf("%d slots, %d free, %d jobs", o.Slots, o.Free, o.Jobs)
	case o.Cores < 0 || o.Memory > 1<<43:
		return o, fmt.Errorf("%d cores, %d MiB", o.Cores, o.Memory)
	case n > maxGPUs:
		return o, fmt.Errorf("%d GPUs", n)
	}
	o.Version = plain(o.Version)
	for i := range o.GPUs {
		o.GPUs[i].Name = plain(o.GPUs[i].Name)
	}
	for k, v := range o.Labels {
		if err := checkLabel(k, v); err != nil {
			return o, err
		}
	}
	return o, nil
}

// info is the offer as callers see it.
func (o offer) info(name, addr string) HostInfo {
	h := HostInfo{
		Name: name, Addr: addr, ControlPort: o.Port, Slots: o.Slots, Free: o.Free, Cores: o.Cores,
		MemoryBytes: o.Memory << 20, GPUs: []string{}, Labels: map[string]string{}, Version: o.Version, Jobs: o.Jobs,
	}
	maps.Copy(h.Labels, o.Labels)
	for _, g := range o.GPUs {
		h.GPUs = append(h.GPUs, slices.Repeat([]string{g.Name}, g.N)...)
	}
	return h
}

// countGPUs says each kind once. What doesn't fit is told as "other".
func countGPUs(names []string) []gpus {
	var kinds []gpus
	for _, name := range names[:min(len(names), maxGPUs)] {
		name = cut(plain(name), maxGPUName)
		i := slices.IndexFunc(kinds, func(g gpus) bool { return g.Name == name })
		if i < 0 && len(kinds) == gpuKinds {
			i, kinds[gpuKinds-1].Name = gpuKinds-1, "other"
		}
		if i < 0 {
			kinds = append(kinds, gpus{Name: name})
			i = len(kinds) - 1
		}
		kinds[i].N++
	}
	return kinds
}

// ParseLabel reads a label: k=v.
func ParseLabel(s string) (key, value string, err error) {
	key, value, ok := strings.Cut(s, "=")
	if !ok {
		return "", "", usage("label %q: want NAME=VALUE, such as rack=3", s)
	}
	if err := checkLabel(key, value); err != nil {
		return "", "", usage("label %q: %v", s, err)
	}
	return key, value, nil
}

var (
	errLabelName  = errors.New("want a name of 1 to 32 letters, digits, - _ . or /")
	errLabelValue = errors.New("want a value of at most 64 printable characters without spaces or commas")
)

func checkLabel(key, value string) error {
	if key == "" || len(key) > 32 || strings.ContainsFunc(key, func(r rune) bool { return !nameRune(r) && r != '/' }) {
		return errLabelName
	}
	if len(value) > 64 || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' || r == ',' }) {
		return errLabelValue
	}
	return nil
}

// checkName refuses what can't be a host's name.
func checkName(name string) error {
	if name == "" || len(name) > maxName || name[0] == '.' || strings.ContainsFunc(name, func(r rune) bool { return !nameRune(r) }) {
		return usage("host name %q: want 1 to %d letters, digits, - _ or .: choose one with --name", name, maxName)
	}
	return nil
}

func nameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.'
}

// showLabels writes labels in the order of their names.
func showLabels(labels map[string]string, between string) string {
	var all []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		all = append(all, k+"="+labels[k])
	}
	return strings.Join(all, between)
}

// plain is text that can be shown on a terminal.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}

func cut(s string, n int) string { return s[:min(len(s), n)] }
