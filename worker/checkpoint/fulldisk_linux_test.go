package checkpoint

import (
	"syscall"
	"testing"
)

// mountSmall mounts a real file system of 1 MiB, where the user may.
func mountSmall(t *testing.T, dir string) bool {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Logf("tmpfs: %v; counting bytes instead", err)
		return false
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return true
}
