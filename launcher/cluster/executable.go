package cluster

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"sync"
)

// executable is the gorun that job agents are started from. It may be replaced on disk while a
// daemon runs: what counts is what would be started now.
type executable struct {
	path string

	mu   sync.Mutex
	seen os.FileInfo // the file that the sum is of
	sum  string
}

// digest is the SHA-256 of the file, in hexadecimal.
func (b *executable) digest() (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f, err := os.Open(b.path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // only read from
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if b.seen != nil && os.SameFile(b.seen, info) && b.seen.ModTime().Equal(info.ModTime()) && b.seen.Size() == info.Size() {
		return b.sum, nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	b.seen, b.sum = info, hex.EncodeToString(h.Sum(nil))
	return b.sum, nil
}

// short is as much of a digest as people compare.
func short(digest string) string { return cut(digest, 12) }
