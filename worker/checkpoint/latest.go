package checkpoint

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	stepPrefix = "step-"
	asideMark  = ".old-"
)

func stepName(step int) string { return fmt.Sprintf(stepPrefix+"%09d", step) }

// candidate is a folder that has a checkpoint's name.
type candidate struct {
	name  string
	step  int
	aside bool // stepped aside for one of the same step
}

func parseName(name string) (candidate, bool) {
	plain, _, aside := strings.Cut(name, asideMark)
	digits, ok := strings.CutPrefix(plain, stepPrefix)
	step, err := strconv.Atoi(digits)
	if !ok || err != nil || step < 0 || stepName(step) != plain {
		return candidate{}, false
	}
	return candidate{name: name, step: step, aside: aside}, true
}

// candidates lists the checkpoints in dir, the newest first.
func candidates(dir string) ([]candidate, error) {
	names, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &IOError{What: "checkpoints", Err: err}
	}
	var found []candidate
	for _, n := range names {
		if c, ok := parseName(n.Name()); ok && n.IsDir() {
			found = append(found, c)
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int {
		order := cmp.Compare(b.step, a.step)
		if order == 0 && a.aside != b.aside {
			order = -1
			if a.aside {
				order = 1
			}
		}
		return order
	})
	return found, nil
}

// Latest reads the newest checkpoint in dir that verifies, and says in one line each why
// newer ones were passed over. Without any checkpoint err is ErrNone; where there are some
// but none can be used, err wraps the reason of the newest. One that a newer gorun wrote
// ends the search with ErrNewer: going on from an older one would drop what it holds.
func Latest(dir string) (m Meta, tensors []Tensor, path string, skipped []error, err error) {
	sweep(osDisk{}, dir)
	// A writer or Retain may take folders away while this reads: then the list is old,
	// and the newer list has something newer in it.
	const relists = 16
	for range relists {
		var stale bool
		m, tensors, path, skipped, stale, err = latest(dir)
		if !stale {
			break
		}
	}
	return m, tensors, path, skipped, err
}

func latest(dir string) (m Meta, tensors []Tensor, path string, skipped []error, stale bool, err error) {
	found, err := candidates(dir)
	if err != nil {
		return Meta{}, nil, "", nil, false, err
	}
	if len(found) == 0 {
		return Meta{}, nil, "", nil, false, fmt.Errorf("%s: %w", dir, ErrNone)
	}
	for _, c := range found {
		path := filepath.Join(dir, c.name)
		m, tensors, err := Read(path)
		if err == nil && m.Step != c.step {
			err = fmt.Errorf("%s: %s says step %d: %w", c.name, manifestName, m.Step, ErrDamaged)
		}
		if err == nil {
			return m, tensors, path, skipped, false, nil
		}
		if _, gone := os.Lstat(path); errors.Is(gone, fs.ErrNotExist) {
			stale = true
		}
		if errors.Is(err, ErrNewer) && !errors.Is(err, ErrDamaged) {
			return Meta{}, nil, "", skipped, stale, fmt.Errorf("%s: %w", dir, err)
		}
		skipped = append(skipped, err)
	}
	return Meta{}, nil, "", skipped, stale, fmt.Errorf("%s: none of %d checkpoints can be used: %w", dir, len(found), skipped[0])
}

// Read reads the checkpoint in the folder path and verifies every byte of it. Errors begin
// with the folder's own name.
func Read(path string) (m Meta, tensors []Tensor, err error) {
	defer func() {
		if err != nil {
			m, tensors, err = Meta{}, nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
		}
	}()
	man, f, err := open(path)
	if err != nil {
		return Meta{}, nil, err
	}
	defer f.Close()
	want := man.Files[0]
	hash := sha256.New()
	r := io.TeeReader(f, hash)
	tensors, _, err = decodeModel(r, want.Bytes)
	if _, e := io.Copy(io.Discard, r); e != nil {
		return Meta{}, nil, &IOError{What: modelName, Err: e}
	}
	// The digest speaks first: what decoding stumbled over is only its consequence.
	if got := hex.EncodeToString(hash.Sum(nil)); got != want.SHA256 {
		return Meta{}, nil, fmt.Errorf("%s: SHA-256 differs (%.8s…, the manifest says %.8s…): %w", modelName, got, want.SHA256, ErrDamaged)
	}
	if err != nil {
		return Meta{}, nil, fmt.Errorf("%s: %w: %w", modelName, err, ErrDamaged)
	}
	return man.meta(), tensors, nil
}

// open reads the manifest and opens the model, whose size is as the manifest says. Both
// come from one folder even if another takes its name meanwhile.
func open(path string) (manifest, *os.File, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return manifest{}, nil, missing("the folder", err)
	}
	defer root.Close()
	sheet, err := root.Open(manifestName)
	if err != nil {
		return manifest{}, nil, missing(manifestName, err)
	}
	defer sheet.Close()
	f, err := root.Open(modelName)
	if err != nil {
		return manifest{}, nil, missing(modelName, err)
	}
	raw, err := io.ReadAll(io.LimitReader(sheet, maxManifest))
	if err != nil {
		f.Close()
		return manifest{}, nil, &IOError{What: manifestName, Err: err}
	}
	m, err := decodeManifest(raw)
	if err != nil {
		f.Close()
		return manifest{}, nil, fmt.Errorf("%s: %w", manifestName, err)
	}
	info, err := f.Stat()
	if err == nil && info.Size() != m.Files[0].Bytes {
		err = fmt.Errorf("%s: %d bytes, the manifest says %d: %w", modelName, info.Size(), m.Files[0].Bytes, ErrDamaged)
	}
	if err != nil {
		f.Close()
		return manifest{}, nil, err
	}
	return m, f, nil
}

func missing(what string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is missing: %w", what, ErrDamaged)
	}
	return &IOError{What: what, Err: err}
}
