package checkpoint

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gorun-ml/gorun/kernels"
)

// model is one safetensors file, ready to be written.
type model struct {
	header []byte
	data   []kernels.Vector // in the file's order
	bytes  int64
}

func newModel(tensors []Tensor, metadata map[string]string) (model, error) {
	entries, err := layout(tensors)
	if err != nil {
		return model{}, err
	}
	header, err := encodeHeader(entries, metadata)
	if err != nil {
		return model{}, err
	}
	m := model{header: header, bytes: int64(len(header))}
	for _, i := range dataOrder(entries) {
		m.data = append(m.data, tensors[i].Data)
		m.bytes += int64(len(tensors[i].Data.Bytes))
	}
	return m, nil
}

func (m model) encode(w io.Writer) error {
	if _, err := w.Write(m.header); err != nil {
		return err
	}
	for _, d := range m.data {
		if _, err := w.Write(d.Bytes); err != nil {
			return err
		}
	}
	return nil
}

// decodeModel reads a file of size bytes. It allocates nothing that size does not cover.
func decodeModel(r io.Reader, size int64) ([]Tensor, map[string]string, error) {
	var prefix [8]byte
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		return nil, nil, fmt.Errorf("%d bytes are too few for a safetensors file: %w", size, err)
	}
	n := binary.LittleEndian.Uint64(prefix[:])
	if n > maxHeader || int64(n) > size-8 {
		return nil, nil, fmt.Errorf("a header of %d bytes in a file of %d", n, size)
	}
	header := make([]byte, n)
	if _, err := io.ReadFull(r, header); err != nil {
		return nil, nil, err
	}
	entries, metadata, err := decodeHeader(header, size-8-int64(n))
	if err != nil {
		return nil, nil, err
	}
	tensors := make([]Tensor, len(entries))
	for _, i := range dataOrder(entries) {
		e := entries[i]
		bytes := e.end - e.begin
		// Words, so that the memory is aligned for any element.
		data := kernels.Of(make([]int64, (bytes+7)/8)).Bytes[:bytes:bytes]
		if _, err := io.ReadFull(r, data); err != nil {
			return nil, nil, fmt.Errorf("tensor %q: %w", e.name, err)
		}
		tensors[i] = Tensor{Name: e.name, Shape: e.shape, Data: kernels.Vector{Type: e.kind, Bytes: data}}
	}
	return tensors, metadata, nil
}

// WriteModel writes one safetensors file, which other tools can read too. The file appears
// whole or not at all; one of the same name is replaced.
func WriteModel(path string, tensors []Tensor, metadata map[string]string) error {
	return writeModel(osDisk{}, path, tensors, metadata)
}

func writeModel(d disk, path string, tensors []Tensor, metadata map[string]string) (err error) {
	m, err := newModel(tensors, metadata)
	if err != nil {
		return fmt.Errorf("model %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = &IOError{What: "model " + path, Bytes: m.bytes, Err: err}
		}
	}()
	dir := filepath.Dir(path)
	unlock, err := enter(d, dir)
	if err != nil {
		return err
	}
	defer unlock()
	temp := tempName(dir)
	defer func() {
		if err != nil {
			d.removeAll(temp) // what can't be removed now is removed by the next writer
		}
	}()
	if _, err := writeFile(context.Background(), d, temp, m.encode); err != nil {
		return err
	}
	if err := d.rename(temp, path); err != nil {
		return err
	}
	return d.syncDir(dir)
}

// ReadModel reads one safetensors file. The tensors come in the order of its header.
func ReadModel(path string) ([]Tensor, map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, &IOError{What: "model", Err: err}
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, &IOError{What: "model", Err: err}
	}
	tensors, metadata, err := decodeModel(f, info.Size())
	var failed *fs.PathError
	if errors.As(err, &failed) {
		return nil, nil, &IOError{What: "model", Err: err}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("model %s: %w: %w", path, err, ErrDamaged)
	}
	return tensors, metadata, nil
}
