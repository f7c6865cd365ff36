package shm

import (
	"crypto/rand"
	"fmt"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/gorun-ml/gorun/collective/transport"
)

// arena is this process's shared memory.
type arena struct {
	memory
	mu   sync.Mutex
	fd   int
	heap *heap
}

const sealed = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL

// newArena makes memory that reaches far, or less far where the system has not the addresses.
func newArena(reach uint64) (*arena, error) {
	if reach == 0 {
		var info unix.Sysinfo_t
		if err := unix.Sysinfo(&info); err != nil {
			return nil, fmt.Errorf("how much memory there is: %w", err)
		}
		reach = uint64(info.Totalram) * uint64(info.Unit)
	}
	page := uint64(os.Getpagesize())
	for size := min(up(max(reach, minReach), large), maxSize); ; size = max(up(size/2, large), minReach) {
		fd, err := newFile(size)
		if err == nil {
			var base unsafe.Pointer
			base, err = mapFile(fd, nil, size)
			if err == nil {
				a := &arena{memory: memory{base, size, page}, fd: fd, heap: newHeap(blocksAt(size, page), size, page)}
				if err = a.name(); err == nil {
					return a, nil
				}
				a.close()
				return nil, err
			}
			unix.Close(fd)
		}
		if size <= minReach {
			return nil, err
		}
	}
}

// newFile makes an unnamed file that neither shrinks nor grows. Who maps it need not fear
// that the memory goes away.
func newFile(size uint64) (int, error) {
	fd, err := unix.MemfdCreate("gorun", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return 0, fmt.Errorf("a file in memory: %w", err)
	}
	err = unix.Fchmod(fd, 0o600)
	if err == nil {
		err = unix.Ftruncate(fd, int64(size))
	}
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, sealed)
	}
	if err != nil {
		unix.Close(fd)
		return 0, fmt.Errorf("a file of %d bytes in memory: %w", size, err)
	}
	return fd, nil
}

// mapFile maps a file, at an address where that is not nil.
func mapFile(fd int, at unsafe.Pointer, size uint64) (unsafe.Pointer, error) {
	flags := unix.MAP_SHARED | unix.MAP_NORESERVE
	if at != nil {
		flags |= unix.MAP_FIXED
	}
	base, err := unix.MmapPtr(fd, 0, at, uintptr(size), unix.PROT_READ|unix.PROT_WRITE, flags)
	if err != nil {
		return nil, fmt.Errorf("mapping %d bytes: %w", size, err)
	}
	// Cores of all ranks together need not hold everything many times over.
	_ = unix.Madvise(unsafe.Slice((*byte)(base), size), unix.MADV_DONTDUMP)
	return base, nil
}

// name writes the head. The memory is new.
func (a *arena) name() error {
	if err := a.back(0, clocksAt+transport.MaxLanes*2*lineStride); err != nil {
		return err
	}
	h := a.head()
	rand.Read(h.nonce[:])
	h.size, h.magic = a.size, magic
	return nil
}

// back gets memory for a part of the arena, so that the lack of it is an error and not the
// end of the process.
func (a *arena) back(from, to uint64) error {
	from, to = from&^(a.page-1), up(to, a.page)
	for {
		err := unix.Fallocate(a.fd, unix.FALLOC_FL_KEEP_SIZE, int64(from), int64(to-from))
		switch err {
		case nil:
			return nil
		case unix.EINTR:
			continue
		}
		return fmt.Errorf("%d bytes of shared memory: %w", to-from, err)
	}
}

// drop gives memory back. It reads as zeros from now on.
func (a *arena) drop(from, to uint64) error {
	for {
		err := unix.Fallocate(a.fd, unix.FALLOC_FL_KEEP_SIZE|unix.FALLOC_FL_PUNCH_HOLE, int64(from), int64(to-from))
		if err != unix.EINTR {
			return err
		}
	}
}

// alloc returns zeroed memory.
func (a *arena) alloc(bytes int, user bool) (block, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	b, ok := a.heap.take(uint64(bytes))
	if !ok {
		return b, fmt.Errorf("%d bytes of shared memory: %w: the reach is %d bytes in all", bytes, unix.ENOMEM, a.size)
	}
	err := a.drop(b.from, b.to) // a late writer may have left something
	if err == nil {
		err = a.back(b.data, b.to)
	}
	pages := a.span(b.span)
	if err == nil {
		err = a.back(pages.from, pages.to)
	}
	if err != nil {
		a.drop(b.from, b.to)
		a.heap.give(b)
		return b, err
	}
	if b.to-b.data >= large {
		// Where the system has no large pages for files, small ones do.
		_ = unix.Madvise(a.bytes(b.from, int(b.to-b.from)), unix.MADV_HUGEPAGE)
	}
	i, _ := a.heap.find(b.from)
	a.heap.used[i].user = user
	a.mark(b.span, b.id)
	return b, nil
}

// span is where the arena says whom the pages of s belong to.
func (a *arena) span(s span) span {
	return span{pagesAt + s.from/a.page*4, pagesAt + (s.to-1)/a.page*4 + 4}
}

// free gives back a block.
func (a *arena) free(b block) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mark(b.span, 0)
	a.heap.give(b)
	return a.drop(b.from, b.to)
}

// place says where p lies, if it lies in a block that Alloc has returned.
func (a *arena) place(p []byte) (b block, at uint64, ok bool) {
	if len(p) == 0 {
		return b, 0, false
	}
	at = uint64(uintptr(unsafe.Pointer(unsafe.SliceData(p)))) - uint64(uintptr(a.base))
	if at >= a.size {
		return b, 0, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	b, ok = a.heap.at(at, uint64(len(p)))
	return b, at, ok && b.user
}

// restart makes the arena say nothing to anybody: clocks and ends are as new.
func (a *arena) restart() error {
	if err := a.drop(up(endsAt, a.page), areasAt); err != nil {
		return err
	}
	clear(a.bytes(clocksAt, int(up(endsAt, a.page)-clocksAt)))
	return nil
}

func (a *arena) close() error {
	err := unix.MunmapPtr(a.base, uintptr(a.size))
	if e := unix.Close(a.fd); err == nil {
		err = e
	}
	return err
}
