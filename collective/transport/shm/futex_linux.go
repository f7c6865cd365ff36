package shm

import (
	"math"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	futexWait = 0
	futexWake = 1
)

// doze sleeps while f is set, until somebody wakes it or t is over.
func doze(f *flag, t *unix.Timespec) {
	syscall.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(f)), futexWait, 1, uintptr(unsafe.Pointer(t)), 0, 0)
}

// wake wakes all that sleep at f, in any process.
func wake(f *flag) {
	syscall.RawSyscall(unix.SYS_FUTEX, uintptr(unsafe.Pointer(f)), futexWake, math.MaxInt32)
}

// yield lets another thread run, of any process.
func yield() { syscall.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }
