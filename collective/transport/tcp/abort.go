package tcp

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/gorun-ml/gorun/collective/transport"
)

// The payload of an abort:
//
//	0 rank  4
//	4 by    4
//	8 kind  1
//	9 found 1   1 where a mismatch follows
//	  self 4, peer 4, bytes wanted 8, bytes got 8, tag wanted 20, tag got 20
//	  text      the rest
const (
	abortBytes    = 10
	mismatchBytes = 24 + 2*transport.TagBytes
	maxText       = 4 << 10
	maxAbort      = abortBytes + mismatchBytes + maxText
)

func encodeAbort(a *transport.AbortError) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(a.Rank))
	b = binary.LittleEndian.AppendUint32(b, uint32(a.By))
	b = append(b, transport.KindCode(a.Kind), 0)
	if m := a.Mismatch; m != nil {
		b[9] = 1
		b = binary.LittleEndian.AppendUint32(b, uint32(m.Self))
		b = binary.LittleEndian.AppendUint32(b, uint32(m.Peer))
		b = binary.LittleEndian.AppendUint64(b, uint64(m.WantBytes))
		b = binary.LittleEndian.AppendUint64(b, uint64(m.GotBytes))
		var want, got [transport.TagBytes]byte
		m.Want.Put(&want)
		m.Got.Put(&got)
		b = append(append(b, want[:]...), got[:]...)
	}
	return append(b, a.Cause[:min(len(a.Cause), maxText)]...)
}

func decodeAbort(b []byte) (*transport.AbortError, error) {
	if len(b) < abortBytes || b[9] > 1 || b[9] == 1 && len(b) < abortBytes+mismatchBytes {
		return nil, fmt.Errorf("%w: abort of %d bytes", transport.ErrCorrupt, len(b))
	}
	a := &transport.AbortError{
		Rank: int(binary.LittleEndian.Uint32(b)),
		By:   int(binary.LittleEndian.Uint32(b[4:])),
		Kind: transport.KindOf(b[8]),
	}
	text := b[abortBytes:]
	if b[9] == 1 {
		a.Mismatch = &transport.MismatchError{
			Self:      int(binary.LittleEndian.Uint32(text)),
			Peer:      int(binary.LittleEndian.Uint32(text[4:])),
			WantBytes: int(binary.LittleEndian.Uint64(text[8:])),
			GotBytes:  int(binary.LittleEndian.Uint64(text[16:])),
			Want:      transport.TagOf((*[transport.TagBytes]byte)(text[24:])),
			Got:       transport.TagOf((*[transport.TagBytes]byte)(text[24+transport.TagBytes:])),
		}
		text = text[mismatchBytes:]
	}
	a.Cause = strings.ToValidUTF8(string(text), "…")
	return a, nil
}
