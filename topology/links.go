package topology

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Link is what a message between two ranks costs: Latency, and its bytes at GBps.
// Zero GBps is no limit; 1 GBps is 1e9 bytes a second.
type Link struct {
	Latency time.Duration
	GBps    float64
}

// Links is what communication costs in a world. The model is LogGP (Alexandrov, Ionescu,
// Schauser and Scheiman, LogGP: Incorporating Long Messages into the LogP Model, SPAA
// 1995): a latency, an overhead a message, a gap a byte. To it come what the ranks of a
// host share, and messages that travel in pieces, so that a long one is folded and passed
// on while it still arrives.
//
// Every parameter can be found by a probe, and Fit takes the probes' times; zero is "costs
// nothing" or "no limit" throughout.
//
//	Latency, GBps   messages to and fro between two ranks, all else quiet: half a round
//	                trip is Latency + 2·Overhead + bytes/GBps
//	Overhead        many small messages one way: the time between two of them
//	CopyGBps        long messages, every rank to the next, all at once, where the ranks of
//	                a host keep all its cores busy: a byte then costs a core 2/CopyGBps
//	HostGBps        the same, all bytes of the host together
//	NICGBps         the same to ranks of another host, bytes in one direction
//	FoldGBps        folding a piece that is in the cache, one core
type Links struct {
	Local  Link            // between ranks of a host
	Remote Link            // between ranks of different hosts
	Pairs  map[[2]int]Link // instead of Remote from one host to another, as numbered in World.Hosts

	Overhead time.Duration // a message, or a piece of one, keeps the sender busy for this long, and the receiver
	CopyGBps float64       // a message's bytes keep a core of the sender busy at this rate, and one of the receiver
	FoldGBps float64       // folding received data, one rank
	Cores    int           // of a host: Overhead, CopyGBps and FoldGBps are what they have to do; 0: as many as it takes
	HostGBps float64       // all messages inside a host together
	NICGBps  float64       // all that a host sends to others, and all that it receives

	Racks    []int   // of each host, as numbered in World.Hosts; nil: all on one switch
	RackGBps float64 // all that a rack sends to other racks, and all that it receives

	// Handoff is what each message costs more in a plan of several tracks, which a rank runs on
	// goroutines that block and wake each other. Where cores are limited, their bytes cost
	// twice as much, too: what one goroutine has in its cache another works on.
	Handoff time.Duration

	PieceBytes  int64 // longer messages travel in pieces of this size; 0: messages are not cut
	InlineBytes int64 // a rank whose messages are not longer first sends in a step and then receives

	Memory Memory // shared by the ranks of a host
}

// What the runtime does with messages of any network.
const (
	pieceBytes  = 256 << 10
	inlineBytes = 8 << 10
	handoff     = 30 * time.Microsecond
)

// inTracks is the links as a plan of several tracks meets them.
func (l *Links) inTracks() *Links {
	turned := *l
	turned.Overhead += l.Handoff
	if l.Cores > 0 {
		turned.CopyGBps /= 2
	}
	return &turned
}

// Loopback is one host of few cores over loopback TCP: one copy into and one out of the
// kernel for each byte, and a wake-up for each message.
func Loopback() Links {
	return Links{
		Local: Link{10 * time.Microsecond, 4}, Remote: Link{10 * time.Microsecond, 4},
		Overhead: 3 * time.Microsecond, CopyGBps: 4.4, FoldGBps: 5.8, Cores: 2,
		HostGBps: 4.4, NICGBps: 4.4,
		Handoff: handoff, PieceBytes: pieceBytes, InlineBytes: inlineBytes,
		Memory: Memory{Tick: 300 * time.Nanosecond, GBps: 30, CoreGBps: 16},
	}
}

// Gigabit is hosts with 1 Gbit/s Ethernet.
func Gigabit() Links { return ethernet(60*time.Microsecond, 0.112) }

// TenGigabit is hosts with 10 Gbit/s Ethernet.
func TenGigabit() Links { return ethernet(30*time.Microsecond, 1.12) }

// ethernet has hosts of as many cores as it takes: who has a network has more than two.
func ethernet(latency time.Duration, gbps float64) Links {
	l := Loopback()
	l.Remote, l.NICGBps = Link{latency, gbps}, gbps
	l.Cores = 0
	return l
}

// Network is the constant Links of a kind of network, by the name a flag has for it.
func Network(name string) (Links, error) {
	names := make([]string, len(networks))
	for i, n := range networks {
		if n.name == name {
			return n.links(), nil
		}
		names[i] = n.name
	}
	return Links{}, fmt.Errorf("topology: there is no network %q: choose one of %s", name, strings.Join(names, ", "))
}

var networks = []struct {
	name  string
	links func() Links
}{{"loopback", Loopback}, {"1g", Gigabit}, {"10g", TenGigabit}}

// between is the link from one host to another or inside one.
func (l *Links) between(from, to int) Link {
	if from == to {
		return l.Local
	}
	if link, fitted := l.Pairs[[2]int{from, to}]; fitted {
		return link
	}
	return l.Remote
}

// rack is the rack of a host, 0 where nothing is said.
func (l *Links) rack(host int) int {
	if host < len(l.Racks) {
		return l.Racks[host]
	}
	return 0
}

// over is the nanoseconds that bytes take; a GBps is a byte a nanosecond.
func over(bytes int64, gbps float64) float64 {
	if gbps <= 0 {
		return 0
	}
	return float64(bytes) / gbps
}

// gap is the nanoseconds a byte takes.
func gap(gbps float64) float64 { return over(1, gbps) }

// duration rounds nanoseconds up.
func duration(ns float64) time.Duration {
	if ns >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(math.Ceil(ns))
}
