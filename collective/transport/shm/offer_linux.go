package shm

import (
	"encoding/binary"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// offer says where a process's shared memory is found.
type offer struct {
	process
	space uint64 // namespace of the process's number
	fd    uint32
	size  uint64
	nonce nonce
}

func (o *offer) encode() []byte {
	b := binary.LittleEndian.AppendUint32(nil, o.pid)
	b = binary.LittleEndian.AppendUint64(b, o.start)
	b = binary.LittleEndian.AppendUint64(b, o.space)
	b = binary.LittleEndian.AppendUint32(b, o.fd)
	b = binary.LittleEndian.AppendUint64(b, o.size)
	return append(b, o.nonce[:]...)
}

func (o *offer) decode(b []byte) {
	o.pid = binary.LittleEndian.Uint32(b)
	o.start = binary.LittleEndian.Uint64(b[4:])
	o.space = binary.LittleEndian.Uint64(b[12:])
	o.fd = binary.LittleEndian.Uint32(b[20:])
	o.size = binary.LittleEndian.Uint64(b[24:])
	o.nonce = nonce(b[32:])
}

// open maps the memory that o offers.
func (o *offer) open(page uint64) (m *memory, err error) {
	path := fmt.Sprintf("/proc/%d/fd/%d", o.pid, o.fd)
	switch {
	case o.size == 0:
		return nil, fmt.Errorf("it has none to share")
	case o.space != namespace():
		return nil, fmt.Errorf("process %d is in another process namespace", o.pid)
	case !o.alive():
		return nil, fmt.Errorf("there is no process %d here that was started then: is it in another container?", o.pid)
	case o.size < minReach || o.size > maxSize:
		return nil, fmt.Errorf("it offers %d bytes", o.size)
	}
	// Not to open what another process may have under that number.
	var name [64]byte
	n, err := unix.Readlink(path, name[:])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if !strings.HasPrefix(string(name[:n]), "/memfd:gorun") {
		return nil, fmt.Errorf("%s is %s", path, name[:n])
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil || seals&sealed != sealed || uint64(stat.Size) != o.size {
		return nil, fmt.Errorf("%s may change its size", path)
	}
	base, err := mapFile(fd, nil, o.size)
	if err != nil {
		return nil, err
	}
	m = &memory{base, o.size, page}
	if h := m.head(); h.magic != magic || h.size != o.size || h.nonce != o.nonce {
		m.unmap()
		return nil, fmt.Errorf("%s is not what was offered", path)
	}
	return m, nil
}

func (m *memory) unmap() error { return unix.MunmapPtr(m.base, uintptr(m.size)) }
