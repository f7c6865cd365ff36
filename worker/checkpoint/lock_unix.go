//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package checkpoint

import (
	"os"
	"syscall"
)

// lockShared says, until unlock is called or the process dies, that dir has a live writer.
// Where the file system has no locks it does nothing: sweep finds none either and removes
// nothing.
func lockShared(dir string) (unlock func()) {
	unlock, ok := lock(dir, syscall.LOCK_SH)
	if !ok {
		return func() {}
	}
	return unlock
}

// tryLockExclusive succeeds if dir has no live writer.
func tryLockExclusive(dir string) (unlock func(), ok bool) {
	return lock(dir, syscall.LOCK_EX|syscall.LOCK_NB)
}

func lock(dir string, how int) (unlock func(), ok bool) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, false
	}
	for {
		err = syscall.Flock(int(f.Fd()), how)
		if err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, false
	}
	return func() { f.Close() }, true
}
