package inproc

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"unsafe"

	"github.com/gorun-ml/gorun/collective/transport"
)

// memory is what a fabric has allocated. Places in it are addresses.
type memory struct {
	mu     sync.Mutex
	blocks [][]byte // by address
}

func address(p []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(p)))) }

func (m *memory) alloc(bytes int) ([]byte, error) {
	p, err := transport.Pages(bytes)
	if err != nil || bytes == 0 {
		return p, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	i, _ := m.find(address(p))
	m.blocks = slices.Insert(m.blocks, i, p)
	return p, nil
}

func (m *memory) free(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	i, ok := m.find(address(p))
	if !ok || len(m.blocks[i]) != len(p) {
		return fmt.Errorf("%d bytes are freed that Alloc has not returned so", len(p))
	}
	m.blocks = slices.Delete(m.blocks, i, i+1)
	return nil
}

// find is the index of the block at an address, or where it would be.
func (m *memory) find(at uint64) (int, bool) {
	return slices.BinarySearchFunc(m.blocks, at, func(b []byte, at uint64) int { return cmp.Compare(address(b), at) })
}

// bytes is n bytes from at on, nil where they are not part of one block.
func (m *memory) bytes(at uint64, n int) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, ok := m.find(at)
	if !ok {
		i--
	}
	if i < 0 || n <= 0 {
		return nil
	}
	b := m.blocks[i]
	from := at - address(b)
	if from >= uint64(len(b)) || uint64(n) > uint64(len(b))-from {
		return nil
	}
	return b[from : from+uint64(n) : from+uint64(n)]
}
