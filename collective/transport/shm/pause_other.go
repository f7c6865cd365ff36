//go:build !amd64

package shm

// pause does nothing: a call of it takes its time.
//
//go:noinline
func pause() {}
