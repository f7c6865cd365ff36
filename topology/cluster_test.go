package topology

import (
	"strings"
	"testing"
	"time"
)

func TestClustersAreRead(t *testing.T) {
	for text, want := range map[string]string{
		"4":                                     "4x1 rate=1.12GB/s latency=30µs memory=30GB/s",
		"128x8,rate=100Gbit/s":                  "128x8 rate=12.5GB/s latency=30µs memory=30GB/s",
		"2x4 rate=112MB/s cores=2 latency=60us": "2x4 rate=0.112GB/s latency=60µs cores=2 memory=30GB/s",
		"64x8 rack=16, oversubscription=4":      "64x8 rate=1.12GB/s latency=30µs rack=16 oversubscription=4 memory=30GB/s",
	} {
		c, err := ParseCluster(text)
		if err != nil || c.String() != want {
			t.Errorf("%q: got %v and %v, want %s", text, c, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                        "empty description",
		"8by4":                    `"8by4": want hosts and ranks`,
		"0x4":                     "0 hosts of 4 ranks: want 1 to 65536",
		"65536x65536":             "want 1 to 65536",
		"4x4 fast":                `"fast": want name=value`,
		"4x4 speed=1":             `no "speed": choose of rate, latency`,
		"4x4 rate=10":             "rate=10: want a rate like",
		"4x4 rate=0GB/s":          "links of 0 GB/s",
		"4x4 latency=5":           "latency=5: want a time like 30us",
		"4x4 rack=2 rack=3":       "rack is there twice",
		"4x4 oversubscription=.5": "oversubscription of 0.5: want 1 to 1000",
		"4x4 memory=0GB/s":        "memory=0GB/s: want what all cores",
		"4x4 cores=-1":            "cores=-1: want cores of a host",
	} {
		if _, err := ParseCluster(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func FuzzParseCluster(f *testing.F) {
	f.Add("128x8 rate=100Gbit/s latency=5us rack=32 oversubscription=4 cores=96 memory=1GB/s")
	f.Add("4,rate=1e-9bit/s,rack=0")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCluster(text)
		if err != nil {
			return
		}
		again, err := ParseCluster(c.String())
		if err != nil || again.String() != c.String() {
			t.Errorf("%q is %v, which is read as %v, %v", text, c, again, err)
		}
		if l, w := c.Links(), c.World(); w.Size() != c.Hosts*c.Ranks || l.NICGBps != c.GBps {
			t.Errorf("%q: %v and %+v", text, w, l)
		}
	})
}

// What leaves a rack shares its uplink.
func TestRacksShareTheirUplinks(t *testing.T) {
	c := Cluster{Hosts: 8, Ranks: 1, GBps: 1, Rack: 4, Oversubscription: 4}
	var plans []Plan
	for rank := range 8 { // all of rack 0 send to rack 1
		steps := []Step{send((rank+4)%8, Span{0, 0, 1})}
		if rank >= 4 {
			steps = []Step{recv(rank-4, Span{0, 0, 1}, false)}
		}
		plans = append(plans, Plan{Rank: rank, Size: 8, Chunks: 1, Tracks: [][]Step{steps}})
	}
	for over, want := range map[float64]time.Duration{1: 1750 * time.Microsecond, 2: 2 * time.Millisecond, 4: 4 * time.Millisecond} {
		c.Oversubscription = over
		if got := EstimatePlans(c.World(), plans, 1e6, c.Links()); got != want && !(over == 1 && got <= want) {
			t.Errorf("an oversubscription of %g: %v, want %v", over, got, want)
		}
	}
	small, err := c.Of(3)
	if err != nil || small.World().Size() != 3 {
		t.Errorf("3 of 8 hosts: %v, %v", small, err)
	}
	if _, err := (Cluster{Hosts: 4, Ranks: 4}).Of(6); err == nil {
		t.Error("6 ranks on hosts of 4 leave one host with 2: want an error")
	}
}
