package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

const (
	format       = 1
	modelName    = "model.safetensors"
	manifestName = "manifest.json"
	maxManifest  = 1 << 20
)

// manifest is what manifest.json says.
type manifest struct {
	Format     int               `json:"format"`
	Job        string            `json:"job"`
	Generation uint64            `json:"generation"`
	Step       int               `json:"step"`
	Epoch      int               `json:"epoch"`
	Seed       uint64            `json:"seed"`
	Model      string            `json:"model"`
	Extra      map[string]string `json:"extra,omitempty"`
	Files      []fileSum         `json:"files"`
	Created    time.Time         `json:"created"` // for people; nothing is decided by it
}

// fileSum is what a file must be, byte for byte.
type fileSum struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

func (m manifest) meta() Meta {
	return Meta{Job: m.Job, Generation: m.Generation, Step: m.Step, Epoch: m.Epoch, Seed: m.Seed, Model: m.Model, Extra: m.Extra}
}

// A manifest vouches for the files, and its last member vouches for the manifest: the
// SHA-256 of every byte in front of it. That holds for all formats to come, so a newer
// format is told from a flipped bit.
const sealKey = ",\n  \"sha256\": \""

const sealBytes = len(sealKey) + 2*sha256.Size + len("\"\n}\n")

func encodeManifest(m manifest) ([]byte, error) {
	m.Format = format
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, err
	}
	body := bytes.TrimSuffix(text, []byte("\n}"))
	return append(body, seal(body)...), nil
}

func seal(body []byte) string {
	sum := sha256.Sum256(body)
	return sealKey + hex.EncodeToString(sum[:]) + "\"\n}\n"
}

func decodeManifest(raw []byte) (manifest, error) {
	var probe struct {
		Format int `json:"format"`
	}
	// Looked at before the seal, so that both reasons are named where someone edited it.
	newer := json.Unmarshal(raw, &probe) == nil && probe.Format > format
	body := raw[:max(0, len(raw)-sealBytes)]
	sealed := string(raw[len(body):]) == seal(body)
	switch {
	case newer && sealed:
		return manifest{}, fmt.Errorf("format %d, this gorun reads %d: %w", probe.Format, format, ErrNewer)
	case newer:
		return manifest{}, fmt.Errorf("format %d, this gorun reads %d (%w), and its SHA-256 differs: %w", probe.Format, format, ErrNewer, ErrDamaged)
	case !sealed:
		return manifest{}, fmt.Errorf("its SHA-256 differs: %w", ErrDamaged)
	}
	var m struct {
		manifest
		SHA256 string `json:"sha256"`
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m); err != nil {
		return manifest{}, fmt.Errorf("%w: %w", err, ErrDamaged)
	}
	if m.Format < 1 || m.Step < 0 || len(m.Files) != 1 || m.Files[0].Name != modelName || m.Files[0].Bytes < 0 {
		return manifest{}, fmt.Errorf("does not describe one %s: %w", modelName, ErrDamaged)
	}
	return m.manifest, nil
}
