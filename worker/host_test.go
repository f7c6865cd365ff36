package worker

import (
	"slices"
	"testing"

	"github.com/gorun-ml/gorun/internal/rendezvous"
)

func TestHostName(t *testing.T) {
	for _, c := range []struct{ machine, bind, want string }{
		{"vm", "127.0.0.1", "vm"},
		{"vm", "127.0.0.2", "vm"}, // all of loopback is one stack
		{"vm", "::1", "vm"},
		{"vm", "::ffff:127.0.0.1", "vm"},
		{"vm", "0.0.0.0", "vm"},
		{"vm", "10.93.7.1", "vm/10.93.7.1"},
		{"vm", "10.93.7.2", "vm/10.93.7.2"},
		{"vm", "fe80::1%eth0", "vm/fe80::1%eth0"},
		{"", "10.93.7.2", "10.93.7.2"},
	} {
		if got := hostName(c.machine, c.bind); got != c.want {
			t.Errorf("%s bound to %s: %s, want %s", c.machine, c.bind, got, c.want)
		}
	}
}

// Two network namespaces of one machine are two hosts, in messages and to the algorithms.
func TestNamespacesAreHosts(t *testing.T) {
	var gen rendezvous.Generation
	for rank := range 8 {
		bind := []string{"10.93.7.1", "10.93.7.2", "10.93.7.3", "10.93.7.4"}[rank%4]
		gen.Members = append(gen.Members, rendezvous.Member{Host: hostName("vm", bind)})
	}
	if got, want := world(gen).Hosts, []int{0, 1, 2, 3, 0, 1, 2, 3}; !slices.Equal(got, want) {
		t.Errorf("hosts %v, want %v", got, want)
	}
	if got := onHost(gen.Members, "vm/10.93.7.2"); got != 2 {
		t.Errorf("%d ranks on a host, want 2", got)
	}
}
