package worker

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/collective/transport/shm"
	"github.com/gorun-ml/gorun/collective/transport/tcp"
	"github.com/gorun-ml/gorun/internal/rendezvous"
	"github.com/gorun-ml/gorun/topology"
)

// Network is how the ranks of a job communicate, the same on all ranks. The zero value
// leaves it to gorun's flags, and is right for training programs.
type Network struct {
	// Transport is one of Transports. Empty stands for gorun --transport or, without gorun,
	// $GORUN_TRANSPORT.
	Transport string
	// Algorithm is the all-reduce whatever the size, by its name in gorun topology. Empty
	// chooses by size and by what communication costs.
	Algorithm string
	// Deterministic has algorithms and buckets follow from the world alone, not from what
	// communication was measured to cost.
	Deterministic bool
	// Encrypt has what leaves a host encrypted, as gorun --encrypt has.
	Encrypt bool
	// Measure has that measured anew, where an earlier job's result would be taken.
	Measure bool
}

// The values of Network.Transport.
const (
	TransportAuto = "auto" // shared memory between the ranks of a host where it works
	TransportShm  = "shm"  // the same, and an error where it doesn't work
	TransportTCP  = "tcp"  // never shared memory
)

// sharedMemory is the algorithm of ranks that all reach each other's memory. It is no plan
// of messages, so topology's list lacks it.
const sharedMemory = "shared"

// Transports lists the values of Network.Transport.
func Transports() []string { return []string{TransportAuto, TransportShm, TransportTCP} }

// over is n with what it leaves open taken from the environment's settings.
func (n Network) over(env Network) Network {
	if n.Transport == "" {
		n.Transport = env.Transport
	}
	if n.Transport == "" {
		n.Transport = TransportAuto
	}
	n.Deterministic = n.Deterministic || env.Deterministic
	n.Encrypt = n.Encrypt || env.Encrypt
	return n
}

// Check refuses what does not exist.
func (n Network) Check() error {
	if n.Transport != "" && !slices.Contains(Transports(), n.Transport) {
		return fmt.Errorf("transport %q: want one of %s", n.Transport, strings.Join(Transports(), ", "))
	}
	if n.Algorithm != "" && n.Algorithm != sharedMemory {
		if _, err := topology.Find(topology.AllReduce, n.Algorithm); err != nil {
			return errors.New(strings.TrimPrefix(err.Error(), "topology: "))
		}
	}
	return nil
}

// networkFromEnvironment is what gorun, or the user, says beside the job itself.
func networkFromEnvironment(lookup func(string) (string, bool)) (Network, error) {
	var n Network
	n.Transport, _ = lookup("GORUN_TRANSPORT")
	if err := n.Check(); err != nil {
		return Network{}, fmt.Errorf("GORUN_TRANSPORT: %w", err)
	}
	for name, on := range map[string]*bool{"GORUN_DETERMINISTIC": &n.Deterministic, "GORUN_ENCRYPT": &n.Encrypt} {
		if v, _ := lookup(name); v != "" {
			var err error
			if *on, err = strconv.ParseBool(v); err != nil {
				return Network{}, fmt.Errorf("%s=%q: want true or false", name, v)
			}
		}
	}
	return n, nil
}

// connect settles how this process communicates, before it says where it can be reached.
// All ranks get the fabric that could share memory, so that those which must not can say so.
func (p *process) connect(n Network) error {
	if err := n.Check(); err != nil {
		return BadInput(err)
	}
	p.network = n.over(p.network)
	inner, ok := p.fabric.(*tcp.Fabric)
	if !ok {
		return nil
	}
	if p.network.Encrypt {
		inner.Encrypt()
	}
	fabric, err := shm.New(inner, shm.Config{
		Require: p.network.Transport == TransportShm, Forbid: p.network.Transport == TransportTCP,
	})
	if err != nil {
		return BadInput(fmt.Errorf("transport %s: %w: auto goes without", p.network.Transport, err))
	}
	p.fabric = fabric
	return nil
}

// sharing is the ranks that this rank reaches by shared memory, itself among them.
func sharing(mesh transport.Mesh, rank int) []int {
	if w, ok := mesh.(transport.Window); ok {
		return w.Sharing()
	}
	return []int{rank}
}

// apart is a rank of this rank's host that doesn't share memory with it, -1 if there is none.
func apart(mesh transport.Mesh, members []rendezvous.Member, rank int) int {
	shared := sharing(mesh, rank)
	return slices.IndexFunc(members, func(m rendezvous.Member) bool {
		return m.Host == members[rank].Host && !slices.ContainsFunc(shared, func(r int) bool { return members[r].ID == m.ID })
	})
}

// satisfied is an error where the mesh cannot do what was asked for by name.
func (n Network) satisfied(mesh transport.Mesh, members []rendezvous.Member, rank int) error {
	if n.Transport == TransportShm {
		if r := apart(mesh, members, rank); r >= 0 {
			return BadInput(fmt.Errorf("ranks %d and %d can't share memory on %s: --transport auto goes without", rank, r, members[rank].Host))
		}
	}
	if n.Algorithm == sharedMemory && len(sharing(mesh, rank)) < len(members) {
		return BadInput(fmt.Errorf("algorithm %s: not all %d ranks share memory: they need one host and --transport auto or shm", n.Algorithm, len(members)))
	}
	return nil
}

// Transport is what messages and sums of this session travel by, from this rank: shm, tcp,
// or shm+tcp where other hosts have ranks too. A rank alone needs none.
func (s *Session) Transport() string { return means(s.mesh, s.rank, s.size) }

func means(mesh transport.Mesh, rank, size int) string {
	switch n := len(sharing(mesh, rank)); {
	case size == 1:
		return "none"
	case n == size:
		return TransportShm
	case n > 1:
		return TransportShm + "+" + TransportTCP
	}
	return TransportTCP
}
