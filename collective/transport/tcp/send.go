package tcp

import (
	"encoding/binary"

	"github.com/gorun-ml/gorun/collective/transport"
)

const (
	smallBytes = 4 << 10   // up to where a payload travels with its header in one buffer
	callBytes  = 256 << 10 // of a payload, moved with one call at most
)

// outgoing is how far the frame that is being sent has come.
type outgoing struct {
	gone   int // bytes of header, payload and trailer
	small  int // bytes in buf of a frame that is there as a whole, else 0
	summed int // bytes of the payload that sum covers
	sum    uint32
	tail   [trailerBytes]byte
	buf    []byte // header, and all the rest of a small frame
	parts  [3][]byte
}

// Send writes a frame.
func (l *lane) Send(tag transport.Tag, p []byte) error {
	if raw := l.enter(); !raw {
		defer l.leave()
		for {
			if _, done, err := l.push(tag, p, false); done || err != nil {
				return err
			}
		}
	}
	for {
		n, done, err := l.push(tag, p, true)
		if done || err != nil {
			return err
		}
		if n == 0 {
			if err := l.mesh.doze(l, nil); err != nil {
				return err
			}
		}
	}
}

// Push sends what goes at once of a frame.
func (l *lane) Push(tag transport.Tag, p []byte) (moved int, done bool, err error) {
	if !l.taken.Load() {
		if err := l.take(); err != nil {
			return 0, false, err
		}
	}
	return l.push(tag, p, true)
}

// push writes once. done says that the frame has gone.
func (l *lane) push(tag transport.Tag, p []byte, raw bool) (moved int, done bool, err error) {
	if l.sealed != nil {
		return l.pushSealed(tag, p, raw)
	}
	o := &l.outgoing
	if o.gone == 0 {
		l.pack(tag, p)
	}
	n, err := 0, error(nil)
	total := o.small
	if total > 0 {
		n, err = l.put(raw, o.buf[o.gone:total], nil, nil)
	} else {
		total = headerBytes + len(p)
		if l.sum {
			total += trailerBytes
		}
		a, b, c := l.cut(p)
		n, err = l.put(raw, a, b, c)
	}
	if err != nil {
		return 0, false, l.mesh.lost(l.peer, err)
	}
	o.gone += n
	if o.gone < total {
		return n, false, nil
	}
	o.gone = 0
	return n, true, nil
}

// pack begins a frame: its header, and with that a small payload and its checksum.
func (l *lane) pack(tag transport.Tag, p []byte) {
	o := &l.outgoing
	h := header{kind: kindData, length: uint64(len(p)), tag: tag}
	if l.sum {
		h.flags = flagSum
	}
	h.encode((*[headerBytes]byte)(o.buf))
	o.small, o.summed, o.sum = 0, 0, 0
	if len(p) > smallBytes {
		return
	}
	b := append(o.buf[:headerBytes], p...)
	if l.sum {
		b = binary.LittleEndian.AppendUint32(b, l.crc32c(0, p))
	}
	o.small = len(b)
}

// cut is what the next call may write of a large frame. The payload goes in pieces, so that
// what is copied to the kernel is still in the cache from being summed, and so that what
// arrives meanwhile gets its turn.
func (l *lane) cut(p []byte) (a, b, c []byte) {
	o := &l.outgoing
	at := o.gone - headerBytes
	if at < 0 {
		a, at = o.buf[o.gone:headerBytes], 0
	}
	if at > len(p) {
		return a, nil, o.tail[at-len(p):]
	}
	if !l.sum {
		return a, p[at:min(at+callBytes, len(p))], nil
	}
	if at == o.summed && at < len(p) {
		o.summed = min(at+pieceBytes, len(p))
		o.sum = l.crc32c(o.sum, p[at:o.summed])
	}
	if o.summed == len(p) {
		binary.LittleEndian.PutUint32(o.tail[:], o.sum)
		c = o.tail[:]
	}
	return a, p[at:o.summed], c
}

// put writes to the descriptor, or waits and writes all to the connection.
func (l *lane) put(raw bool, a, b, c []byte) (n int, err error) {
	if raw {
		if err := l.hold(); err != nil {
			return 0, err
		}
		n, err = l.fd.write(a, b, c)
		l.use.RUnlock()
		return n, err
	}
	if len(b) == 0 && len(c) == 0 {
		return l.conn.Write(a)
	}
	o := &l.outgoing
	o.parts = [3][]byte{a, b, c}
	l.queue = o.parts[:]
	all, err := l.queue.WriteTo(l.conn)
	o.parts = [3][]byte{}
	return int(all), err
}
