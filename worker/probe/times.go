package probe

// What is measured. A probe is of several sizes where a rate follows from it.
const (
	local    = iota // half a round trip between two ranks of a host
	burst           // between two of many small messages, one way
	together        // every rank of a host sends to the next, all at once
	outward         // the ranks of every host send to those of the next, all at once
	folding         // one rank folds
	ticking         // the ranks of a host tell each other that they have come
	copying         // the ranks of a host copy at once, in memory
	cached          // the same in the caches
	remote          // half a round trip between hosts, the first of mostRounds
	kinds    = remote + mostRounds
)

// mostRounds bounds how many other hosts a host is measured with.
const mostRounds = 4

// few is the bytes of a small message.
const few = 4

// sizes of each kind, in bytes, ascending.
var sizes = [kinds][]int{
	local:      {few, 4 << 10, 64 << 10, 256 << 10, 1 << 20},
	burst:      {few},
	together:   {64 << 10, 256 << 10, 1 << 20},
	outward:    {64 << 10, 256 << 10, 1 << 20},
	folding:    {32 << 10, 128 << 10},
	ticking:    {few},
	copying:    {8 << 20, 16 << 20}, // all ranks together
	cached:     {64 << 10, 256 << 10},
	remote:     {few, 4 << 10, 64 << 10, 256 << 10},
	remote + 1: {few, 4 << 10, 64 << 10, 256 << 10},
	remote + 2: {few, 4 << 10, 64 << 10, 256 << 10},
	remote + 3: {few, 4 << 10, 64 << 10, 256 << 10},
}

// mostSizes is how many sizes a kind has at most.
const mostSizes = 5

// times is what one rank has measured, in seconds; 0 where it has not.
type times [kinds][mostSizes]float64

// timesBytes is the length of times on the wire.
const timesBytes = 8 * kinds * mostSizes

// share is a rank's part of a size that is that of all ranks of a host together.
func share(kind, i, ranks int) int { return sizes[kind][i] / ranks &^ 63 }
