package topology

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Cluster describes machines that need not be there: hosts of as many ranks each, on
// switches of as many hosts each.
//
//	          rack 0                   rack 1         uplink of a rack:
//	         ┌──┴──┐                  ┌──┴──┐           hosts × rate ÷ oversubscription
//	host  0  1  2 …  31           32  33 … 63         link of a host: rate
//	rank  0–7 8–15                                    inside a host: Inside
type Cluster struct {
	Hosts, Ranks     int           // hosts, and ranks on each
	GBps             float64       // of a host's link, each way
	Latency          time.Duration // between ranks of different hosts
	Rack             int           // hosts on a switch; 0: all on one
	Oversubscription float64       // all hosts of a rack together over what leaves it; 0 is 1
	Inside           Links         // costs inside a host, and of a message on either end
}

// Limits of a description, so that a slip of the pen is no hour of work.
const (
	mostRanks = 1 << 16
	mostGBps  = 1e6
)

// Check says what is wrong with a description.
func (c Cluster) Check() error {
	switch {
	case c.Hosts < 1 || c.Ranks < 1 || c.Hosts > mostRanks || c.Ranks > mostRanks || c.Hosts*c.Ranks > mostRanks:
		return fmt.Errorf("topology: %d hosts of %d ranks: want 1 to %d ranks in all", c.Hosts, c.Ranks, mostRanks)
	case !(c.GBps > 0 && c.GBps <= mostGBps):
		return fmt.Errorf("topology: links of %g GB/s: want more than 0 and at most %g", c.GBps, float64(mostGBps))
	case c.Latency < 0 || c.Latency > time.Minute:
		return fmt.Errorf("topology: a latency of %v: want 0 to 1m", c.Latency)
	case c.Rack < 0:
		return fmt.Errorf("topology: racks of %d hosts: want 1 or more, or 0 for one switch", c.Rack)
	case c.Oversubscription != 0 && !(c.Oversubscription >= 1 && c.Oversubscription <= 1000):
		return fmt.Errorf("topology: an oversubscription of %g: want 1 to 1000", c.Oversubscription)
	}
	return nil
}

// World is the cluster's ranks, in blocks over its hosts.
func (c Cluster) World() World { return Uniform(c.Hosts*c.Ranks, c.Hosts) }

// Links is what communication costs in the cluster.
func (c Cluster) Links() Links {
	l := c.Inside
	l.Remote, l.NICGBps = Link{c.Latency, c.GBps}, c.GBps
	if c.Rack > 0 && c.Rack < c.Hosts {
		l.Racks = make([]int, c.Hosts)
		for h := range l.Racks {
			l.Racks[h] = h / c.Rack
		}
		l.RackGBps = float64(c.Rack) * c.GBps / max(1, c.Oversubscription)
	}
	return l
}

// Of is the same cluster with as many ranks, on as few of its hosts as hold them: whole
// hosts, or a part of one. It refuses numbers that leave a host with fewer ranks than
// another.
func (c Cluster) Of(ranks int) (Cluster, error) {
	switch {
	case ranks >= 1 && ranks <= c.Ranks:
		c.Hosts, c.Ranks = 1, ranks
	case ranks > 0 && ranks%c.Ranks == 0:
		c.Hosts = ranks / c.Ranks
	default:
		return c, fmt.Errorf("topology: %d ranks on hosts of %d: want fewer, or a multiple", ranks, c.Ranks)
	}
	return c, nil
}

// String is the description that ParseCluster reads.
func (c Cluster) String() string {
	s := fmt.Sprintf("%dx%d rate=%sGB/s latency=%v", c.Hosts, c.Ranks, strconv.FormatFloat(c.GBps, 'g', -1, 64), c.Latency)
	if c.Rack > 0 {
		s += fmt.Sprintf(" rack=%d", c.Rack)
	}
	if c.Oversubscription > 0 {
		s += " oversubscription=" + strconv.FormatFloat(c.Oversubscription, 'g', -1, 64)
	}
	if c.Inside.Cores > 0 {
		s += fmt.Sprintf(" cores=%d", c.Inside.Cores)
	}
	if m := c.Inside.Memory.GBps; m > 0 {
		s += fmt.Sprintf(" memory=%sGB/s", strconv.FormatFloat(m, 'g', -1, 64))
	}
	return s
}

// ParseCluster reads a description: the hosts and the ranks of each, then what is not as in
// hosts of one rank with 10 Gbit/s Ethernet, in any order, apart by spaces or commas.
//
//	128x8 rate=100Gbit/s latency=5us rack=32 oversubscription=4 cores=96 memory=200GB/s
//	128x8,rate=12.5GB/s
//
// Rates are in bit/s, kbit/s, Mbit/s, Gbit/s, MB/s or GB/s; 0.112 GB/s are what 1 Gbit/s
// carries at best, frames taken off.
func ParseCluster(text string) (Cluster, error) {
	c := Cluster{GBps: TenGigabit().NICGBps, Latency: TenGigabit().Remote.Latency, Inside: inside(Loopback().Memory.GBps)}
	words := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == ',' || r == '\t' || r == '\n' })
	if len(words) == 0 {
		return c, errors.New("topology: an empty description of a cluster: want something like 128x8 rate=10Gbit/s")
	}
	hosts, ranks, found := strings.Cut(words[0], "x")
	var err, err2 error
	c.Hosts, err = strconv.Atoi(hosts)
	if c.Ranks, err2 = 1, nil; found {
		c.Ranks, err2 = strconv.Atoi(ranks)
	}
	if err != nil || err2 != nil {
		return c, fmt.Errorf("topology: cluster %q: want hosts and ranks of each first, like 128x8", words[0])
	}
	seen := make(map[string]bool)
	for _, word := range words[1:] {
		name, value, found := strings.Cut(word, "=")
		if !found {
			return c, fmt.Errorf("topology: cluster: %q: want name=value, of %s", word, clusterNames)
		}
		if seen[name] {
			return c, fmt.Errorf("topology: cluster: %s is there twice", name)
		}
		seen[name] = true
		if err := c.set(name, value); err != nil {
			return c, err
		}
	}
	return c, c.Check()
}

const clusterNames = "rate, latency, rack, oversubscription, cores, memory"

// inside is a host whose ranks reach each other through memory that all its cores together
// read and write at a rate. A byte is read and written on its way to another rank, and then
// folded into one that is read and written too.
func inside(gbps float64) Links {
	l := TenGigabit()
	l.Local = Link{Latency: time.Microsecond}
	l.HostGBps = gbps / 4
	l.Memory.GBps = gbps
	return l
}

func (c *Cluster) set(name, value string) (err error) {
	want := ""
	switch name {
	case "rate":
		c.GBps, err = parseRate(value)
		want = "a rate like 10Gbit/s or 1.25GB/s"
	case "latency":
		c.Latency, err = time.ParseDuration(value)
		want = "a time like 30us"
	case "rack":
		c.Rack, err = strconv.Atoi(value)
		want = "hosts on a switch"
	case "oversubscription":
		c.Oversubscription, err = strconv.ParseFloat(value, 64)
		want = "a number from 1"
	case "cores":
		if c.Inside.Cores, err = strconv.Atoi(value); err == nil && (c.Inside.Cores < 0 || c.Inside.Cores > mostRanks) {
			err = strconv.ErrRange
		}
		want = "cores of a host, or 0 for as many as it takes"
	case "memory":
		var gbps float64
		if gbps, err = parseRate(value); err == nil && !(gbps > 0 && gbps <= mostGBps) {
			err = strconv.ErrRange
		}
		cores := c.Inside.Cores
		c.Inside = inside(gbps)
		c.Inside.Cores = cores
		want = "what all cores of a host read and write at once, like 100GB/s"
	default:
		return fmt.Errorf("topology: cluster: there is no %q: choose of %s", name, clusterNames)
	}
	if err != nil {
		return fmt.Errorf("topology: cluster: %s=%s: want %s", name, value, want)
	}
	return nil
}

// parseRate reads a rate as GB/s.
func parseRate(text string) (float64, error) {
	for _, unit := range rateUnits {
		if number, found := strings.CutSuffix(text, unit.name); found {
			x, err := strconv.ParseFloat(number, 64)
			if err == nil && (math.IsNaN(x) || x < 0) {
				err = strconv.ErrRange
			}
			return x * unit.gbps, err
		}
	}
	return 0, strconv.ErrSyntax
}

// The longer names come before those that they end with.
var rateUnits = []struct {
	name string
	gbps float64
}{{"Gbit/s", 1. / 8}, {"Mbit/s", 1e-3 / 8}, {"kbit/s", 1e-6 / 8}, {"bit/s", 1e-9 / 8}, {"GB/s", 1}, {"MB/s", 1e-3}}
