package worker

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gorun-ml/gorun/topology"
	"github.com/gorun-ml/gorun/worker/probe"
)

// fresh is how long costs that were measured are believed. Networks are rebuilt.
const fresh = 7 * 24 * time.Hour

// mostKept bounds a file of costs.
const mostKept = 16 << 20

// fitting is a file with costs, as another job with the same hosts reads it.
type fitting struct {
	Format   int             `json:"format"`
	Hosts    string          `json:"hosts"` // and transport
	Measured time.Time       `json:"measured"`
	Links    json.RawMessage `json:"links"`
}

const fittingFormat = 1

// fittingPath is where costs of a key are kept.
func fittingPath(dir, key string) string {
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(dir, "links-"+hex.EncodeToString(sum[:8])+".json")
}

// recall reads costs that were kept. What is old, damaged or another's is as good as nothing.
func recall(dir, key string, now time.Time) (topology.Links, bool) {
	file, err := os.Open(fittingPath(dir, key))
	if err != nil {
		return topology.Links{}, false
	}
	defer file.Close() // only read from
	text, err := io.ReadAll(io.LimitReader(file, mostKept))
	if err != nil {
		return topology.Links{}, false
	}
	var f fitting
	if json.Unmarshal(text, &f) != nil || f.Format != fittingFormat || f.Hosts != key {
		return topology.Links{}, false
	}
	if age := now.Sub(f.Measured); age > fresh || age < -time.Hour {
		return topology.Links{}, false
	}
	links, err := probe.Decode(f.Links)
	return links, err == nil
}

// keeper is a place for costs that are about to be measured: no use measuring what can't be
// kept, unless it was asked for by name.
type keeper struct {
	dir   string
	file  *os.File // temporary; nil where costs are only for this job
	force bool     // in the place of what others have kept
}

// newKeeper is nil where costs can't be kept and needn't be measured.
func newKeeper(dir, key string, force bool) *keeper {
	k := &keeper{dir: dir, force: force}
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		k.file, err = os.CreateTemp(dir, ".links-*") // 0600
	}
	if err != nil && !force {
		return nil
	}
	return k
}

// drop gives the place up.
func (k *keeper) drop() {
	if k != nil && k.file != nil {
		_ = os.Remove(k.file.Name()) // it is empty
		_ = k.file.Close()
	}
}

// keep keeps links and returns those to be used: what another job of the same hosts has kept
// in the meantime wins.
func (k *keeper) keep(key string, links topology.Links, now time.Time) topology.Links {
	if k.file == nil {
		return links
	}
	defer k.drop()
	text, err := json.MarshalIndent(fitting{fittingFormat, key, now, probe.Encode(links)}, "", "  ")
	if err != nil {
		panic("worker: " + err.Error()) // words and numbers
	}
	if _, err = k.file.Write(append(text, '\n')); err != nil {
		return links
	}
	path := fittingPath(k.dir, key)
	if !k.force {
		err := os.Link(k.file.Name(), path)
		if err == nil {
			return links
		}
		if earlier, ok := recall(k.dir, key, now); ok && errors.Is(err, fs.ErrExist) {
			return earlier
		}
	}
	_ = os.Rename(k.file.Name(), path) // else the next job measures anew
	return links
}
