package transport

import "encoding/binary"

// TagBytes is the length of a tag in memory that others read, and on the wire:
//
//	seq 4 · step 2 · kind, type, op, algo 4 · root 2 · bytes 8
const TagBytes = 20

// Put writes the tag to b.
func (t *Tag) Put(b *[TagBytes]byte) {
	le := binary.LittleEndian
	le.PutUint32(b[0:], t.Seq)
	le.PutUint16(b[4:], t.Step)
	b[6], b[7], b[8], b[9] = t.Kind, t.Type, t.Op, t.Algo
	le.PutUint16(b[10:], t.Root)
	le.PutUint64(b[12:], t.Bytes)
}

// TagOf reads what Put has written.
func TagOf(b *[TagBytes]byte) Tag {
	le := binary.LittleEndian
	return Tag{
		Seq: le.Uint32(b[0:]), Step: le.Uint16(b[4:]),
		Kind: b[6], Type: b[7], Op: b[8], Algo: b[9],
		Root: le.Uint16(b[10:]), Bytes: le.Uint64(b[12:]),
	}
}
