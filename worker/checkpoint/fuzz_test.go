package checkpoint

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Headers that must be refused, each for one reason; also the seeds of the fuzzing.
var badHeaders = map[string]string{
	"no object":           `[]`,
	"a space in front":    ` {}`,
	"nothing":             ``,
	"no end":              `{"w":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}`,
	"text after the end":  `{"w":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}} x`,
	"a name twice":        `{"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"w":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}`,
	"metadata twice":      `{"__metadata__":{},"__metadata__":{},"w":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}`,
	"metadata of numbers": `{"__metadata__":{"a":1},"w":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}`,
	"an overlap":          `{"v":{"dtype":"U8","shape":[5],"data_offsets":[0,5]},"w":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}`,
	"a hole":              `{"v":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"w":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}`,
	"a hole in front":     `{"w":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}`,
	"bytes left over":     `{"w":{"dtype":"U8","shape":[7],"data_offsets":[0,7]}}`,
	"too few bytes":       `{"w":{"dtype":"U8","shape":[9],"data_offsets":[0,9]}}`,
	"reversed offsets":    `{"w":{"dtype":"U8","shape":[8],"data_offsets":[8,0]}}`,
	"negative offsets":    `{"w":{"dtype":"U8","shape":[16],"data_offsets":[-8,8]}}`,
	"three offsets":       `{"w":{"dtype":"U8","shape":[8],"data_offsets":[0,8,8]}}`,
	"no offsets":          `{"w":{"dtype":"U8","shape":[8]}}`,
	"no shape":            `{"w":{"dtype":"U8","data_offsets":[0,1]}}`,
	"another size":        `{"w":{"dtype":"F32","shape":[8],"data_offsets":[0,8]}}`,
	"a negative shape":    `{"w":{"dtype":"U8","shape":[-8],"data_offsets":[0,8]}}`,
	"an overflow":         `{"w":{"dtype":"F64","shape":[4294967296,4294967296,2],"data_offsets":[0,8]}}`,
	"an overflow by one":  `{"w":{"dtype":"F64","shape":[2305843009213693953],"data_offsets":[0,8]}}`,
	"a number too large":  `{"w":{"dtype":"U8","shape":[8],"data_offsets":[0,99999999999999999999]}}`,
	"an unknown type":     `{"w":{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]}}`,
	"no type":             `{"w":{"dtype":"","shape":[8],"data_offsets":[0,8]}}`,
	"an unknown member":   `{"w":{"dtype":"U8","shape":[8],"data_offsets":[0,8],"stride":[1]}}`,
	"null":                `{"w":null}`,
}

// Headers that other writers may produce.
var goodHeaders = map[string]string{
	"plain":        `{"w":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}   `,
	"any order":    `{"w":{"dtype":"U8","shape":[4],"data_offsets":[4,8]},"v":{"data_offsets":[0,4],"shape":[2,2],"dtype":"I8"}}`,
	"metadata":     `{"w":{"dtype":"I64","shape":[],"data_offsets":[0,8]},"__metadata__":{"format":"pt"}}`,
	"empty tensor": `{"e":{"dtype":"F32","shape":[0,7],"data_offsets":[4,4]},"v":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"w":{"dtype":"F16","shape":[2],"data_offsets":[4,8]}}`,
	"escapes":      `{"w\u0031\"":{"dtype":"BF16","shape":[4],"data_offsets":[0,8]}}`,
}

func TestHeaders(t *testing.T) {
	for name, h := range badHeaders {
		if e, _, err := decodeHeader([]byte(h), 8); err == nil {
			t.Errorf("%s was accepted: %v", name, e)
		}
	}
	for name, h := range goodHeaders {
		if _, _, err := decodeHeader([]byte(h), 8); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is decoded can be encoded, and then means the same.
func FuzzHeader(f *testing.F) {
	for _, h := range badHeaders {
		f.Add([]byte(h), int64(8))
	}
	for _, h := range goodHeaders {
		f.Add([]byte(h), int64(8))
	}
	f.Fuzz(func(t *testing.T, h []byte, data int64) {
		entries, metadata, err := decodeHeader(h, data)
		if err != nil {
			return
		}
		again, err := encodeHeader(entries, metadata)
		if err != nil {
			t.Fatal(err)
		}
		if n := binary.LittleEndian.Uint64(again); n != uint64(len(again)-8) || n%8 != 0 {
			t.Fatalf("a header of %d bytes says %d", len(again)-8, n)
		}
		twice, _, err := decodeHeader(again[8:], data)
		if err != nil {
			t.Fatalf("%q: %v", again, err)
		}
		if !slices.EqualFunc(entries, twice, func(a, b entry) bool {
			return a.name == b.name && a.kind == b.kind && slices.Equal(a.shape, b.shape) && a.begin == b.begin && a.end == b.end
		}) {
			t.Fatalf("%v became %v", entries, twice)
		}
	})
}

func FuzzModel(f *testing.F) {
	m, err := newModel(sample(3), map[string]string{"k": "v"})
	if err != nil {
		f.Fatal(err)
	}
	var good bytes.Buffer
	if err := m.encode(&good); err != nil {
		f.Fatal(err)
	}
	f.Add(good.Bytes())
	f.Add(good.Bytes()[:20])
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff{}"))
	f.Add([]byte("\x02\x00\x00\x00\x00\x00\x00\x00{}"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		tensors, _, err := decodeModel(bytes.NewReader(raw), int64(len(raw)))
		if err != nil {
			return
		}
		bytes := 0
		for _, x := range tensors {
			bytes += len(x.Data.Bytes)
		}
		if bytes > len(raw) {
			t.Fatalf("%d bytes of tensors from a file of %d", bytes, len(raw))
		}
	})
}

func FuzzManifest(f *testing.F) {
	dir := f.TempDir()
	path, err := Write(context.Background(), dir, meta(5), sample(5))
	if err != nil {
		f.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(path, manifestName))
	if err != nil {
		f.Fatal(err)
	}
	body := raw[:len(raw)-sealBytes]
	f.Add(body)
	f.Add(bytes.Replace(body, []byte(`"format": 1`), []byte(`"format": 9`), 1))
	f.Add([]byte("{"))
	f.Add([]byte(`{"format": 1, "files": [{}]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := decodeManifest(body); err == nil {
			t.Fatal("accepted without its seal")
		}
		// Sealed, so that the fuzzing gets behind the digest.
		m, err := decodeManifest(append(bytes.Clone(body), seal(body)...))
		if err != nil {
			return
		}
		again, err := encodeManifest(m)
		if err != nil {
			return // a year that RFC 3339 has no digits for
		}
		if _, err := decodeManifest(again); err != nil {
			t.Fatalf("%s: %v", again, err)
		}
	})
}
