package checkpoint

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/gorun-ml/gorun/kernels"
)

// The safetensors format (https://huggingface.co/docs/safetensors):
//
//	┌──────────┬───────────────────────────────────────────┬───────────────┐
//	│ length n │ n bytes of JSON, padded with spaces       │ the tensors   │
//	│ 8 bytes  │ {"w":{"dtype","shape","data_offsets"}, …} │ without a gap │
//	└──────────┴───────────────────────────────────────────┴───────────────┘
//
// Everything is little-endian; offsets count from the first tensor's byte.
const (
	maxHeader   = 100_000_000 // the format's own limit
	metadataKey = "__metadata__"
)

var dtypes = [...]string{
	kernels.Float32: "F32", kernels.Float64: "F64", kernels.Float16: "F16", kernels.BFloat16: "BF16",
	kernels.Int8: "I8", kernels.Int32: "I32", kernels.Int64: "I64", kernels.Uint8: "U8",
}

// entry is a tensor's place in a file: its data is the bytes [begin, end).
type entry struct {
	name       string
	kind       kernels.Type
	shape      []int
	begin, end int64
}

// layout gives every tensor its place. The data of wide elements comes first, so that each
// tensor is aligned for its type in a mapped file; the entries keep the tensors' order.
func layout(tensors []Tensor) ([]entry, error) {
	entries := make([]entry, len(tensors))
	names := make(map[string]bool, len(tensors))
	for i, t := range tensors {
		size, err := sizeOf(t.Data.Type, t.Shape)
		switch {
		case err != nil:
			return nil, fmt.Errorf("tensor %q: %w", t.Name, err)
		case size != int64(len(t.Data.Bytes)):
			return nil, fmt.Errorf("tensor %q: %s %v takes %d bytes, its data has %d", t.Name, t.Data.Type, t.Shape, size, len(t.Data.Bytes))
		case t.Name == "" || t.Name == metadataKey || !utf8.ValidString(t.Name):
			return nil, fmt.Errorf("tensor %d: %q can't be a tensor's name", i, t.Name)
		case names[t.Name]:
			return nil, fmt.Errorf("tensor %d: the name %q occurs twice", i, t.Name)
		}
		names[t.Name] = true
		entries[i] = entry{name: t.Name, kind: t.Data.Type, shape: t.Shape, end: size}
	}
	order := make([]int, len(entries))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(entries[b].kind.Size(), entries[a].kind.Size()) })
	var at int64
	for _, i := range order {
		e := &entries[i]
		e.begin, e.end = at, at+e.end
		at = e.end
	}
	return entries, nil
}

// dataOrder lists the entries' indices as their data lies in the file.
func dataOrder(entries []entry) []int {
	order := make([]int, len(entries))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		x, y := &entries[a], &entries[b]
		return cmp.Or(cmp.Compare(x.begin, y.begin), cmp.Compare(x.end, y.end))
	})
	return order
}

// encodeHeader is the bytes of a file in front of its tensors, a multiple of 8 long.
func encodeHeader(entries []entry, metadata map[string]string) ([]byte, error) {
	h := append(make([]byte, 8), '{')
	if len(metadata) > 0 {
		text, err := json.Marshal(metadata)
		if err != nil {
			return nil, err
		}
		h = append(h, `"`+metadataKey+`":`...)
		h = append(h, text...)
	}
	for _, e := range entries {
		if len(h) > 9 {
			h = append(h, ',')
		}
		name, err := json.Marshal(e.name)
		if err != nil {
			return nil, err
		}
		h = append(h, name...)
		h = append(h, `:{"dtype":"`+dtypes[e.kind]+`","shape":[`...)
		for i, d := range e.shape {
			if i > 0 {
				h = append(h, ',')
			}
			h = strconv.AppendInt(h, int64(d), 10)
		}
		h = fmt.Appendf(h, `],"data_offsets":[%d,%d]}`, e.begin, e.end)
	}
	h = append(h, '}')
	for len(h)%8 != 0 {
		h = append(h, ' ')
	}
	if len(h)-8 > maxHeader {
		return nil, fmt.Errorf("a header of %d bytes is over the format's limit of %d: fewer or shorter names", len(h)-8, maxHeader)
	}
	binary.LittleEndian.PutUint64(h, uint64(len(h)-8))
	return h, nil
}

// decodeHeader reads the JSON of a header that is followed by data bytes of tensors. Every
// byte of those must belong to exactly one tensor.
func decodeHeader(header []byte, data int64) ([]entry, map[string]string, error) {
	if len(header) == 0 || header[0] != '{' {
		return nil, nil, errors.New("the header does not begin with {")
	}
	dec := json.NewDecoder(bytes.NewReader(header))
	dec.DisallowUnknownFields()
	if _, err := dec.Token(); err != nil {
		return nil, nil, fmt.Errorf("header: %w", err)
	}
	var (
		entries  []entry
		metadata map[string]string
		seen     = map[string]bool{}
	)
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, nil, fmt.Errorf("header: %w", err)
		}
		name, _ := token.(string) // an object's keys are strings, or Token has failed
		if seen[name] {
			return nil, nil, fmt.Errorf("header: the name %q occurs twice", name)
		}
		seen[name] = true
		if name == metadataKey {
			if err := dec.Decode(&metadata); err != nil {
				return nil, nil, fmt.Errorf("header: %s: %w", metadataKey, err)
			}
			continue
		}
		e, err := decodeEntry(dec)
		if err != nil {
			return nil, nil, fmt.Errorf("header: tensor %q: %w", name, err)
		}
		e.name = name
		entries = append(entries, e)
	}
	if _, err := dec.Token(); err != nil {
		return nil, nil, fmt.Errorf("header: %w", err)
	}
	if rest := bytes.TrimLeft(header[dec.InputOffset():], " "); len(rest) > 0 {
		return nil, nil, fmt.Errorf("header: %d bytes after its end", len(rest))
	}
	var at int64
	for _, i := range dataOrder(entries) {
		if e := entries[i]; e.begin != at {
			return nil, nil, fmt.Errorf("header: tensor %q begins at byte %d, the one before ends at %d", e.name, e.begin, at)
		}
		at = entries[i].end
	}
	if at != data {
		return nil, nil, fmt.Errorf("%d bytes of tensors, the header promises %d", data, at)
	}
	return entries, metadata, nil
}

func decodeEntry(dec *json.Decoder) (entry, error) {
	var e struct {
		Dtype   string  `json:"dtype"`
		Shape   []int   `json:"shape"`
		Offsets []int64 `json:"data_offsets"`
	}
	if err := dec.Decode(&e); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return entry{}, err
	}
	kind := slices.Index(dtypes[:], e.Dtype)
	if kind < int(kernels.Float32) {
		return entry{}, fmt.Errorf("unknown dtype %q", e.Dtype)
	}
	if e.Shape == nil || len(e.Offsets) != 2 {
		return entry{}, errors.New("needs a shape and two data_offsets")
	}
	size, err := sizeOf(kernels.Type(kind), e.Shape)
	if err != nil {
		return entry{}, err
	}
	begin, end := e.Offsets[0], e.Offsets[1]
	if begin < 0 || end < begin || end-begin != size {
		return entry{}, fmt.Errorf("data_offsets [%d, %d] for %s %v, which takes %d bytes", begin, end, e.Dtype, e.Shape, size)
	}
	return entry{kind: kernels.Type(kind), shape: e.Shape, begin: begin, end: end}, nil
}

// sizeOf is the bytes of a tensor.
func sizeOf(kind kernels.Type, shape []int) (int64, error) {
	if kind < kernels.Float32 || int(kind) >= len(dtypes) {
		return 0, fmt.Errorf("unknown element type %d", kind)
	}
	empty := slices.Contains(shape, 0) // then the other factors can't overflow it
	size := int64(kind.Size())
	for _, d := range shape {
		if d < 0 || (!empty && int64(d) > math.MaxInt64/size) {
			return 0, fmt.Errorf("impossible shape %v", shape)
		}
		if !empty {
			size *= int64(d)
		}
	}
	if empty {
		size = 0
	}
	return size, nil
}
