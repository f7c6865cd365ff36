package transport

// Window is a Mesh whose rank reaches the memory of other ranks: of those on its host.
type Window interface {
	Mesh
	// Sharing is the ranks that reach each other's memory, ascending, this one among them.
	// They all hold the same list. Alone, a rank shares with itself.
	Sharing() []int
	// Alloc is Fabric.Alloc.
	Alloc(bytes int) ([]byte, error)
	// Free is Fabric.Free.
	Free(p []byte) error
	// Place says where in this rank's shared memory p lies. Only what Alloc has returned,
	// and parts of it, lies there.
	Place(p []byte) (at uint64, ok bool)
	// Memory is n bytes of a sharing rank's memory, from what Place says there. It fails
	// where there is no such memory. Who writes to it must be expected to, and must be done
	// before that rank returns from the operation for which it expects it.
	Memory(rank int, at uint64, n int) ([]byte, error)
	// Board returns the lane's board, the same at each call.
	Board(lane int) (Board, error)
}

const (
	// NoteBytes is what a rank can say with a tick.
	NoteBytes = 56
	// AreaBytes is a rank's part of a board.
	AreaBytes = 4 << 20
)

// Board is where the ranks of a host work together on one lane. Each has an area, which all
// can read, and a clock. A rank writes to its area or its note, then publishes a tick; who
// has awaited the tick sees what was written before it. On every rank one goroutine uses
// the board at a time.
//
// Clocks stand at 0 when the generation begins and are compared as a circle, so that they
// may pass from 2³²−1 to 0.
type Board interface {
	// Note is the note that rank gives with tick. There are two, in turns: the note of tick
	// t stands until rank writes that of t+2.
	Note(rank int, tick uint32) []byte
	// Area is rank's area. Only rank writes to it. It begins at a page; its content is not
	// defined when the generation begins.
	Area(rank int) []byte
	// Publish sets this rank's clock to tick, which is one more than the last.
	Publish(tick uint32)
	// Await returns when rank's clock has reached tick, or with the cause once the mesh has ended.
	Await(rank int, tick uint32) error
}
