package launcher

import (
	"bytes"
	"context"
	wire "encoding/binary"
	"errors"
	"os"
	"slices"
	"sort"
	"sync"

	"github.com/gorun-ml/gorun/internal/control"
)

const (
	backlogBytes = 64 << 20  // of a job's output are kept; the oldest go
	blockBytes   = 64 << 10  // are written to the file at once
	answerBytes  = 256 << 10 // of lines in one answer, or one line if that is longer
	answerBlocks = 64        // are looked through for one answer
)

// backlog keeps the newest of what ranks have written and gorun has said, as it was shown,
// for who asks later or from elsewhere. Lines are numbered from 0. Adding copies to memory,
// and writes to the file once a block: nobody who reads holds up who adds.
//
// The file is a ring of blocks, which are sequences of pieces:
//
//	│ origin 1 │ rank 4 │ lines 4 │ bytes 4 │ text │ origin │ …
type backlog struct {
	room int64
	file *os.File

	mu     sync.Mutex
	blocks []block // in the file, the oldest first; there may be gaps where it was full
	newest []byte  // a block that is not in the file yet
	first  uint64  // number of its first line
	next   uint64  // number of the next line
	at     int64   // in the file, where the next block goes
	more   chan struct{}
	ended  bool
	failed bool
}

// block is where so many lines are in the file.
type block struct {
	first, lines uint64
	at           int64
	size         int
}

const pieceHead = 13

// newBacklog keeps lines in a new file at path, of room bytes at most.
func newBacklog(path string, room int64) (*backlog, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &backlog{room: room, file: f}, nil
}

// add keeps whole lines. It returns an error for the first that could not be kept, and no
// other: later ones may find room. A nil backlog keeps nothing.
func (b *backlog) add(from control.Origin, rank int, text []byte) (err error) {
	if b == nil || len(text) == 0 {
		return nil
	}
	cut := text[len(text)-1] != '\n' // by gorun, where lines are shown as they are
	lines := bytes.Count(text, []byte("\n"))
	size := len(text)
	if cut {
		lines, size = lines+1, size+1
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.newest) > 0 && len(b.newest)+pieceHead+size > blockBytes {
		if err = b.flush(); err != nil && b.failed {
			err = nil
		} else if err != nil {
			b.failed = true
		}
	}
	b.newest = append(b.newest, byte(from))
	b.newest = wire.BigEndian.AppendUint32(b.newest, uint32(int32(rank)))
	b.newest = wire.BigEndian.AppendUint32(b.newest, uint32(lines))
	b.newest = wire.BigEndian.AppendUint32(b.newest, uint32(size))
	b.newest = append(b.newest, text...)
	if cut {
		b.newest = append(b.newest, '\n')
	}
	b.next += uint64(lines)
	b.wake()
	return err
}

// flush writes the newest block to the file, over the oldest ones.
func (b *backlog) flush() error {
	size := int64(len(b.newest))
	if b.at+size > b.room {
		b.at = 0
	}
	gone := 0
	for i, old := range b.blocks {
		if old.at < b.at+size && b.at < old.at+int64(old.size) {
			gone = i + 1
		}
	}
	b.blocks = slices.Delete(b.blocks, 0, gone)
	_, err := b.file.WriteAt(b.newest, b.at)
	if err == nil {
		b.blocks = append(b.blocks, block{b.first, b.next - b.first, b.at, len(b.newest)})
		b.at += size
	}
	b.newest, b.first = b.newest[:0], b.next
	return err
}

func (b *backlog) wake() {
	if b.more != nil {
		close(b.more)
		b.more = nil
	}
}

// end says that there will be no more lines.
func (b *backlog) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	b.wake()
}

// close gives the file up. What is left of it is removed with its folder.
func (b *backlog) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended, b.blocks = true, nil
	b.wake()
	_ = b.file.Close() // nothing in it is needed any more
}

// wait returns when there is a line with the number from, none will come, or ctx ends. It
// says whether it has seen lines come, of which there may be more in a moment.
func (b *backlog) wait(ctx context.Context, from uint64) (coming bool) {
	b.mu.Lock()
	if b.next > from || b.ended {
		b.mu.Unlock()
		return false
	}
	if b.more == nil {
		b.more = make(chan struct{})
	}
	more := b.more
	b.mu.Unlock()
	select {
	case <-more:
	case <-ctx.Done():
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.ended
}

// after is the number of the line that comes next, and whether none will.
func (b *backlog) after() (next uint64, ended bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.next, b.ended
}

// filter says which pieces are wanted.
type filter func(from control.Origin, rank int) bool

// read is lines from a number on, as many as go into an answer. It says where to go on, and
// how many lines were asked for that aren't kept any more.
func (b *backlog) read(from uint64, want filter) (out []control.LogLines, next, missed uint64) {
	b.mu.Lock()
	next = min(from, b.next) // who took over from another launcher may have fewer
	b.mu.Unlock()
	room := answerBytes
	for range answerBlocks {
		data, first := b.load(next)
		if first > next {
			missed, next = missed+first-next, first
		}
		if len(data) == 0 {
			return out, next, missed
		}
		for len(data) > 0 {
			var p piece
			p, data = cutPiece(data)
			end := first + p.lines
			if end > next && !want(p.origin, p.rank) {
				next = end
			}
			if end > next {
				text := skipLines(p.text, next-first)
				some := firstLines(text, room)
				if len(some) > room && len(out) > 0 {
					return out, next, missed
				}
				out = append(out, control.LogLines{Origin: p.origin, Rank: p.rank, Text: some})
				room -= len(some)
				if len(some) < len(text) || room <= 0 {
					return out, next + uint64(bytes.Count(some, []byte("\n"))), missed
				}
				next = end
			}
			first = end
		}
	}
	return out, next, missed
}

// last is where to begin to read the n newest lines that are wanted.
func (b *backlog) last(n int, want filter) (from uint64) {
	b.mu.Lock()
	before := b.next
	b.mu.Unlock()
	for n > 0 && before > 0 {
		data, first := b.load(before - 1)
		if len(data) == 0 || first >= before {
			return before // what is older isn't kept
		}
		found := 0
		var starts []uint64 // of each wanted piece, and after how many wanted lines
		var counts []int
		for at := first; len(data) > 0; {
			var p piece
			p, data = cutPiece(data)
			if at < before && want(p.origin, p.rank) {
				starts, counts = append(starts, at), append(counts, found)
				found += int(min(p.lines, before-at))
			}
			at += p.lines
		}
		if found >= n {
			i := sort.SearchInts(counts, found-n+1) - 1 // the piece in which the first of them is
			return starts[i] + uint64(found-n-counts[i])
		}
		n -= found
		before = first
	}
	return before
}

// load is the block that has line n, or else the first after it, and the number of its first
// line. The block is the caller's. It is empty where there is no such line yet.
func (b *backlog) load(n uint64) (data []byte, first uint64) {
	for {
		b.mu.Lock()
		i := sort.Search(len(b.blocks), func(i int) bool { return n < b.blocks[i].first+b.blocks[i].lines })
		if i == len(b.blocks) {
			defer b.mu.Unlock()
			if n >= b.next || len(b.newest) == 0 {
				return nil, b.next
			}
			return bytes.Clone(b.newest), b.first
		}
		found := b.blocks[i]
		b.mu.Unlock()
		data = make([]byte, found.size)
		_, err := b.file.ReadAt(data, found.at) // who adds doesn't wait for it
		b.mu.Lock()
		kept := slices.Contains(b.blocks, found) // not written over meanwhile
		b.mu.Unlock()
		switch {
		case kept && err == nil:
			return data, found.first
		case kept || errors.Is(err, os.ErrClosed):
			return nil, found.first + found.lines
		}
	}
}

// piece is whole lines of one origin.
type piece struct {
	origin control.Origin
	rank   int
	lines  uint64
	text   []byte
}

// cutPiece takes the first piece off a block.
func cutPiece(data []byte) (p piece, rest []byte) {
	size := int(wire.BigEndian.Uint32(data[9:]))
	return piece{
		origin: control.Origin(data[0]),
		rank:   int(int32(wire.BigEndian.Uint32(data[1:]))),
		lines:  uint64(wire.BigEndian.Uint32(data[5:])),
		text:   data[pieceHead : pieceHead+size],
	}, data[pieceHead+size:]
}

// skipLines is text without its first n lines.
func skipLines(text []byte, n uint64) []byte {
	for ; n > 0; n-- {
		text = text[bytes.IndexByte(text, '\n')+1:]
	}
	return text
}

// firstLines is the lines of text that go into room bytes, at least one.
func firstLines(text []byte, room int) []byte {
	if len(text) <= room {
		return text
	}
	if end := bytes.LastIndexByte(text[:max(room, 0)], '\n') + 1; end > 0 {
		return text[:end]
	}
	return text[:bytes.IndexByte(text, '\n')+1]
}
