//go:build !linux

package tcp

import (
	"errors"
	"net"
)

// flows says that lanes can be used as transport.Flow.
const flows = false

// descriptor is a socket that is read and written without the runtime's poller. Not on
// this system: lanes don't offer transport.Flow.
type descriptor struct{}

func describe(*net.TCPConn) (*descriptor, error) { return nil, errors.ErrUnsupported }

func (*descriptor) write(_, _, _ []byte) (int, error) { return 0, errors.ErrUnsupported }
func (*descriptor) read(_, _ []byte) (int, error)     { return 0, errors.ErrUnsupported }
func (*descriptor) wakeAt(int) error                  { return nil }
func (*descriptor) interrupt()                        {}
func (*descriptor) close()                            {}

type polled struct {
	lanes [0]*lane
	n     int
}

func (*polled) add(*lane, bool) error { return errors.ErrUnsupported }
func (*polled) sleep(Bell) error      { return errors.ErrUnsupported }
func yield()                          {}
