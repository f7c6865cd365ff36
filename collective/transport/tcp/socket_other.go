//go:build !linux

package tcp

import (
	"net"
	"time"
)

// setUserTimeout does nothing here: keep-alive finds a silent peer later.
func setUserTimeout(*net.TCPConn, time.Duration) error { return nil }

// setCongestion does nothing here.
func setCongestion(*net.TCPConn, string) error { return nil }
