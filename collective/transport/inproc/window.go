package inproc

import (
	"fmt"
	"slices"

	"github.com/gorun-ml/gorun/collective/transport"
)

var _ transport.Window = (*Mesh)(nil)

// Sharing is the ranks of this host.
func (m *Mesh) Sharing() []int {
	var ranks []int
	for _, p := range m.peers {
		if p.Host == m.host(m.self) {
			ranks = append(ranks, p.Rank)
		}
	}
	slices.Sort(ranks)
	return ranks
}

// Alloc is Fabric.Alloc.
func (m *Mesh) Alloc(bytes int) ([]byte, error) { return m.fabric.Alloc(bytes) }

// Free is Fabric.Free.
func (m *Mesh) Free(p []byte) error { return m.fabric.Free(p) }

// Place says where in this rank's shared memory p lies.
func (m *Mesh) Place(p []byte) (at uint64, ok bool) {
	return address(p), m.fabric.shared.bytes(address(p), len(p)) != nil
}

// Memory is n bytes of a sharing rank's memory.
func (m *Mesh) Memory(rank int, at uint64, n int) ([]byte, error) {
	other := m.sharing(rank)
	if other == nil {
		return nil, fmt.Errorf("rank %d does not share memory with rank %d in generation %d", rank, m.self, m.gen)
	}
	p := other.fabric.shared.bytes(at, n)
	if p == nil {
		return nil, fmt.Errorf("rank %d has allocated no %d bytes at %d", rank, n, at)
	}
	return p, nil
}

// sharing is a mesh on this host, nil where the rank is on another.
func (m *Mesh) sharing(rank int) *Mesh {
	if rank == m.self {
		return m
	}
	if m.host(rank) != m.host(m.self) {
		return nil
	}
	return m.met[rank]
}
