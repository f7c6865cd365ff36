package idx

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// encode writes what Read reads.
func encode(t Type, shape []int, data []byte) []byte {
	b := []byte{0, 0, byte(t), byte(len(shape))}
	for _, d := range shape {
		b = binary.BigEndian.AppendUint32(b, uint32(d))
	}
	return append(b, data...)
}

func pack(t testing.TB, b []byte) []byte {
	t.Helper()
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

func write(t testing.TB, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadsPlainAndPacked(t *testing.T) {
	plain := encode(Uint8, []int{2, 3}, []byte{1, 2, 3, 4, 5, 6})
	sum := sha256.Sum256(plain)
	for _, c := range []struct {
		name, digest string
		data         []byte
	}{
		{"x", "", plain},
		{"x", hex.EncodeToString(sum[:]), plain},
		{"x", strings.ToUpper(hex.EncodeToString(sum[:])), plain},
		{"x.gz", "", pack(t, plain)},
		{"packed without the suffix", "", pack(t, plain)},
	} {
		a, err := Open(write(t, c.name, c.data), c.digest)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if a.Type != Uint8 || !slices.Equal(a.Shape, []int{2, 3}) || a.Len() != 2 || !slices.Equal(a.Item(1), []byte{4, 5, 6}) {
			t.Errorf("%s: read %v", c.name, a)
		}
	}
}

func TestReadsEveryType(t *testing.T) {
	for typ, data := range map[Type]string{
		Uint8: "fe", Int8: "fe", Int16: "fffe", Int32: "fffffffe", Float32: "c0000000", Float64: "c000000000000000",
	} {
		b, err := hex.DecodeString(data)
		if err != nil {
			t.Fatal(err)
		}
		a, err := Read(bytes.NewReader(encode(typ, []int{1}, b)))
		if err != nil {
			t.Errorf("%v: %v", typ, err)
			continue
		}
		want := -2.0
		if typ == Uint8 {
			want = 254
		}
		if got := a.Float64(0); got != want {
			t.Errorf("%v: element 0 = %v, want %v", typ, got, want)
		}
	}
}

func TestRefusesDamage(t *testing.T) {
	plain := encode(Uint8, []int{2, 3}, []byte{1, 2, 3, 4, 5, 6})
	packed := pack(t, plain)
	flipped := slices.Clone(packed)
	flipped[len(flipped)-8] ^= 1 // in the CRC
	for _, c := range []struct {
		name, digest, want string
		data               []byte
	}{
		{"empty", "", "is cut off: the header has 0 bytes", nil},
		{"header", "", "is cut off: the header has 9 bytes, want 12 for 2 dimensions", plain[:9]},
		{"short", "", "is cut off: 5 bytes after the header, want 6 for [2 3] uint8", plain[:len(plain)-1]},
		{"long", "", "has 8 bytes after the header, want 6", append(slices.Clone(plain), 7, 8)},
		{"text", "", "is not an IDX file: it starts with 48656c6c", []byte("Hello, world")},
		{"no type", "", "is not an IDX file", encode(10, []int{1}, []byte{1})},
		{"no dimensions", "", "is not an IDX file", encode(Uint8, nil, []byte{1})},
		{"nothing", "", "has no elements", encode(Uint8, []int{0, 28, 28}, nil)},
		{"huge", "", "is cut off: 1 bytes after the header, want 4294967295", encode(Uint8, []int{1<<32 - 1}, []byte{1})},
		{"overflow", "", "more elements than memory", encode(Uint8, []int{1<<32 - 1, 1<<32 - 1, 4}, []byte{1})},
		{"crc.gz", "", "gzip: the checksum is wrong", flipped},
		{"cut.gz", "", "gzip: the file is cut off", packed[:len(packed)-9]},
		{"plain.gz", "", "gzip: it does not start like a gzip file", plain},
		{"digest", strings.Repeat("0", 64), "altered", plain},
	} {
		path := write(t, c.name, c.data)
		_, err := Open(path, c.digest)
		if err == nil {
			t.Errorf("%s: no error", c.name)
			continue
		}
		if text := err.Error(); !strings.Contains(text, c.want) || !strings.HasPrefix(text, "data file "+path+": ") || strings.Contains(text, "\n") {
			t.Errorf("%s: %q, want one line with %q", c.name, text, c.want)
		}
	}
	missing := filepath.Join(t.TempDir(), "missing")
	if _, err := Open(missing, ""); err == nil || err.Error() != "data file "+missing+": no such file or directory" {
		t.Errorf("missing file: %v", err)
	}
}

func TestHugeHeaderDoesNotAllocate(t *testing.T) {
	data := encode(Float64, []int{1 << 30, 4}, []byte{1, 2, 3})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := Read(bytes.NewReader(data)); err == nil {
		t.Error("32 GiB were read from 3 bytes")
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
		t.Errorf("reading a 32 GiB header allocated %d bytes", grown)
	}
}

func FuzzRead(f *testing.F) {
	plain := encode(Uint8, []int{2, 3}, []byte{1, 2, 3, 4, 5, 6})
	f.Add(plain)
	f.Add(plain[:9])
	f.Add(append(slices.Clone(plain), 1))
	f.Add(encode(Float64, []int{1<<32 - 1, 1<<32 - 1}, []byte{1}))
	f.Add(encode(Int16, []int{1, 1, 1}, []byte{0x80, 0}))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := Read(bytes.NewReader(data))
		if err != nil {
			return
		}
		if again := encode(a.Type, a.Shape, a.Bytes); !bytes.Equal(again, data) {
			t.Errorf("read %v %v, which is written as %x, not as %x", a.Type, a.Shape, again, data)
		}
	})
}
