package tcp

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/gorun-ml/gorun/collective/transport"
)

// A frame is a header, the payload, and where flagSum is set the payload's CRC32C.
//
//	0  magic   2
//	2  kind    1   data, abort, bye, open
//	3  flags   1
//	4  length  8   of the payload
//	12 tag    20
//	32 CRC32C  4   of the bytes before
const (
	headerBytes  = 36
	trailerBytes = 4
	magic        = 0x6752

	flagSum = 1
)

const (
	kindData  = 1 + iota
	kindAbort // the sender gives up, the payload says why
	kindBye   // the sender leaves in good order
	kindOpen  // dial the lane that Tag.Seq names
)

type header struct {
	kind   uint8
	flags  uint8
	length uint64
	tag    transport.Tag
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	errMagic = errors.New("no frame begins here")
	errSum   = errors.New("checksum differs")
	errFrame = errors.New("unknown kind or flag")
)

func (h *header) encode(b *[headerBytes]byte) {
	binary.LittleEndian.PutUint16(b[0:], magic)
	b[2] = h.kind
	b[3] = h.flags
	binary.LittleEndian.PutUint64(b[4:], h.length)
	h.tag.Put((*[transport.TagBytes]byte)(b[12:]))
	binary.LittleEndian.PutUint32(b[32:], crc32.Checksum(b[:32], castagnoli))
}

func (h *header) decode(b *[headerBytes]byte) error {
	if binary.LittleEndian.Uint16(b[0:]) != magic {
		return errMagic
	}
	if binary.LittleEndian.Uint32(b[32:]) != crc32.Checksum(b[:32], castagnoli) {
		return errSum
	}
	h.kind, h.flags = b[2], b[3]
	h.length = binary.LittleEndian.Uint64(b[4:])
	h.tag = transport.TagOf((*[transport.TagBytes]byte)(b[12:]))
	if h.kind < kindData || h.kind > kindOpen || h.flags&^flagSum != 0 {
		return errFrame
	}
	return nil
}
