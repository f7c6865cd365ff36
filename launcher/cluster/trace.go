package cluster

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/gorun-ml/gorun/launcher/private"
)

// trace is what a daemon leaves in the runtime folder, so that commands on its host find it
// without being told. Its file is 0600, and locked as long as the daemon lives.
type trace struct {
	Name    string `json:"name"`
	Control string `json:"control"` // host:port
	PID     int    `json:"pid"`
}

const traceSuffix = ".agent"

// leaveTrace writes the file. What it returns removes it again.
func leaveTrace(dir string, t trace) (remove func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := private.Folder(dir); err != nil {
		return nil, err
	}
	data, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	// Locked before it has its name, so that it never looks left behind.
	f, err := os.CreateTemp(dir, ".new-*") // 0600
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, strconv.Itoa(t.PID)+traceSuffix)
	err = private.Lock(f)
	if err == nil {
		_, err = f.Write(data)
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return nil, errors.Join(err, f.Close())
	}
	return func() {
		_ = os.Remove(path) // else the next to look removes it
		_ = f.Close()
	}, nil
}

// traces reads what living daemons have left, and removes what dead ones have.
func traces(dir string) ([]trace, error) {
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err := private.Folder(dir); err != nil {
		return nil, err
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"+traceSuffix))
	if err != nil {
		return nil, err
	}
	var all []trace
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			continue // it has just gone
		}
		var t trace
		bad := json.NewDecoder(io.LimitReader(f, 4096)).Decode(&t)
		if private.Lock(f) == nil { // its daemon is gone
			_ = os.Remove(name)
		} else if bad == nil {
			all = append(all, t)
		}
		_ = f.Close() // only read from
	}
	return all, nil
}
