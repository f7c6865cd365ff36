package shm

import (
	"golang.org/x/sys/unix"
)

// replace puts new memory under the arena's addresses, with what Alloc has returned in it.
// Who has mapped the old memory writes to that from now on, where it is not seen.
//
// A rank that was stopped, and was left behind by a new generation for it, has the memory of
// the others still mapped. When it goes on, it does first what it was about to do.
func (a *arena) replace() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	fd, err := newFile(a.size)
	if err != nil {
		return err
	}
	base, err := mapFile(fd, nil, a.size)
	if err != nil {
		unix.Close(fd)
		return err
	}
	fresh := &arena{memory: memory{base, a.size, a.page}, fd: fd}
	err = fresh.name()
	for _, b := range a.heap.used {
		if err != nil {
			break
		}
		pages := a.span(b.span)
		if err = fresh.back(pages.from, pages.to); err == nil {
			err = fresh.back(b.data, b.to)
		}
		if err == nil {
			copy(fresh.bytes(b.data, int(b.bytes)), a.bytes(b.data, int(b.bytes)))
			fresh.mark(b.span, b.id)
		}
	}
	if err == nil {
		_, err = mapFile(fd, a.base, a.size)
	}
	if err != nil {
		fresh.close()
		return err
	}
	unix.MunmapPtr(base, uintptr(a.size))
	unix.Close(a.fd)
	a.fd = fd
	return nil
}
