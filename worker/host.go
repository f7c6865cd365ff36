package worker

import (
	"net/netip"
	"runtime"

	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/internal/rendezvous"
)

// hostName names what its ranks share: a machine and a network stack. Two containers or
// network namespaces of one machine reach each other over links like two machines, and may
// have the same name, so the address belongs to the name where it isn't loopback.
func hostName(machine, bind string) string {
	ip, err := netip.ParseAddr(bind)
	switch {
	case machine == "":
		return bind
	case err == nil && (ip.IsLoopback() || ip.IsUnspecified()):
		return machine
	}
	return machine + transport.HostSeparator + bind
}

// processors is how many a rank of a host may use, where all of its ranks share them.
// One would leave frames unread while the model computes.
func processors(ranks int) int { return max(2, runtime.NumCPU()/max(1, ranks)) }

// onHost counts the members on a host.
func onHost(members []rendezvous.Member, host string) int {
	n := 0
	for _, m := range members {
		if m.Host == host {
			n++
		}
	}
	return n
}
