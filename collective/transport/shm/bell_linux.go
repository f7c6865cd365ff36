package shm

import (
	"fmt"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// bell wakes who sleeps until one of several things happens, sockets among them: a pipe that
// the process itself holds at both ends. A neighbour that has something for the sleeper opens
// it through /proc, as it has opened the memory, and writes a byte.
type bell struct{ hear, pull int }

// bells are a process's, one for each lane that ever had a use for it.
type bells struct {
	mu sync.Mutex
	of map[int]bell
}

// get finds or makes a lane's bell.
func (b *bells) get(lane int) (bell, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if have, ok := b.of[lane]; ok {
		return have, nil
	}
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return bell{}, fmt.Errorf("a pipe to sleep at: %w", err)
	}
	made := bell{hear: ends[0], pull: ends[1]}
	if b.of == nil {
		b.of = map[int]bell{}
	}
	b.of[lane] = made
	return made, nil
}

// ring wakes all sleepers of this process.
func (b *bells) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, one := range b.of {
		strike(one.pull)
	}
}

func (b *bells) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, one := range b.of {
		unix.Close(one.hear)
		unix.Close(one.pull)
	}
	b.of = nil
}

var stroke = [1]byte{1}

// strike does nothing where the pipe is full: the sleeper has not looked yet.
func strike(fd int) { unix.Write(fd, stroke[:]) }

// hush takes what was struck, so that the bell can be slept at again.
func (b bell) hush() {
	var strokes [64]byte
	for {
		if n, _ := unix.Read(b.hear, strokes[:]); n < len(strokes) {
			return
		}
	}
}

// ringer rings the bells of one process.
type ringer struct {
	process process

	mu    sync.Mutex
	bells map[uint64]int // descriptors by the number that the process has for them, −1 where it can't be had
}

// wakeAt wakes who sleeps at the bell that e speaks of. Where the bell can't be reached, the
// sleeper looks by itself, later.
func (r *ringer) wakeAt(e *end) {
	number := e.bell.Load()
	r.mu.Lock()
	defer r.mu.Unlock()
	fd, ok := r.bells[number]
	if !ok {
		fd = r.process.openBell(number)
		if r.bells == nil {
			r.bells = map[uint64]int{}
		}
		r.bells[number] = fd
	}
	if fd >= 0 {
		strike(fd)
	}
}

func (r *ringer) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, fd := range r.bells {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	r.bells = nil
}

// openBell opens the end of a pipe that the process says to have, −1 where that fails.
func (p process) openBell(number uint64) int {
	path := fmt.Sprintf("/proc/%d/fd/%d", p.pid, number)
	var name [64]byte
	n, err := unix.Readlink(path, name[:])
	if err != nil || !p.alive() || !strings.HasPrefix(string(name[:n]), "pipe:") {
		return -1
	}
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1
	}
	return fd
}
