package cluster

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Key is what the hosts of a cluster have in common, and nobody else.
type Key [32]byte

// String doesn't tell the key, so that no log does.
func (Key) String() string { return "a cluster key" }

// derive makes a key for one purpose. The cluster's key is uniformly random, so it needs no
// salt, and no key tells anything about another (RFC 5869).
func (k Key) derive(purpose string) []byte {
	key, err := hkdf.Key(sha256.New, k[:], nil, purpose, 32)
	if err != nil {
		panic("cluster: HKDF of 32 bytes: " + err.Error())
	}
	return key
}

// KeyFile is where the key of a user's cluster is kept.
func KeyFile(lookup func(string) (string, bool)) string {
	if dir, ok := lookup("XDG_CONFIG_HOME"); ok && filepath.IsAbs(dir) {
		return filepath.Join(dir, "gorun", "cluster.key")
	}
	home, _ := lookup("HOME")
	return filepath.Join(home, ".config", "gorun", "cluster.key")
}

// ReadKey reads a key that nobody but this user can read or replace.
func ReadKey(path string) (Key, error) {
	k, err := readKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Key{}, fmt.Errorf("%w: %s doesn't exist: start gorun agent here, which makes it, or copy it from a host that has it: %s", ErrKey, path, copying(path))
	}
	return k, err
}

func readKey(path string) (k Key, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO must not wait
	if err != nil {
		return Key{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	defer func() { _ = f.Close() }() // only read from
	for _, check := range []struct {
		path   string
		stat   func() (fs.FileInfo, error)
		denied fs.FileMode
		what   string
		mode   string
	}{
		{path, f.Stat, 0o077, "others may read", "600"},
		{filepath.Dir(path), func() (fs.FileInfo, error) { return os.Stat(filepath.Dir(path)) }, 0o022, "others may write to", "700"},
	} {
		info, err := check.stat()
		if err != nil {
			return Key{}, fmt.Errorf("%w: %w", ErrKey, err)
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() && st.Uid != 0 {
			return Key{}, fmt.Errorf("%w: %s belongs to user %d: make one of yours, or name another with --key", ErrKey, check.path, st.Uid)
		}
		if m := info.Mode().Perm(); m&check.denied != 0 && info.Mode()&fs.ModeSticky == 0 {
			return Key{}, fmt.Errorf("%w: %s has mode %03o, so that %s it: chmod %s %s, and make a new key if others have used it", ErrKey, check.path, m, check.what, check.mode, check.path)
		}
	}
	data, err := io.ReadAll(io.LimitReader(f, int64(len(k))+1))
	if err != nil {
		return Key{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	if len(data) != len(k) {
		return Key{}, fmt.Errorf("%w: %s has not %d bytes: copy it anew from a host that has it: %s", ErrKey, path, len(k), copying(path))
	}
	copy(k[:], data)
	return k, nil
}

// EnsureKey reads the key, or makes it where there is none. A key that was made has to be
// copied to the other hosts: made says how, in one line.
func EnsureKey(path string) (k Key, made string, err error) {
	if k, err = readKey(path); !errors.Is(err, fs.ErrNotExist) {
		return k, "", err
	}
	if err = makeKey(path); err != nil && !errors.Is(err, fs.ErrExist) { // another has been faster
		return Key{}, "", fmt.Errorf("%w: %w", ErrKey, err)
	}
	if err == nil {
		made = fmt.Sprintf("made a key for this cluster, %s; to copy it to another host: %s", path, copying(path))
	}
	k, err = readKey(path)
	return k, made, err
}

// copying is the command that copies the key to another host.
func copying(path string) string {
	return fmt.Sprintf("ssh HOST 'umask 077; mkdir -p %s; cat >%s' <%s", filepath.Dir(path), path, path)
}

// makeKey makes a key file that is there whole or not at all. It replaces none.
func makeKey(path string) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".cluster.key-*") // 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // linked under its name, or of no use
	var k Key
	_, _ = rand.Read(k[:]) // never fails
	_, err = f.Write(k[:])
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), path)
}
