package tcp

import (
	"encoding/binary"
	"hash/crc32"
	"reflect"
	"strings"
	"testing"

	"github.com/gorun-ml/gorun/collective/transport"
)

func FuzzHeader(f *testing.F) {
	var b [headerBytes]byte
	(&header{kind: kindData, flags: flagSum, length: 12, tag: transport.Tag{Seq: 1, Root: 2, Bytes: 3}}).encode(&b)
	f.Add(b[:])
	(&header{kind: kindBye}).encode(&b)
	f.Add(b[:])
	b[3] ^= 8
	f.Add(b[:])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, in []byte) {
		var b, again [headerBytes]byte
		copy(b[:], in)
		var h header
		if h.decode(&b) != nil {
			return
		}
		if h.encode(&again); again != b {
			t.Errorf("%x decodes to %+v, which encodes to %x", b, h, again)
		}
	})
}

func FuzzMessage(f *testing.F) {
	var head [headerBytes]byte
	for _, a := range []*transport.AbortError{{Kind: transport.ErrMismatch, Mismatch: &transport.MismatchError{Self: 1, Peer: 2, Want: transport.Tag{Seq: 3}, GotBytes: 4}}, {Rank: 1, By: 2, Cause: "x"}, {Rank: 3, Cause: strings.Repeat("y", 5000), Kind: transport.ErrLost}} {
		body := encodeAbort(a)
		(&header{kind: kindAbort, flags: flagSum, length: uint64(len(body))}).encode(&head)
		f.Add(binary.LittleEndian.AppendUint32(append(head[:], body...), crc32.Checksum(body, castagnoli)))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		h, body, err := readMessage(strings.NewReader(string(in)))
		if err != nil {
			return
		}
		if len(body) > maxAbort || uint64(len(body)) != h.length {
			t.Errorf("a message of %d bytes was read", len(body))
		}
		a, err := decodeAbort(body)
		if err != nil || len(a.Cause) > maxText {
			return
		}
		again, err := decodeAbort(encodeAbort(a))
		if err != nil || !reflect.DeepEqual(again, a) {
			t.Errorf("%+v becomes %+v, %v", a, again, err)
		}
	})
}

func FuzzHandshake(f *testing.F) {
	var h [helloBytes]byte
	(&hello{gen: 1, from: 2, to: 3, lane: 4, version: "v1", nonce: [32]byte{9}}).encode(&h)
	f.Add(h[:])
	h[32] = 0xff
	f.Add(h[:])
	var c [challengeBytes]byte
	(&challenge{version: "v1"}).encode(&c)
	f.Add(c[:])
	f.Fuzz(func(t *testing.T, in []byte) {
		var hb, hAgain [helloBytes]byte
		copy(hb[:], in)
		var h hello
		if h.decode(&hb) == nil {
			h.encode(&hAgain)
			var again hello
			if again.decode(&hAgain) != nil || again != h {
				t.Errorf("%+v becomes %+v", h, again)
			}
		}
		var cb [challengeBytes]byte
		copy(cb[:], in)
		var c challenge
		if c.decode(&cb) == nil && len(c.version) > versionBytes {
			t.Errorf("a version of %d bytes was read", len(c.version))
		}
	})
}
