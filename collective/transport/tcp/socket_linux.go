package tcp

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// setUserTimeout bounds how long sent data may stay unacknowledged.
func setUserTimeout(c *net.TCPConn, d time.Duration) error {
	return set(c, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
	})
}

// setCongestion chooses how fast to send. Loopback needs no pacing, which is all that some
// algorithms do there.
func setCongestion(c *net.TCPConn, algorithm string) error {
	return set(c, func(fd int) error {
		return unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, algorithm)
	})
}

func set(c *net.TCPConn, option func(fd int) error) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var no error
	if err := raw.Control(func(fd uintptr) { no = option(int(fd)) }); err != nil {
		return err
	}
	return no
}
