// Package shm lets the ranks of a host reach each other's memory.
//
// It stands on tcp, which says who is there, who leaves and who has died. Every process
// keeps what it shares in one unnamed file in memory, and maps those of its neighbours
// through /proc: there is nothing that could be left behind. Lanes between neighbours are
// rings in that memory, lanes to other hosts are tcp's.
package shm

import (
	"cmp"
	"fmt"
	"time"
)

// Config says how ranks of a host share memory. The zero Config is useful.
type Config struct {
	// Require makes it an error that ranks of a host cannot share memory. They use tcp
	// otherwise.
	Require bool
	// Forbid leaves everything to tcp.
	Forbid bool
	// Reach is how much memory can be shared at most. It costs addresses, not memory; what
	// the host has where it is 0.
	Reach uint64
	// Ring is how many bytes are on their way on a lane at most (256 KiB).
	Ring int
	// Spin is how long to look for a neighbour's answer before sleeping, where each rank
	// of the host has a core (100 µs). Where ranks outnumber cores, they let each other run.
	Spin time.Duration
	// Nap is after how long a sleeper looks by itself, in case that whoever was to wake it
	// has died (10 ms).
	Nap time.Duration
}

const minRing = 64 << 10 // for EagerFrames frames of EagerBytes, and their headers

// complete checks c and gives what is zero its default.
func (c Config) complete() (Config, error) {
	c.Ring = cmp.Or(c.Ring, 256<<10)
	c.Spin = cmp.Or(c.Spin, 100*time.Microsecond)
	c.Nap = cmp.Or(c.Nap, 10*time.Millisecond)
	switch {
	case c.Require && c.Forbid:
		return c, fmt.Errorf("sharing memory is both required and forbidden")
	case c.Ring < minRing || c.Ring&(c.Ring-1) != 0:
		return c, fmt.Errorf("a ring of %d bytes: it needs a power of two, %d at least", c.Ring, minRing)
	}
	return c, nil
}
