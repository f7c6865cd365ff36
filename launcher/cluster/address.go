package cluster

import (
	"net"
	"strconv"
)

// OwnAddress is the address of this host by which the hosts that it joins see it, or else
// by which it reaches other networks: 127.0.0.1 if it has none. Nothing is sent.
func OwnAddress(join []string) string {
	var towards []string
	for _, addr := range join {
		if host, port, err := splitAddr(addr); err == nil {
			towards = append(towards, net.JoinHostPort(host, strconv.Itoa(port)))
		}
	}
	towards = append(towards, "192.0.2.1:9") // nobody's (RFC 5737): it goes where all does
	for _, addr := range towards {
		c, err := net.DialTimeout("udp", addr, dialBound)
		if err != nil {
			continue
		}
		own, _ := c.LocalAddr().(*net.UDPAddr) // of a UDP connection
		_ = c.Close()                          // nothing was sent
		if own != nil && !own.IP.IsUnspecified() {
			return own.IP.String()
		}
	}
	return "127.0.0.1"
}
