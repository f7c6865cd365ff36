// Package cluster is hosts that offer their slots, found by gossip.
//
// A Daemon offers the slots of its host, and starts job agents there for who holds the
// cluster's key. A Client finds the hosts and has job agents started.
package cluster

import (
	"errors"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/launcher/membership"
)

// DefaultPort is where daemons gossip, over UDP and TCP. On the next one they take orders.
const DefaultPort = 7946

// HostInfo is one host of the cluster, as the daemon that was asked sees it.
type HostInfo struct {
	Name        string            `json:"name"`
	Addr        string            `json:"addr"`         // where it gossips: what others join
	ControlPort int               `json:"control_port"` // where it takes orders, at the same address
	Slots       int               `json:"slots"`
	Free        int               `json:"free"` // slots not taken
	Cores       int               `json:"cores"`
	MemoryBytes uint64            `json:"memory_bytes"`
	GPUs        []string          `json:"gpus"`
	Labels      map[string]string `json:"labels"`
	Version     string            `json:"version"`
	Jobs        int               `json:"jobs"` // job agents that run there
	// RTT is there and back from the daemon that was asked, for itself from who asked.
	RTT time.Duration `json:"rtt_ns"` // 0 if not measured yet
}

// Causes that callers branch on.
var (
	// ErrKey means that a key can't be used, or that another one is held there.
	ErrKey = errors.New("the cluster's key")
	// ErrNobody means that no daemon could be asked.
	ErrNobody = errors.New("no gorun agent answers")
	// ErrListen means that the daemon's ports can't be had.
	ErrListen = errors.New("cannot listen")
	// ErrUsage means that an option or an argument is wrong.
	ErrUsage = errors.New("usage")
	// ErrVersion means that a host has another gorun.
	ErrVersion = errors.New("gorun differs")
	// ErrSlots means that a host has fewer free slots than were asked for.
	ErrSlots = errors.New("too few slots")
	// ErrChild means that a job agent didn't start, or ended otherwise than it was asked to.
	ErrChild = errors.New("job agent")
	// ErrLost means that the daemon of a job agent is out of reach.
	ErrLost = errors.New("lost")
)

// Status is the exit status that an error of this package stands for.
func Status(err error) int {
	for _, c := range []struct {
		cause  error
		status int
	}{
		{ErrKey, control.StatusAuth},
		{ErrVersion, control.StatusDisagree},
		{ErrNobody, control.StatusNoHost},
		{ErrListen, control.StatusNoHost},
		{ErrUsage, control.StatusUsage},
		{membership.ErrNameTaken, control.StatusUsage},
	} {
		if errors.Is(err, c.cause) {
			return c.status
		}
	}
	return control.StatusTemporary
}
