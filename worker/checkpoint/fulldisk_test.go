package checkpoint

import (
	"os"
	"syscall"
	"testing"
)

// limitedDisk is the real file system with room for a number of bytes, for machines on
// which a test may not mount a small one.
type limitedDisk struct {
	osDisk
	room int
}

type limitedFile struct {
	file
	disk *limitedDisk
}

func (d *limitedDisk) create(path string) (file, error) {
	f, err := d.osDisk.create(path)
	return limitedFile{f, d}, err
}

func (f limitedFile) Write(p []byte) (int, error) {
	fits := min(len(p), f.disk.room)
	f.disk.room -= fits
	n, err := f.file.Write(p[:fits])
	if err == nil && fits < len(p) {
		err = &os.PathError{Op: "write", Path: modelName, Err: syscall.ENOSPC}
	}
	return n, err
}

func (d *limitedDisk) removeAll(path string) error {
	d.room = 1 << 20
	return d.osDisk.removeAll(path)
}

// smallDisk is a folder on a disk with room for 1 MiB.
func smallDisk(t *testing.T) (string, disk) {
	dir := t.TempDir()
	if mountSmall(t, dir) {
		return dir, osDisk{}
	}
	return dir, &limitedDisk{room: 1 << 20}
}
