package tcp

import (
	"cmp"
	"fmt"
	"hash/crc32"
	"net"
	"time"
)

// Config says where a Fabric listens and whom it trusts. Zero durations mean the default.
type Config struct {
	Listen  string   // address to listen on, "127.0.0.1:0" where empty
	Job     string   // name of the job
	Secret  [32]byte // the job's secret
	Version string   // of the protocol above; at most 31 bytes; differing versions refuse each other
	Encrypt bool     // Fabric.Encrypt from the start

	Handshake time.Duration // for a peer to prove itself (2 s)
	Silence   time.Duration // until a host that answers nothing is lost (3 s)
	Linger    time.Duration // for peers to take an abort (200 ms)
	Checksum  Checksum      // which frames carry a CRC32C
	// CRC32C continues a checksum over a payload: a faster one than the standard library's,
	// which is taken where it is nil.
	CRC32C func(crc uint32, p []byte) uint32

	// Spin is how long who waits for a transport.Flow looks again and again before it sleeps.
	// It saves the cost of waking up, and takes a core while it lasts. 0 is automatic: where
	// every rank of this host can have a core to itself. Less is never.
	Spin time.Duration

	// Wrap, where not nil, replaces the connection of a lane once its handshake is over.
	Wrap func(net.Conn) net.Conn
	// Refused, where not nil, hears of connections that were turned away. It is called from
	// several goroutines and must not block.
	Refused func(from net.Addr, why error)
}

// Checksum says which frames carry a CRC32C of their payload.
type Checksum uint8

// Which frames carry a checksum.
const (
	BetweenHosts Checksum = iota // those whose ends are on different hosts
	Always
	Never
)

// complete checks c and gives what is zero its default.
func (c Config) complete() (Config, error) {
	if len(c.Version) > versionBytes {
		return c, fmt.Errorf("version %q has %d bytes, at most %d are allowed", c.Version, len(c.Version), versionBytes)
	}
	c.Listen = cmp.Or(c.Listen, "127.0.0.1:0")
	c.Handshake = cmp.Or(c.Handshake, 2*time.Second)
	c.Silence = cmp.Or(c.Silence, 3*time.Second)
	c.Linger = cmp.Or(c.Linger, 200*time.Millisecond)
	if c.CRC32C == nil {
		c.CRC32C = func(crc uint32, p []byte) uint32 { return crc32.Update(crc, castagnoli, p) }
	}
	return c, nil
}
