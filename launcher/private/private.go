// Package private is for what one user's processes leave for each other in a folder.
package private

import (
	"fmt"
	"os"
	"syscall"
)

// Folder refuses a folder that others could have made or could write to: whoever owns the
// list of jobs could send gorun ps to a broker of theirs.
func Folder(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.IsDir():
		return fmt.Errorf("%s is not a folder: remove it", dir)
	case ok && int(st.Uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to user %d: set XDG_RUNTIME_DIR to a folder of yours", dir, st.Uid)
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("%s is open to others: chmod 700 it", dir)
	}
	return nil
}

// Lock takes the lock on an open file, or fails where another process holds it.
func Lock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }
