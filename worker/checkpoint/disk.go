package checkpoint

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// disk is what writing does to a file system, step by step, so that a test can fail or die
// at every one of them.
type disk interface {
	mkdir(path string) error
	create(path string) (file, error)
	rename(from, to string) error
	syncDir(path string) error
	removeAll(path string) error
}

// file is a file that is being written.
type file interface {
	io.WriteCloser
	Sync() error
}

// osDisk is the real one.
type osDisk struct{}

func (osDisk) mkdir(path string) error { return os.MkdirAll(path, 0o700) }

func (osDisk) create(path string) (file, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

func (osDisk) rename(from, to string) error { return os.Rename(from, to) }

func (osDisk) removeAll(path string) error { return os.RemoveAll(path) }

// syncDir makes the names in a folder durable, as Sync does for a file's content.
func (osDisk) syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	err = f.Sync()
	return errors.Join(err, f.Close())
}

// enter prepares a folder for a writer: it exists, leftovers of dead writers are gone, and
// nobody takes this writer for a dead one until unlock is called.
func enter(d disk, dir string) (unlock func(), err error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := d.mkdir(dir); err != nil {
			return nil, err
		}
		if err := d.syncDir(filepath.Dir(dir)); err != nil {
			return nil, err
		}
	}
	sweep(d, dir)
	return lockShared(dir), nil
}

const tempPrefix = ".gorun-tmp-"

func tempName(dir string) string { return filepath.Join(dir, tempPrefix+rand.Text()) }

// sweep removes what writers that were killed have left in dir. A writer holds a shared
// lock on the folder for as long as it lives, so with the exclusive lock in hand every
// temporary name is a leftover. Failing to remove one costs room, not correctness.
func sweep(d disk, dir string) {
	unlock, ok := tryLockExclusive(dir)
	if !ok {
		return
	}
	defer unlock()
	names, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, n := range names {
		if rest, ok := strings.CutPrefix(n.Name(), tempPrefix); ok && len(rest) == len(rand.Text()) {
			d.removeAll(filepath.Join(dir, n.Name()))
		}
	}
}

// discard removes a folder so that nobody sees half of it under its own name.
func discard(d disk, path string) error {
	temp := tempName(filepath.Dir(path))
	if err := d.rename(path, temp); err != nil {
		return err
	}
	return d.removeAll(temp)
}

// writeFile creates a file, fills it and makes its content durable.
func writeFile(ctx context.Context, d disk, path string, fill func(io.Writer) error) (fileSum, error) {
	f, err := d.create(path)
	if err != nil {
		return fileSum{}, err
	}
	s := &summing{ctx: ctx, file: f, hash: sha256.New()}
	w := bufio.NewWriterSize(s, 256<<10)
	err = fill(w)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return fileSum{Name: filepath.Base(path), Bytes: s.bytes, SHA256: hex.EncodeToString(s.hash.Sum(nil))}, err
}

// summing hashes what passes on its way to a file, in pieces that are still in the cache
// when they are written, and ends with its context.
type summing struct {
	ctx   context.Context
	file  file
	hash  hash.Hash
	bytes int64
}

func (s *summing) Write(p []byte) (n int, err error) {
	const piece = 256 << 10
	for n < len(p) {
		if s.ctx.Err() != nil {
			return n, context.Cause(s.ctx)
		}
		part := p[n:min(len(p), n+piece)]
		s.hash.Write(part)
		k, err := s.file.Write(part)
		n += k
		s.bytes += int64(k)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}
