// Package topology says who talks to whom and in what order, as data.
package topology

// None stands for "no peer" in a Step.
const None = -1

// Span is the chunks [Lo, Hi) of buffer Buf. Where a chunk's bytes lie is an argument
// of a run: chunks may be empty then, and both ends of an exchange skip empty spans.
type Span struct{ Buf, Lo, Hi int }

// Ref names a step of a track of the same plan.
type Ref struct{ Track, Step int }

// Step is one duplex exchange: Send goes to SendTo while Recv arrives from RecvFrom,
// either of which may be None. A received span is folded into the buffer where Reduce
// is set and replaces its content otherwise. Send and Recv may overlap only if Reduce
// is set; what is sent is then the content from before the fold.
type Step struct {
	SendTo, RecvFrom int
	Send, Recv       Span
	Reduce           bool
	After            []Ref // steps of other tracks that must have ended
}

// Plan is what one rank does in one collective operation. Tracks run at once, each on
// connections of its own; the steps of a track run one after the other. The k-th message
// that a rank sends to a peer on a track is the k-th that the peer receives from it on
// that track; the two steps need not have the same index. A track may be empty.
type Plan struct {
	Rank, Size, Chunks int
	Tracks             [][]Step
}

// Algorithm builds the plan of one rank. It is called on every rank for itself, never
// for all ranks at one place.
type Algorithm func(w World, rank int) Plan

// Kind is a collective operation's contract, as Verify checks it.
type Kind uint8

// The collective operations. Buffer 0 is the operation's data, in place. It has
// Plan.Chunks chunks for AllReduce, Broadcast and Reduce, and one chunk a rank for
// ReduceScatter, AllGather, Gather and Scatter (chunk r is rank r's). AllToAll sends from
// buffer 0 (chunk r goes to rank r) and receives into buffer 1 (chunk r comes from rank r),
// each rank copying its own chunk itself. On ranks other than the root, Reduce leaves
// partial sums in the buffer; so does ReduceScatter in chunks of other ranks.
const (
	AllReduce Kind = iota
	ReduceScatter
	AllGather
	Broadcast
	Reduce
	Gather
	Scatter
	AllToAll
)

// String is the operation's name: all-reduce, broadcast, …
func (k Kind) String() string { return kindNames[k] }

var kindNames = [...]string{
	AllReduce: "all-reduce", ReduceScatter: "reduce-scatter", AllGather: "all-gather", Broadcast: "broadcast",
	Reduce: "reduce", Gather: "gather", Scatter: "scatter", AllToAll: "all-to-all",
}

// Plans builds the plans of all ranks, for those who look at an operation as a whole:
// Verify, Estimate, the drawings.
func Plans(w World, a Algorithm) []Plan {
	w = w.indexed()
	plans := make([]Plan, w.Size())
	for rank := range plans {
		plans[rank] = a(w, rank)
	}
	return plans
}

// Collective is an operation and, for the rooted ones, its root.
type Collective struct {
	Kind Kind
	Root int
}
