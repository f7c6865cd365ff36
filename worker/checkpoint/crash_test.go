package checkpoint

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

var errPoint = errors.New("failpoint")

// crashDisk is the real file system up to operation number at, or up to byte number cut.
// There it fails once, or, with kill, dies: nothing has an effect from there on.
//
// It also remembers what has not been synced, so that powerCut can take it back.
type crashDisk struct {
	osDisk
	at   int   // operation that fails, from 1; 0 for none
	cut  int64 // bytes after which a write fails; -1 for none
	kill bool
	late bool // the operation takes effect and then fails

	ops     int
	written int64
	dead    bool
	files   []*crashFile
	names   []change // not yet synced
}

// change is an entry of a folder: a rename, or a creation if from is empty.
type change struct{ from, to string }

type crashFile struct {
	disk          *crashDisk
	f             *os.File
	size, durable int64
}

// step counts an operation and does it, or not.
func (d *crashDisk) step(do func() error) error {
	if d.dead {
		return errPoint
	}
	d.ops++
	if d.ops != d.at {
		return do()
	}
	d.dead = d.kill
	if d.late {
		if err := do(); err != nil {
			return err
		}
	}
	return errPoint
}

func (d *crashDisk) mkdir(path string) error {
	return d.step(func() error {
		d.names = append(d.names, change{to: path})
		return d.osDisk.mkdir(path)
	})
}

func (d *crashDisk) create(path string) (f file, err error) {
	err = d.step(func() error {
		real, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		d.names = append(d.names, change{to: path})
		c := &crashFile{disk: d, f: real}
		d.files = append(d.files, c)
		f = c
		return nil
	})
	return f, err
}

func (d *crashDisk) rename(from, to string) error {
	return d.step(func() error {
		if err := d.osDisk.rename(from, to); err != nil {
			return err
		}
		for i, n := range d.names { // what is inside moves too
			if rest, ok := strings.CutPrefix(n.to, from+"/"); ok {
				d.names[i].to = to + "/" + rest
			}
		}
		d.names = append(d.names, change{from, to})
		return nil
	})
}

func (d *crashDisk) removeAll(path string) error {
	return d.step(func() error { return d.osDisk.removeAll(path) })
}

func (d *crashDisk) syncDir(path string) error {
	return d.step(func() error {
		var left []change
		for _, n := range d.names {
			if filepath.Dir(n.to) != path {
				left = append(left, n)
			}
		}
		d.names = left
		return nil
	})
}

func (c *crashFile) Write(p []byte) (n int, err error) {
	err = c.disk.step(func() error {
		d := c.disk
		if d.cut >= 0 && d.written+int64(len(p)) > d.cut {
			n, _ = c.f.Write(p[:d.cut-d.written])
			d.dead = d.kill
			d.written, d.cut = d.cut, -1
			c.size += int64(n)
			return errPoint
		}
		n, err = c.f.Write(p)
		d.written += int64(n)
		c.size += int64(n)
		return err
	})
	return n, err
}

func (c *crashFile) Sync() error {
	return c.disk.step(func() error {
		c.durable = c.size
		return nil
	})
}

// Close keeps the descriptor: powerCut needs it.
func (c *crashFile) Close() error { return c.disk.step(func() error { return nil }) }

// powerCut takes back what no sync has made durable: contents, and entries of folders as
// far as lost says.
func (d *crashDisk) powerCut(lost func(change) bool) error {
	d.dead = true
	for _, c := range d.files {
		if err := c.f.Truncate(c.durable); err != nil {
			return err
		}
	}
	for i := len(d.names) - 1; i >= 0; i-- {
		n := d.names[i]
		if _, err := os.Lstat(n.to); err != nil || !lost(n) {
			continue
		}
		if n.from == "" {
			if err := os.RemoveAll(n.to); err != nil {
				return err
			}
		} else if err := os.Rename(n.to, n.from); err != nil {
			return err
		}
	}
	return nil
}

func (d *crashDisk) close() {
	for _, c := range d.files {
		c.f.Close()
	}
}
