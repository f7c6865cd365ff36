package main

import (
	"bytes"
	"errors"
	"net"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// mayCapture says whether this process may read what others send.
func mayCapture() bool {
	fd, err := packetSocket()
	if err == nil {
		_ = unix.Close(fd)
	}
	return err == nil
}

func packetSocket() (int, error) {
	const network = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8 // in network order
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return -1, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, network)
	if err != nil {
		return -1, err
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20) // it may lose some without
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: network, Ifindex: lo.Index}),
	)
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// heard TEXT COMMAND... runs a command, which must succeed, and checks that a packet with the
// text has crossed loopback meanwhile; ! heard, that none has. Packets are not kept, so that
// what others do there costs nothing.
func heard(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: [!] heard TEXT COMMAND...")
	}
	fd, err := packetSocket()
	ts.Check(err)
	defer func() { _ = unix.Close(fd) }()
	stop := make(chan struct{})
	packets := 0
	var listener sync.WaitGroup
	listener.Go(func() {
		b := make([]byte, 128<<10)
		for {
			n, _, err := unix.Recvfrom(fd, b, 0)
			if err == nil {
				if bytes.Contains(b[:n], []byte(args[0])) {
					packets++
				}
				continue
			}
			select { // nothing is left to be read
			case <-stop:
				return
			default:
			}
		}
	})
	err = ts.Exec(args[1], args[2:]...)
	close(stop)
	listener.Wait()
	ts.Check(err)
	if packets > 0 == neg {
		ts.Fatalf("%q was in %d packets", args[0], packets)
	}
}
