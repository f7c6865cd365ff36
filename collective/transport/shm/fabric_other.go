//go:build !linux

package shm

import (
	"errors"

	"github.com/gorun-ml/gorun/collective/transport/tcp"
)

// Fabric is a tcp fabric: sharing memory needs Linux.
type Fabric struct{ *tcp.Fabric }

// New returns inner, as memory is not shared on this system.
func New(inner *tcp.Fabric, c Config) (*Fabric, error) {
	if _, err := c.complete(); err != nil {
		return nil, err
	}
	if c.Require {
		return nil, errors.New("memory is shared on Linux only")
	}
	return &Fabric{inner}, nil
}
