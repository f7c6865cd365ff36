package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// Retain removes all but the newest keep checkpoints from dir, and what writers that were
// killed have left there. A checkpoint whose manifest or size is wrong does not count as
// one that is kept.
func Retain(dir string, keep int) error { return retain(osDisk{}, dir, keep) }

func retain(d disk, dir string, keep int) error {
	if keep < 1 {
		return fmt.Errorf("keep %d checkpoints in %s: at least 1", keep, dir)
	}
	sweep(d, dir)
	found, err := candidates(dir)
	if err != nil {
		return err
	}
	var (
		kept int
		last = -1 // the last step that was kept
		errs []error
	)
	for _, c := range found {
		path := filepath.Join(dir, c.name)
		if kept < keep && c.step != last {
			if m, f, err := open(path); err == nil {
				f.Close()
				if m.Step == c.step {
					kept++
					last = c.step
				}
			}
			continue
		}
		if err := discard(d, path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return &IOError{What: "old checkpoints in " + dir, Err: errors.Join(errs...)}
	}
	return nil
}
