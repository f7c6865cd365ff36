package tcp

import (
	"testing"

	"github.com/gorun-ml/gorun/collective/transport"
)

func TestNeighbours(t *testing.T) {
	peers := map[int]transport.Peer{
		1: {Host: "a", Addr: "10.0.0.9:1"},          // of this host
		2: {Host: "a/10.0.0.3", Addr: "10.0.0.3:1"}, // of this machine, in another network
		3: {Host: "b", Addr: "10.0.0.1:2"},          // said to be another, at this one's address
		4: {Host: "b", Addr: "10.0.0.4:1"},
		5: {Host: "ab", Addr: "10.0.0.5:1"},
	}
	for host, want := range map[string]int{"a": 3, "a/10.0.0.1": 3, "b": 2, "c": 1} {
		if n := neighbours(peers, host, "10.0.0.1:5"); n != want {
			t.Errorf("host %s has %d neighbours, want %d", host, n, want)
		}
	}
}
