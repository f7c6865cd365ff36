package collective

import (
	"fmt"
	"strings"

	"github.com/gorun-ml/gorun/collective/transport"
	"github.com/gorun-ml/gorun/kernels"
	"github.com/gorun-ml/gorun/topology"
)

// kind is what an operation is, as frames carry it.
type kind uint8

const (
	allReduce kind = iota + 1
	reduceScatter
	allGather
	broadcast
	reduce
	gather
	scatter
	allToAll
	allGatherV
	allToAllV
	barrier
	grouping // members of a new group agree on its lanes
	watching // reports of ranks that wait for others
)

var kindNames = [...]string{
	allReduce: "all-reduce", reduceScatter: "reduce-scatter", allGather: "all-gather", broadcast: "broadcast",
	reduce: "reduce", gather: "gather", scatter: "scatter", allToAll: "all-to-all", allGatherV: "all-gather of uneven parts",
	allToAllV: "all-to-all of uneven parts", barrier: "barrier", grouping: "group", watching: "watch",
}

func (k kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return fmt.Sprintf("operation of unknown kind %d", uint8(k))
}

// rooted is set for operations in which one rank differs from the others.
func (k kind) rooted() bool { return k == broadcast || k == reduce || k == gather || k == scatter }

// contract is the operation as topology knows it.
func (k kind) contract() topology.Kind {
	switch k {
	case reduceScatter:
		return topology.ReduceScatter
	case allGather, allGatherV:
		return topology.AllGather
	case broadcast:
		return topology.Broadcast
	case reduce:
		return topology.Reduce
	case gather:
		return topology.Gather
	case scatter:
		return topology.Scatter
	case allToAll, allToAllV:
		return topology.AllToAll
	default:
		return topology.AllReduce
	}
}

// sizeBits is how much of Tag.Bytes is the operation's size. Above it is a digest of the
// counts that an operation on uneven parts was called with.
const sizeBits = 48

func sizeOf(t transport.Tag) uint64 { return t.Bytes & (1<<sizeBits - 1) }

// same tells whether two ranks run the same operation, whatever step they are at.
func same(a, b transport.Tag) bool {
	a.Step, b.Step = 0, 0
	return a == b
}

// describe says in words what a rank runs: all-reduce of 64 float32 (sum).
func describe(t transport.Tag) string {
	var b strings.Builder
	b.WriteString(kind(t.Kind).String())
	if ty := kernels.Type(t.Type); ty >= kernels.Float32 && ty <= kernels.Uint8 {
		if k := kind(t.Kind); k == allToAllV {
			fmt.Fprintf(&b, " of %s", ty)
		} else {
			fmt.Fprintf(&b, " of %d %s", sizeOf(t)/uint64(ty.Size()), ty)
		}
	}
	if op := kernels.Op(t.Op); op >= kernels.Sum && op <= kernels.Average {
		fmt.Fprintf(&b, " (%s)", op)
	}
	if kind(t.Kind).rooted() {
		fmt.Fprintf(&b, " with root %d", t.Root)
	}
	return b.String()
}
