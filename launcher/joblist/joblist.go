// Package joblist lists the jobs that run on a host, in a folder that only their user can
// read.
package joblist

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gorun-ml/gorun/launcher/private"
)

// Entry is what a launcher tells of its job. Its file is 0600, and locked as long as the
// launcher lives.
type Entry struct {
	Job     string    `json:"job"`
	PID     int       `json:"pid"`
	Broker  string    `json:"broker"` // host:port, or several with commas between them
	Seed    string    `json:"seed"`   // of the key that opens the broker
	Started time.Time `json:"started"`
	Command string    `json:"command"`
	Folder  string    `json:"folder"` // to be removed if the launcher could not

	Keeper string `json:"keeper,omitempty"` // host, where several keep the job
}

// file is the entry's name in its folder.
func (e Entry) file() string {
	if e.Keeper != "" {
		return e.Job + "@" + e.Keeper + ".json"
	}
	return e.Job + ".json"
}

// String doesn't tell the seed, so that no log does.
func (e Entry) String() string { return fmt.Sprintf("job %s (pid %d)", e.Job, e.PID) }

// Held is an entry as its launcher holds it. A nil one is none.
type Held struct {
	path string
	f    *os.File // nil once it is off the list
}

// Enter lists a job in the folder dir, and removes what launchers that were killed have left.
func Enter(dir string, e Entry) (*Held, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := private.Folder(dir); err != nil {
		return nil, err
	}
	scan(dir)
	data, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	// Locked before it has its name, so that it never looks left behind.
	f, err := os.CreateTemp(dir, ".new-*") // 0600
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, e.file())
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
	return &Held{path, f}, nil
}

// Leave takes the job off the list. It may be called again.
func (h *Held) Leave() {
	if h == nil || h.f == nil {
		return
	}
	_ = os.Remove(h.path) // else the next to look removes it
	_ = h.f.Close()
	h.f = nil
}

// Read is the jobs of the folder dir in the order of their start. Where there is no folder
// there are none.
func Read(dir string) ([]Entry, error) {
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err := private.Folder(dir); err != nil {
		return nil, err
	}
	return scan(dir), nil
}

// scan reads the list and takes off it what no launcher holds any more.
func scan(dir string) []Entry {
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil
	}
	var all []Entry
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			continue // it has just ended
		}
		var e Entry
		bad := json.NewDecoder(io.LimitReader(f, 1<<20)).Decode(&e)
		if private.Lock(f) == nil { // its launcher is gone
			_ = os.Remove(name)
			if bad == nil && strings.HasPrefix(filepath.Base(e.Folder), "gorun-"+e.Job+"-") {
				_ = os.RemoveAll(e.Folder)
			}
		} else if bad == nil {
			all = append(all, e)
		}
		_ = f.Close() // only read from
	}
	slices.SortFunc(all, func(a, b Entry) int { return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.Job, b.Job)) })
	return slices.CompactFunc(all, func(a, b Entry) bool { return a.Job == b.Job && a.Seed == b.Seed }) // one of several keepers is enough
}

// From is the entry as it looks from another host, where the launcher's is reached at addr:
// a broker that listens on all addresses is reached at that one.
func (e Entry) From(addr string) Entry {
	brokers := strings.Split(e.Broker, ",")
	for i, b := range brokers {
		if host, port, err := net.SplitHostPort(b); err == nil && net.ParseIP(host).IsUnspecified() {
			brokers[i] = net.JoinHostPort(addr, port)
		}
	}
	e.Broker = strings.Join(brokers, ",")
	return e
}

// Local says whether the job's broker can be reached from the launcher's host alone.
func (e Entry) Local() bool {
	for b := range strings.SplitSeq(e.Broker, ",") {
		host, _, err := net.SplitHostPort(b)
		if err == nil && !net.ParseIP(host).IsLoopback() {
			return false
		}
	}
	return true
}
