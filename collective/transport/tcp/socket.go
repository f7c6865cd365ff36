package tcp

import (
	"net"
	"time"
)

// tune prepares a connection. Only control connections, which are always read, get a bound
// on unacknowledged data: Linux counts a full receive window as unacknowledged, and a rank
// that is late in receiving is not a rank that is lost.
func tune(c *net.TCPConn, control bool, silence time.Duration) error {
	second := max(silence/3, time.Second)
	err := c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: second, Interval: second, Count: 3})
	switch {
	case err != nil:
	case control:
		err = setUserTimeout(c, silence)
	case sameHost(c):
		err = c.SetWriteBuffer(loopbackBytes)
		setCongestion(c, "reno") // where it can't be had, the system's will do
	}
	return err
}

// loopbackBytes is on its way between two ranks of a host at most: what the one has written
// should still be in the cache when the other reads it. The system's own choice grows to
// several MiB, which halves the speed.
const loopbackBytes = 128 << 10

// sameHost tells whether a connection ends where it begins.
func sameHost(c *net.TCPConn) bool {
	here, ok := c.LocalAddr().(*net.TCPAddr)
	there, also := c.RemoteAddr().(*net.TCPAddr)
	return ok && also && here.IP.Equal(there.IP)
}
