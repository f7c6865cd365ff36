// Package transport moves frames between the ranks of one generation.
//
// A Fabric lives as long as its process. A Mesh is one generation's view of it and ends
// with that generation. A Conn is one ordered lane to one peer.
package transport

import "context"

// A Send of at most EagerBytes does not wait for its Recv while fewer than EagerFrames
// frames of the lane are on their way. An exchange of small frames may therefore send
// first and then receive on one goroutine; everything else needs a goroutine to send.
const (
	EagerBytes  = 8 << 10
	EagerFrames = 4
)

// MaxLanes is how many lanes there may be to one peer. Those from QuietLane on are for who
// waits long for little: a transport sees to it that waiting there costs nothing.
const (
	MaxLanes  = 64
	QuietLane = MaxLanes - 2
)

// Fold reduces src into dst, both of whole elements and of equal length.
type Fold func(dst, src []byte)

// Tag says what a frame belongs to. Both ends of a lane must expect the same tag: a
// difference is a disagreement about order, shape, type or operation, never a reason to
// wait for another frame.
type Tag struct {
	Seq   uint32 // operations on this lane before this one
	Step  uint16 // step within the plan
	Kind  uint8  // collective operation
	Type  uint8  // element type
	Op    uint8  // reduction
	Algo  uint8  // algorithm of the plan
	Root  uint16
	Bytes uint64 // size of the whole operation
}

// Peer is a rank of the generation and where it listens.
type Peer struct {
	Rank int
	ID   string // member ID
	Host string // what its ranks share: a machine or, after HostSeparator, one of its networks
	Addr string
}

// HostSeparator stands in a host's name between its machine and its network: hosts of one
// machine share its cores, and reach each other over links.
const HostSeparator = "/"

// Conn is one ordered lane to one peer. One goroutine may send while another receives.
// All calls end with an error once the mesh that made the connection is closed.
type Conn interface {
	// Send returns when p may be reused.
	Send(tag Tag, p []byte) error
	// Recv fills p, or folds what arrives into p where fold is not nil. The frame's
	// length must be len(p) and its tag must be tag. Folding goes piece by piece, from the
	// front; a piece starts at a multiple of 64 bytes and only the last may end elsewhere.
	// After an error p holds anything.
	Recv(tag Tag, p []byte, fold Fold) error
}

// Mesh connects the ranks of one generation.
type Mesh interface {
	// Conn returns the lane to peer, made on first use. Both ends ask for the same lanes.
	Conn(peer, lane int) (Conn, error)
	// Close ends all calls on the mesh's connections with cause. Where cause is not nil,
	// peers are told that this rank gave up and why, before the connections are closed.
	// Where it is nil they are told that this rank leaves: their calls that need it fail
	// with an ErrLost that says so, everything else goes on.
	// A mesh that has failed by itself must be closed too; its first cause stands.
	Close(cause error) error
}

// Fabric outlives generations.
type Fabric interface {
	// Addr is what peers need in Peer.Addr.
	Addr() string
	// Mesh joins generation gen as rank self. It fails if not all peers have joined
	// before ctx ends; afterwards ctx's end closes the mesh with ctx's cause.
	Mesh(ctx context.Context, gen uint64, self int, peers []Peer) (Mesh, error)
	// Alloc returns zeroed memory that peers on this host may be able to reach. It starts
	// at a page.
	Alloc(bytes int) ([]byte, error)
	// Free gives back what Alloc has returned, whole. No operation uses it any more.
	Free(p []byte) error
	// Close closes the listener and all that is left.
	Close() error
}
