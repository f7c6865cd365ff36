package checkpoint

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"time"
)

// Write publishes a checkpoint as dir/step-<m.Step> and returns that path. When it returns
// without an error the checkpoint is durable; on any error older ones are as they were. One
// of the same step is replaced.
func Write(ctx context.Context, dir string, m Meta, tensors []Tensor) (path string, err error) {
	return write(ctx, osDisk{}, dir, m, tensors)
}

func write(ctx context.Context, d disk, dir string, m Meta, tensors []Tensor) (path string, err error) {
	what := fmt.Sprintf("checkpoint of step %d in %s", m.Step, dir)
	if m.Step < 0 {
		return "", fmt.Errorf("%s: a step is never negative", what)
	}
	data, err := newModel(tensors, nil)
	if err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	defer func() {
		if err == nil {
			return
		}
		path = ""
		if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
			err = fmt.Errorf("%s: %w", what, err)
			return
		}
		err = &IOError{What: what, Bytes: data.bytes, Err: err}
	}()
	unlock, err := enter(d, dir)
	if err != nil {
		return "", err
	}
	defer unlock()
	temp := tempName(dir)
	defer func() {
		if err != nil {
			d.removeAll(temp) // what can't be removed now is swept by the next writer
		}
	}()
	if err := d.mkdir(temp); err != nil {
		return "", err
	}
	sum, err := writeFile(ctx, d, filepath.Join(temp, modelName), data.encode)
	if err != nil {
		return "", err
	}
	text, err := encodeManifest(manifest{
		Job: m.Job, Generation: m.Generation, Step: m.Step, Epoch: m.Epoch, Seed: m.Seed, Model: m.Model, Extra: m.Extra,
		Files: []fileSum{sum}, Created: time.Now().UTC().Truncate(time.Second),
	})
	if err != nil {
		return "", err
	}
	if len(text) > maxManifest {
		return "", fmt.Errorf("its %s would have %d bytes, the limit is %d: put less into Extra", manifestName, len(text), maxManifest)
	}
	_, err = writeFile(ctx, d, filepath.Join(temp, manifestName), func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
	if err != nil {
		return "", err
	}
	if err := d.syncDir(temp); err != nil {
		return "", err
	}
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	path = filepath.Join(dir, stepName(m.Step))
	return path, publish(d, temp, path)
}

// publish gives the finished folder its name. A folder can't be renamed over another, so
// one of the same step steps aside first, under a name that Latest reads too: whenever this
// is cut short, the old one or the new one is found.
//
//	rename step-7        → step-7.old-X
//	rename .gorun-tmp-Y  → step-7
//	fsync
//	discard step-7.old-X
func publish(d disk, temp, path string) error {
	var aside []string
	for {
		err := d.rename(temp, path)
		if err == nil {
			break
		}
		// Another writer may publish the same step at the same time, hence a loop; each
		// round of it takes one such rival.
		const rivals = 8
		if !errors.Is(err, fs.ErrExist) || len(aside) == rivals {
			if len(aside) > 0 {
				d.rename(aside[len(aside)-1], path) // better under its own name; Latest finds it in any case
			}
			return err
		}
		old := path + asideMark + rand.Text()
		if err := d.rename(path, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		aside = append(aside, old)
	}
	if err := d.syncDir(filepath.Dir(path)); err != nil {
		return err
	}
	for _, old := range aside {
		discard(d, old) // or Retain does it
	}
	return nil
}
