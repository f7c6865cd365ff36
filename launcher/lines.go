package launcher

import (
	"bytes"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	readBytes = 32 << 10 // read at once from a rank
	lineBytes = 64 << 10 // longest line that is kept whole; longer ones are cut into several
	tailLines = 10
	tailBytes = 512 // of each line
)

// stream cuts what one rank writes to one of its outputs into whole lines, and passes them
// on with the rank in front. Memory is bounded whatever the rank writes.
type stream struct {
	label *atomic.Int32 // the rank
	emit  func(rank int, raw, prefixed []byte)
	watch *tailer // of standard error; nil for standard output

	partial []byte // the beginning of a line whose end has not come yet
	raw     []byte
	out     []byte
}

// copy reads r to its end and flushes the last line, whole or not.
func (s *stream) copy(r io.Reader) {
	buf := make([]byte, readBytes)
	for {
		n, err := r.Read(buf)
		s.write(buf[:n])
		if err != nil { // the end, or a deadline set because nobody will write any more
			s.flush()
			return
		}
	}
}

// Write takes what was written, for commands that are run.
func (s *stream) Write(p []byte) (int, error) {
	s.write(p)
	return len(p), nil
}

func (s *stream) write(p []byte) {
	prefix := s.prefix()
	s.raw, s.out = s.raw[:0], s.out[:0]
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n') + 1
		whole := end > 0
		if !whole {
			end = len(p)
		}
		switch room := lineBytes - len(s.partial); {
		case whole && end-1 <= room:
			s.line(prefix, s.partial, p[:end], 0)
			s.partial = s.partial[:0]
		case end <= room:
			s.partial = append(s.partial, p[:end]...)
		default:
			end = room
			s.line(prefix, s.partial, p[:end], '\n')
			s.partial = s.partial[:0]
		}
		p = p[end:]
	}
	s.pass()
}

// flush ends a line that its rank has not ended.
func (s *stream) flush() {
	if len(s.partial) == 0 {
		return
	}
	s.raw, s.out = s.raw[:0], s.out[:0]
	s.line(s.prefix(), s.partial, nil, '\n')
	s.partial = nil
	s.pass()
}

// line adds one line, given in two parts, to what is passed on. A line that gorun has cut
// is ended by it where people read, and left as it was in the rank's file.
func (s *stream) line(prefix string, a, b []byte, end byte) {
	s.raw = append(append(s.raw, a...), b...)
	s.out = append(append(append(s.out, prefix...), a...), b...)
	if end != 0 {
		s.out = append(s.out, end)
	}
	if s.watch != nil {
		s.watch.line(a, b)
	}
}

func (s *stream) pass() {
	if len(s.raw) > 0 {
		s.emit(int(s.label.Load()), s.raw, s.out)
	}
}

func (s *stream) prefix() string { return "[" + strconv.Itoa(int(s.label.Load())) + "] " }

// tailer keeps a rank's last lines and notices when they say that a Go program panicked.
type tailer struct {
	mu   sync.Mutex
	last []string
	why  string
}

func (w *tailer) line(a, b []byte) {
	text := append(append([]byte{}, a[:min(len(a), tailBytes)]...), b[:min(len(b), tailBytes)]...)
	line := strings.TrimRight(string(text[:min(len(text), tailBytes)]), "\r\n")
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.why == "" {
		if why, ok := strings.CutPrefix(line, "panic: "); ok {
			w.why = why
		} else if strings.HasPrefix(line, "fatal error: ") {
			w.why = line
		}
	}
	if len(w.last) == tailLines {
		w.last = append(w.last[:0], w.last[1:]...)
	}
	w.last = append(w.last, strings.ToValidUTF8(line, "?"))
}

func (w *tailer) tail() tail {
	w.mu.Lock()
	defer w.mu.Unlock()
	return tail{lines: append([]string(nil), w.last...), panic: w.why}
}
