package transport

// Flow is a Conn whose frames can also be moved a little at a time without waiting, so that
// one goroutine sends and receives at once. Push and Send, and Pull and Recv, may take turns
// between frames but not within one.
type Flow interface {
	Conn
	// Push sends what goes at once of a frame. It is called with the same frame until done;
	// then p may be reused. moved is the bytes that went with this call, headers included.
	Push(tag Tag, p []byte) (moved int, done bool, err error)
	// Pull receives what has come of a frame. It is called with the same frame until done;
	// until then p holds anything.
	Pull(tag Tag, p []byte, fold Fold) (moved int, done bool, err error)
}

// Waiter is a Mesh whose Flows can be waited for.
type Waiter interface {
	// Wait returns when out may take more or in may have more, sooner without a reason, or
	// with the cause once the mesh has ended. Either may be nil.
	Wait(out, in Flow) error
}
