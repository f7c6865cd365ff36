package tcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"github.com/gorun-ml/gorun/collective/transport"
)

const (
	inBytes    = 16 << 10  // read at once where a small payload is expected
	pieceBytes = 128 << 10 // folded at once at most, to be still in the cache
	foldBytes  = 16 << 10  // folded at once at least
	alignment  = 64
)

// incoming is how far the frame that is being received has come.
type incoming struct {
	begun  bool // its header has come and is right
	summed bool // it carries a checksum
	sum    uint32
	got    int // bytes of the payload that are here
	left   int // bytes of it that are still to come, when last looked at
	folded int // bytes of the payload that are in their place

	buf      []byte // what was read and not yet used is buf[from:to]
	from, to int
	piece    []byte // what is folded next, made on first use
	base     int    // where in the payload piece begins
}

// start is where the buffer is filled from, so that the payload after a header is aligned.
const start = alignment - headerBytes

// Recv reads a frame.
func (l *lane) Recv(tag transport.Tag, p []byte, fold transport.Fold) error {
	if raw := l.enter(); !raw {
		defer l.leave()
		for {
			if _, done, err := l.pull(tag, p, fold, false); done || err != nil {
				return err
			}
		}
	}
	for {
		n, done, err := l.pull(tag, p, fold, true)
		if done || err != nil {
			return err
		}
		if n == 0 {
			if err := l.mesh.doze(nil, l); err != nil {
				return err
			}
		}
	}
}

// Pull receives what has come of a frame.
func (l *lane) Pull(tag transport.Tag, p []byte, fold transport.Fold) (moved int, done bool, err error) {
	if !l.taken.Load() {
		if err := l.take(); err != nil {
			return 0, false, err
		}
	}
	return l.pull(tag, p, fold, true)
}

// pull reads once, if what is in the buffer does not do.
func (l *lane) pull(tag transport.Tag, p []byte, fold transport.Fold, raw bool) (moved int, done bool, err error) {
	if l.sealed != nil {
		return l.pullSealed(tag, p, fold, raw)
	}
	in := &l.incoming
	if !in.begun {
		n, whole, err := l.begin(tag, p, fold, raw)
		if err != nil || !whole {
			return n, false, err
		}
		moved = n
		if n == 0 {
			moved = headerBytes // they were in the buffer
		}
	}
	if in.got < len(p) {
		n, err := l.more(p, fold, raw && moved > 0, raw)
		if err != nil {
			return moved, false, l.broken(err)
		}
		moved += n
		if in.got < len(p) {
			return moved, false, nil
		}
	}
	if in.summed {
		n, whole, err := l.fill(trailerBytes, len(in.buf), raw)
		moved += n
		if err != nil {
			return moved, false, l.broken(err)
		}
		if !whole {
			return moved, false, nil
		}
		want := binary.LittleEndian.Uint32(in.buf[in.from:])
		in.from += trailerBytes
		if want != in.sum {
			return moved, false, l.broken(fmt.Errorf("%w: %w", transport.ErrCorrupt, errSum))
		}
	}
	in.begun, in.left = false, 0
	return moved, true, nil
}

// begin reads a header, and what comes with it: a small payload, or the beginning of a large
// one right to where it belongs. whole says that the header is here.
func (l *lane) begin(tag transport.Tag, p []byte, fold transport.Fold, raw bool) (moved int, whole bool, err error) {
	in := &l.incoming
	direct := 0 // bytes of the payload that have been read to where they belong
	if have := in.to - in.from; have < headerBytes {
		if len(p) <= smallBytes || !raw {
			limit := headerBytes
			if len(p) <= smallBytes || fold != nil {
				limit = len(in.buf)
			}
			moved, whole, err = l.fill(headerBytes, limit, raw)
		} else {
			l.room(headerBytes)
			rest := headerBytes - have
			moved, err = l.get(raw, in.buf[in.to:in.to+rest], l.target(0, p, fold))
			direct = max(0, moved-rest)
			in.to += moved - direct
			whole = moved >= rest
		}
		if err != nil {
			return moved, false, l.broken(err)
		}
		if !whole {
			return moved, false, nil
		}
	}
	h, err := l.header((*[headerBytes]byte)(in.buf[in.from:]), tag, p)
	if err != nil {
		return moved, false, err
	}
	in.from += headerBytes
	in.begun, in.summed, in.sum, in.got, in.folded, in.base = true, h.flags&flagSum != 0, 0, 0, 0, 0
	if direct > 0 {
		l.arrived(direct, p, fold)
	}
	return moved, true, nil
}

// header is that of the frame which begins here, if it is the one that is expected.
func (l *lane) header(b *[headerBytes]byte, tag transport.Tag, p []byte) (h header, err error) {
	if err := h.decode(b); err != nil {
		return h, l.broken(fmt.Errorf("%w: %w", transport.ErrCorrupt, err))
	}
	if h.kind != kindData {
		return h, l.broken(fmt.Errorf("%w: frame of kind %d on a lane", transport.ErrCorrupt, h.kind))
	}
	if h.tag != tag || h.length != uint64(len(p)) {
		return h, l.mesh.fail(&transport.MismatchError{
			Self: l.mesh.self, Peer: l.peer.Rank,
			Want: tag, Got: h.tag, WantBytes: len(p), GotBytes: int(h.length),
		})
	}
	return h, nil
}

// target is where the payload goes from byte at on, as much of it as one call may read.
func (l *lane) target(at int, p []byte, fold transport.Fold) []byte {
	in := &l.incoming
	if fold == nil {
		return p[at:min(at+callBytes, len(p))]
	}
	if in.piece == nil {
		in.piece = aligned(pieceBytes)
	}
	base := in.base
	if at == 0 {
		base = 0
	}
	return in.piece[at-base : min(pieceBytes, len(p)-base)]
}

// more takes the payload from the buffer, or else reads. Where settled is set it does
// without reading: the call before has taken what there was.
func (l *lane) more(p []byte, fold transport.Fold, settled, raw bool) (moved int, err error) {
	in := &l.incoming
	if have := in.to - in.from; have > 0 {
		if fold != nil && in.got == 0 && have >= len(p) && isAligned(in.buf[in.from:]) {
			src := in.buf[in.from : in.from+len(p)]
			in.from += len(p)
			if in.summed {
				in.sum = l.crc32c(0, src)
			}
			fold(p, src)
			in.got, in.folded = len(p), len(p)
			return len(p), nil
		}
		for in.got < len(p) && in.from < in.to {
			n := copy(l.target(in.got, p, fold), in.buf[in.from:in.to])
			in.from += n
			moved += n
			l.arrived(n, p, fold)
		}
		return moved, nil
	}
	if settled {
		return 0, nil
	}
	n, err := l.get(raw, nil, l.target(in.got, p, fold))
	if n > 0 {
		l.arrived(n, p, fold)
	}
	in.left = len(p) - in.got
	return n, err
}

// arrived takes note of n more bytes of the payload at their target, and folds in what is
// worth it.
func (l *lane) arrived(n int, p []byte, fold transport.Fold) {
	in := &l.incoming
	if in.summed {
		fresh := p[in.got:]
		if fold != nil {
			fresh = in.piece[in.got-in.base:]
		}
		in.sum = l.crc32c(in.sum, fresh[:n])
	}
	in.got += n
	if fold == nil {
		return
	}
	end := in.base + min(pieceBytes, len(p)-in.base)
	whole := in.got
	if whole < end {
		if whole &^= alignment - 1; whole-in.folded < foldBytes {
			return
		}
	}
	fold(p[in.folded:whole], in.piece[in.folded-in.base:whole-in.base])
	if in.folded = whole; whole == end {
		in.base = end
	}
}

// broken ends the mesh because a frame did not arrive, or not as it was sent.
func (l *lane) broken(err error) error {
	if errors.Is(err, transport.ErrCorrupt) {
		return l.mesh.fail(&transport.PeerError{Rank: l.peer.Rank, Host: l.peer.Host, Err: err})
	}
	return l.mesh.lost(l.peer, err)
}

// fill reads, once where it doesn't wait, until there are need bytes in the buffer, and at
// most limit.
func (l *lane) fill(need, limit int, raw bool) (moved int, whole bool, err error) {
	in := &l.incoming
	if in.to-in.from >= need {
		return 0, true, nil
	}
	l.room(need)
	end := min(max(in.from+limit, in.from+need), len(in.buf))
	for in.to-in.from < need {
		n, err := l.get(raw, in.buf[in.to:end], nil)
		if err != nil {
			return moved, false, err
		}
		in.to += n
		moved += n
		if raw {
			break
		}
	}
	return moved, in.to-in.from >= need, nil
}

// room sees to it that the buffer has room for need bytes from where it is used.
func (l *lane) room(need int) {
	in := &l.incoming
	if in.from == in.to {
		in.from, in.to = start, start
	} else if in.from+need > len(in.buf) {
		in.to = start + copy(in.buf[start:], in.buf[in.from:in.to])
		in.from = start
	}
}

// get reads from the descriptor, or waits and reads from the connection: into a, or where
// that is empty into b.
func (l *lane) get(raw bool, a, b []byte) (n int, err error) {
	if raw {
		if err := l.hold(); err != nil {
			return 0, err
		}
		n, err = l.fd.read(a, b)
		l.use.RUnlock()
		return n, err
	}
	if len(a) == 0 {
		a = b
	}
	return l.conn.Read(a)
}

// aligned returns memory that starts at a multiple of alignment.
func aligned(bytes int) []byte {
	b := make([]byte, bytes+alignment)
	skip := alignment - int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))%alignment)
	return b[skip : skip+bytes : skip+bytes]
}

func isAligned(b []byte) bool {
	return uintptr(unsafe.Pointer(unsafe.SliceData(b)))%8 == 0
}
