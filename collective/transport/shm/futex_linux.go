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

// waitv is what the kernel wants to know of a flag to wait for.
type waitv struct {
	now   uint64
	at    uint64
	flags uint32
	_     uint32
}

const (
	futexU32      = 2
	sysFutexWaitv = 449 // of Linux 5.16, the same on all processors
)

// dozeFor sleeps while two flags are set. It reports false where the system can't.
func dozeFor(v *[2]waitv, until *unix.Timespec) bool {
	_, _, err := syscall.Syscall6(sysFutexWaitv, uintptr(unsafe.Pointer(v)), 2, 0, uintptr(unsafe.Pointer(until)), unix.CLOCK_MONOTONIC, 0)
	return err != unix.ENOSYS && err != unix.EPERM
}

// wake wakes all that sleep at f, in any process.
func wake(f *flag) {
	syscall.RawSyscall(unix.SYS_FUTEX, uintptr(unsafe.Pointer(f)), futexWake, math.MaxInt32)
}

// yield lets another thread run, of any process.
func yield() { syscall.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }
