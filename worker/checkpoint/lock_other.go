//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package checkpoint

// lockShared does nothing here: without locks nothing is ever swept.
func lockShared(string) (unlock func()) { return func() {} }

func tryLockExclusive(string) (unlock func(), ok bool) { return nil, false }
