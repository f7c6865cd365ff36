// Package idx reads the IDX format, in which MNIST and its relatives come: a header that
// says type and shape, then the elements, big-endian, nothing else.
//
//	offset  bytes  what
//	0       2      zero
//	2       1      element type: 8 uint8, 9 int8, 11 int16, 12 int32, 13 float32, 14 float64
//	3       1      number of dimensions d
//	4       4·d    the dimensions
//	4+4·d   …      the elements, last dimension fastest
//
// Files ending in .gz, or starting like gzip, are unpacked. A damaged file is refused with
// one line that names it; no header makes the reader allocate more than the file holds.
package idx

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
)

// Type is an element type as the header writes it.
type Type uint8

// The element types.
const (
	Uint8   Type = 8
	Int8    Type = 9
	Int16   Type = 11
	Int32   Type = 12
	Float32 Type = 13
	Float64 Type = 14
)

var sizes = map[Type]int{Uint8: 1, Int8: 1, Int16: 2, Int32: 4, Float32: 4, Float64: 8}

var names = map[Type]string{Uint8: "uint8", Int8: "int8", Int16: "int16", Int32: "int32", Float32: "float32", Float64: "float64"}

// String is the type's name in Go.
func (t Type) String() string {
	if n, ok := names[t]; ok {
		return n
	}
	return fmt.Sprintf("type 0x%02x", uint8(t))
}

// Array is the contents of a file.
type Array struct {
	Type  Type
	Shape []int
	Bytes []byte // the elements as they lie in the file, big-endian
}

// Len is the number of items: the first dimension.
func (a Array) Len() int { return a.Shape[0] }

// Item is the i-th item of a uint8 array, without copying.
func (a Array) Item(i int) []byte {
	size := len(a.Bytes) / a.Len()
	return a.Bytes[i*size : (i+1)*size]
}

// Float64 is element i, whatever the type.
func (a Array) Float64(i int) float64 {
	size := sizes[a.Type]
	b := a.Bytes[i*size : (i+1)*size]
	switch a.Type {
	case Uint8:
		return float64(b[0])
	case Int8:
		return float64(int8(b[0]))
	case Int16:
		return float64(int16(binary.BigEndian.Uint16(b)))
	case Int32:
		return float64(int32(binary.BigEndian.Uint32(b)))
	case Float32:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(b)))
	default:
		return math.Float64frombits(binary.BigEndian.Uint64(b))
	}
}

// Open reads a file. If digest isn't empty it is the file's SHA-256 in hexadecimal, of the
// file as it lies there, packed if it is.
func Open(path, digest string) (Array, error) {
	a, err := open(path, digest)
	if err != nil {
		var p *os.PathError
		if errors.As(err, &p) {
			return Array{}, fmt.Errorf("data file %s: %w", path, p.Err)
		}
		return Array{}, fmt.Errorf("data file %s: %w", path, err)
	}
	return a, nil
}

func open(path, digest string) (Array, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return Array{}, err
	}
	if sum := sha256.Sum256(raw); digest != "" && !strings.EqualFold(digest, hex.EncodeToString(sum[:])) {
		return Array{}, fmt.Errorf("SHA-256 is %x, want %s: the file was altered or is another one", sum, digest)
	}
	if bytes.HasPrefix(raw, []byte{0x1f, 0x8b}) || strings.HasSuffix(path, ".gz") {
		packed, err := gzip.NewReader(bytes.NewReader(raw))
		if err != nil {
			return Array{}, unpacking(err)
		}
		return Read(packed)
	}
	in := bytes.NewReader(raw)
	a, want, err := header(in)
	if err != nil {
		return Array{}, err
	}
	a.Bytes = raw[len(raw)-in.Len():] // not copied: a rank that is started anew is waited for
	switch n := int64(len(a.Bytes)); {
	case n < want:
		return Array{}, a.cutOff(n, want)
	case n > want:
		return Array{}, a.tooLong(n, want)
	}
	return a, nil
}

// Read reads an array that must end where r ends.
func Read(r io.Reader) (Array, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	a, want, err := header(in)
	if err != nil {
		return Array{}, err
	}
	// Memory grows with what is really there: bytes.Buffer doubles, the header isn't trusted.
	var data bytes.Buffer
	n, err := io.Copy(&data, io.LimitReader(in, want))
	if err != nil {
		return Array{}, unpacking(err)
	}
	if n < want {
		return Array{}, a.cutOff(n, want)
	}
	// Reading on to the end also makes gzip check its CRC.
	extra, err := io.Copy(io.Discard, in)
	if err != nil {
		return Array{}, unpacking(err)
	}
	if extra > 0 {
		return Array{}, a.tooLong(want+extra, want)
	}
	a.Bytes = data.Bytes()
	return a, nil
}

// header reads what comes before the elements, and says how many bytes those have to have.
func header(in io.Reader) (a Array, want int64, err error) {
	var magic [4]byte
	if n, err := io.ReadFull(in, magic[:]); err != nil {
		return a, 0, short(err, "the header has %d bytes, want at least 4", n)
	}
	a.Type = Type(magic[2])
	size, known := sizes[a.Type]
	dims := int(magic[3])
	if magic[0] != 0 || magic[1] != 0 || !known || dims == 0 {
		return a, 0, fmt.Errorf("is not an IDX file: it starts with %x", magic)
	}
	shape := make([]byte, 4*dims)
	if n, err := io.ReadFull(in, shape); err != nil {
		return a, 0, short(err, "the header has %d bytes, want %d for %d dimensions", 4+n, 4+len(shape), dims)
	}
	want = int64(size)
	for i := range dims {
		d := int64(binary.BigEndian.Uint32(shape[4*i:]))
		if d > 0 && want > math.MaxInt/d {
			return a, 0, fmt.Errorf("the header's shape has more elements than memory can hold")
		}
		want *= d
		a.Shape = append(a.Shape, int(d))
	}
	if want == 0 {
		return a, 0, fmt.Errorf("the header's shape %v has no elements", a.Shape)
	}
	return a, want, nil
}

func (a Array) cutOff(n, want int64) error {
	return fmt.Errorf("is cut off: %d bytes after the header, want %d for %v %v", n, want, a.Shape, a.Type)
}

func (a Array) tooLong(n, want int64) error {
	return fmt.Errorf("has %d bytes after the header, want %d for %v %v", n, want, a.Shape, a.Type)
}

// short is the error of a header that ended early, or the reader's own.
func short(err error, format string, args ...any) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return fmt.Errorf("is cut off: "+format, args...)
	}
	return unpacking(err)
}

func unpacking(err error) error {
	switch {
	case errors.Is(err, gzip.ErrChecksum):
		return errors.New("gzip: the checksum is wrong: the file was altered")
	case errors.Is(err, gzip.ErrHeader):
		return errors.New("gzip: it does not start like a gzip file")
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return errors.New("gzip: the file is cut off")
	}
	return fmt.Errorf("gzip: %w", err)
}
