package probe

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/gorun-ml/gorun/topology"
)

// wired is Links as JSON can hold them.
type wired struct {
	topology.Links
	Pairs []wiredPair `json:",omitempty"` // in the place of the map
}

type wiredPair struct {
	From, To int
	topology.Link
}

// Encode writes links down.
func Encode(l topology.Links) []byte {
	w := wired{Links: l}
	for hosts, link := range l.Pairs {
		w.Pairs = append(w.Pairs, wiredPair{hosts[0], hosts[1], link})
	}
	slices.SortFunc(w.Pairs, func(a, b wiredPair) int { return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To)) })
	text, err := json.Marshal(w)
	if err != nil {
		panic("probe: " + err.Error()) // rates are finite
	}
	return text
}

// Decode reads what Encode has written.
func Decode(text []byte) (topology.Links, error) {
	var w wired
	if err := json.Unmarshal(text, &w); err != nil {
		return topology.Links{}, fmt.Errorf("what communication costs: %w", err)
	}
	l := w.Links
	for _, p := range w.Pairs {
		if l.Pairs == nil {
			l.Pairs = map[[2]int]topology.Link{}
		}
		l.Pairs[[2]int{p.From, p.To}] = p.Link
	}
	return l, check(l)
}

// check refuses costs that nobody has measured.
func check(l topology.Links) error {
	links := []topology.Link{l.Local, l.Remote}
	for _, p := range l.Pairs {
		links = append(links, p)
	}
	for _, k := range links {
		if k.Latency < 0 || !rate(k.GBps) {
			return fmt.Errorf("what communication costs: a link of %v and %g GB/s", k.Latency, k.GBps)
		}
	}
	m := l.Memory
	for _, r := range []float64{l.CopyGBps, l.FoldGBps, l.HostGBps, l.NICGBps, l.RackGBps, m.GBps, m.CoreGBps, m.Cache.GBps, m.Cache.CoreGBps} {
		if !rate(r) {
			return fmt.Errorf("what communication costs: %g GB/s", r)
		}
	}
	if l.Overhead < 0 || l.Handoff < 0 || m.Tick < 0 || l.Cores < 0 || l.PieceBytes < 0 || l.InlineBytes < 0 {
		return fmt.Errorf("what communication costs: something below 0")
	}
	return nil
}

func rate(gbps float64) bool { return gbps >= 0 && !math.IsInf(gbps, 0) }
