package tcp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/gorun-ml/gorun/collective/transport"
)

// A lane that is encrypted carries records:
//
//	0 length      4   of the payload, L
//	4 ^length     4   so that a damaged length is found, and not waited for
//	8 ciphertext  L
//	  tag        16   over the length too
//
// A small frame is one record. A large one is a record with its header, and one for every
// recordBytes of its payload, which is opened right to where it belongs:
//
//	├ header ┤├──── p[0:128 KiB] ────┤├──── p[128 KiB:256 KiB] ────┤├ … ┤
//
// The cipher, the nonces (a counter under a mask, one a direction) and the limit on what a key
// is used for are those of TLS 1.3 (RFC 8446, 5.3 and 5.5; AES-128-GCM is its first choice
// too). The framing is not: crypto/tls allocates with every record that it reads, copies what
// it has opened once more, makes a call for every 16 KiB, and needs the runtime's poller.
// Records of 128 KiB measure best: they are still in the cache when the kernel copies them.
// Frames carry no checksum: the tag is a better one.
const (
	recordHead  = 8
	recordBytes = pieceBytes // of a payload in a record
	tagBytes    = 16
	keyBytes    = 16
	nonceBytes  = 12

	// keyRecords is how many records a key is used for at most: 2³⁷ bytes, where TLS allows
	// 2³⁸.
	keyRecords = 1 << 20
)

var errSeal = errors.New("a record is not what was sent")

// half is one direction of an encrypted lane.
type half struct {
	secret []byte // of the keys from now on
	aead   cipher.AEAD
	mask   [nonceBytes]byte
	nonce  [nonceBytes]byte
	used   uint64 // records under this key
	most   uint64
}

// newHalf makes the end of a direction from its first secret.
func newHalf(secret []byte) (*half, error) {
	h := &half{secret: secret, most: keyRecords}
	return h, h.renew()
}

// renew goes on to the next key. Who has it can't find those before.
func (h *half) renew() error {
	block, err := aes.NewCipher(expand(h.secret, nil, "key")[:keyBytes])
	if err != nil {
		return err
	}
	if h.aead, err = cipher.NewGCM(block); err != nil {
		return err
	}
	copy(h.mask[:], expand(h.secret, nil, "mask"))
	h.secret, h.used = expand(h.secret, nil, "next"), 0
	return nil
}

// next is the nonce of the next record, which is used once.
func (h *half) next() ([]byte, error) {
	if h.used == h.most {
		if err := h.renew(); err != nil {
			return nil, err
		}
	}
	h.nonce = h.mask
	tail := h.nonce[nonceBytes-8:]
	binary.BigEndian.PutUint64(tail, binary.BigEndian.Uint64(tail)^h.used)
	h.used++
	return h.nonce[:], nil
}

// expand makes a key for one purpose from what is secret (RFC 5869).
func expand(secret, salt []byte, purpose string) []byte {
	key, err := hkdf.Key(sha256.New, secret, salt, purpose, sha256.Size)
	if err != nil {
		panic("tcp: HKDF of 32 bytes: " + err.Error())
	}
	return key
}

// sealed is what an encrypted lane has beside a plain one.
type sealed struct {
	out, in *half
	// Records that have not gone yet are going[sent:end], and have at bytes of the payload.
	going     []byte
	sent, end int
	at        int
	begun     bool // the frame is
	// What was read and not yet opened is come[from:to].
	come     []byte
	from, to int
}

func newSealed(out, in *half) *sealed {
	const header = recordHead + headerBytes + tagBytes
	return &sealed{
		out: out, in: in,
		going: make([]byte, 0, header+recordHead+recordBytes+tagBytes),
		come:  make([]byte, inBytes+header+recordHead+recordBytes+tagBytes),
	}
}

// pushSealed writes once. It seals more only when all before has gone, so that what the
// kernel takes is still in the cache, and what arrives meanwhile gets its turn.
func (l *lane) pushSealed(tag transport.Tag, p []byte, raw bool) (moved int, done bool, err error) {
	s, o := l.sealed, &l.outgoing
	if s.sent == s.end {
		s.going = s.going[:0]
		if !s.begun {
			l.pack(tag, p)
			first := o.buf[:headerBytes]
			s.at = 0
			if o.small > 0 {
				first, s.at = o.buf[:o.small], len(p)
			}
			s.begun = true
			if err := s.seal(first); err != nil {
				return 0, false, l.mesh.fail(err)
			}
		}
		if n := min(recordBytes, len(p)-s.at); n > 0 {
			if err := s.seal(p[s.at : s.at+n]); err != nil {
				return 0, false, l.mesh.fail(err)
			}
			s.at += n
		}
		s.sent, s.end = 0, len(s.going)
	}
	n, err := l.put(raw, s.going[s.sent:s.end], nil, nil)
	if err != nil {
		return 0, false, l.mesh.lost(l.peer, err)
	}
	s.sent += n
	done = s.sent == s.end && s.at == len(p)
	s.begun = !done
	return n, done, nil
}

// seal appends a record.
func (s *sealed) seal(p []byte) error {
	nonce, err := s.out.next()
	if err != nil {
		return err
	}
	head := len(s.going)
	b := binary.LittleEndian.AppendUint32(s.going, uint32(len(p)))
	b = binary.LittleEndian.AppendUint32(b, ^uint32(len(p)))
	s.going = s.out.aead.Seal(b, nonce, p, b[head:])
	return nil
}

// pullSealed reads once, if what is here does not do.
func (l *lane) pullSealed(tag transport.Tag, p []byte, fold transport.Fold, raw bool) (moved int, done bool, err error) {
	s, in := l.sealed, &l.incoming
	for read := false; ; {
		n, err := s.whole()
		switch {
		case err != nil:
			return moved, false, l.broken(err)
		case n >= 0:
			if err := l.open(n, tag, p, fold); err != nil {
				return moved, false, err
			}
			moved += recordHead + n + tagBytes
			if in.got == len(p) {
				in.begun, in.left = false, 0
				return moved, true, nil
			}
			continue
		case read:
			in.left = max(0, len(p)-in.got-(s.to-s.from))
			return moved, false, nil
		}
		if n, err = l.get(raw, s.room(in.begun, len(p), in.got), nil); err != nil {
			return moved, false, l.broken(err)
		}
		s.to += n
		moved += n
		read = true
	}
}

// whole is the length of the next record's payload, -1 as long as not all of it is here.
func (s *sealed) whole() (int, error) {
	b := s.come[s.from:s.to]
	if len(b) < recordHead {
		return -1, nil
	}
	n := binary.LittleEndian.Uint32(b)
	if n != ^binary.LittleEndian.Uint32(b[4:]) || n > recordBytes {
		return 0, fmt.Errorf("%w: %w", transport.ErrCorrupt, errSeal)
	}
	if len(b) < recordHead+int(n)+tagBytes {
		return -1, nil
	}
	return int(n), nil
}

// room is where to read what is missing of the next record, and no more than of that: what
// is copied later costs more than another call. Only around small frames it is as much as
// may come.
func (s *sealed) room(begun bool, frame, got int) []byte {
	if s.from == s.to {
		s.from, s.to = 0, 0
	}
	have := s.to - s.from
	want := 0
	switch {
	case begun:
		want = recordHead + min(recordBytes, frame-got) + tagBytes
	case frame <= smallBytes:
		want = inBytes
	default:
		want = recordHead + headerBytes + tagBytes + recordHead + min(recordBytes, frame) + tagBytes
	}
	if have >= recordHead { // and then less than it takes
		want = max(want, recordHead+int(binary.LittleEndian.Uint32(s.come[s.from:]))+tagBytes)
	}
	want = max(want, have+1)
	if s.from+want > len(s.come) {
		s.to = copy(s.come, s.come[s.from:s.to])
		s.from = 0
	}
	return s.come[s.to:min(s.from+want, len(s.come))]
}

// open opens the next record, of n bytes: the one that begins a frame, or the next of its
// payload.
func (l *lane) open(n int, tag transport.Tag, p []byte, fold transport.Fold) error {
	s, in := l.sealed, &l.incoming
	nonce, err := s.in.next()
	if err != nil {
		return l.mesh.fail(err)
	}
	head := s.come[s.from : s.from+recordHead]
	record := s.come[s.from+recordHead : s.from+recordHead+n+tagBytes]
	s.from += len(head) + len(record)
	var to []byte
	switch {
	case !in.begun && (n < headerBytes || n > headerBytes+smallBytes),
		in.begun && n != min(recordBytes, len(p)-in.got):
		return l.broken(fmt.Errorf("%w: record of %d bytes", transport.ErrCorrupt, n))
	case !in.begun:
		to = in.buf[start:start]
	case fold == nil:
		to = p[in.got:in.got]
	default:
		if in.piece == nil {
			in.piece = aligned(recordBytes)
		}
		to = in.piece[:0]
	}
	b, err := s.in.aead.Open(to, nonce, record, head)
	if err != nil {
		return l.broken(fmt.Errorf("%w: %w", transport.ErrCorrupt, errSeal))
	}
	if in.begun {
		if fold != nil {
			fold(p[in.got:in.got+n], b)
		}
		in.got += n
		return nil
	}
	if _, err := l.header((*[headerBytes]byte)(b), tag, p); err != nil {
		return err
	}
	in.begun, in.got = true, 0
	switch b = b[headerBytes:]; {
	case len(p) > smallBytes && len(b) == 0:
		return nil
	case len(b) != len(p):
		return l.broken(fmt.Errorf("%w: a frame of %d bytes comes with %d", transport.ErrCorrupt, len(p), len(b)))
	case fold == nil:
		copy(p, b)
	case len(p) > 0:
		fold(p, b)
	}
	in.got = len(p)
	return nil
}
