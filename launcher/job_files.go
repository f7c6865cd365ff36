package launcher

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
)

// program is what a candidate on this host executes. What the launcher built, or found in a
// folder, is fetched once a host and kept under its digest; a name is looked up here.
func (h *hostAgent) program(o control.StartOrder) (string, error) {
	if o.Digest == "" {
		path, err := exec.LookPath(o.Path)
		if err != nil {
			return "", fmt.Errorf("%s: not in PATH there: install it, or give gorun its path", o.Path)
		}
		return path, nil
	}
	cache := h.cache
	if cache == "" {
		cache = h.folder
	}
	path := filepath.Join(cache, o.Digest, filepath.Base(o.Path))
	if _, err := os.Stat(path); err == nil {
		now := time.Now()
		_ = os.Chtimes(filepath.Dir(path), now, now) // else it may be fetched again in some days
		return path, nil
	}
	tidy(cache, time.Now().Add(-programAge))
	if err := h.fetch(o.Digest, path, 0o700); err != nil {
		remedy := ""
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			remedy = ": free some there"
		}
		return "", fmt.Errorf("program %s: %w%s", filepath.Base(o.Path), err, remedy)
	}
	return path, nil
}

// programCache is where programs are kept for the next job; "" for nowhere.
func programCache() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "gorun", "programs")
}

// programAge is how long a program is kept after its last use.
const programAge = 7 * 24 * time.Hour

// tidy removes programs that were not used since a time.
func tidy(cache string, since time.Time) {
	all, err := os.ReadDir(cache)
	if err != nil {
		return // there is none yet
	}
	for _, d := range all {
		if info, err := d.Info(); err == nil && len(d.Name()) == 64 && info.ModTime().Before(since) {
			_ = os.RemoveAll(filepath.Join(cache, d.Name())) // the next to come tries again
		}
	}
}

// fetch puts a file of the launcher's at path: whole, or not at all.
func (h *hostAgent) fetch(digest, path string, mode os.FileMode) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".fetch-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already after the rename
	err = h.client.Fetch(h.ctx, digest, f)
	if err == nil {
		err = f.Chmod(mode)
	}
	if bad := f.Close(); err == nil {
		err = bad
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}
