package launcher

import (
	"bytes"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
)

// capture runs what a rank writes through a stream.
func capture(t *testing.T, written []byte, chop int) (raw, shown string, last tail) {
	t.Helper()
	var label atomic.Int32
	label.Store(7)
	var rawBuf, shownBuf bytes.Buffer
	w := &tailer{}
	s := &stream{label: &label, watch: w, emit: func(rank int, raw, prefixed []byte) {
		if rank != 7 {
			t.Errorf("rank %d, want 7", rank)
		}
		rawBuf.Write(raw)
		shownBuf.Write(prefixed)
		if len(prefixed) > 0 && prefixed[len(prefixed)-1] != '\n' {
			t.Errorf("passed on a part of a line: %q", prefixed)
		}
	}}
	for len(written) > 0 {
		n := min(chop, len(written))
		s.write(written[:n])
		written = written[n:]
	}
	s.flush()
	return rawBuf.String(), shownBuf.String(), w.tail()
}

func TestLinesAreWholeAndPrefixed(t *testing.T) {
	long := strings.Repeat("x", lineBytes)
	for _, c := range []struct{ name, written, shown string }{
		{"nothing", "", ""},
		{"a line", "a\n", "[7] a\n"},
		{"lines", "a\n\nb\n", "[7] a\n[7] \n[7] b\n"},
		{"no end", "a\nb", "[7] a\n[7] b\n"},
		{"binary", "\x00\xff\r\n\x1b[1m", "[7] \x00\xff\r\n[7] \x1b[1m\n"},
		{"too long", long + "yz\nb\n", "[7] " + long + "\n[7] yz\n[7] b\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, chop := range []int{1, 3, 1 << 20} {
				raw, shown, _ := capture(t, []byte(c.written), chop)
				if raw != c.written {
					t.Errorf("in pieces of %d: kept %.100q, want %.100q", chop, raw, c.written)
				}
				if shown != c.shown {
					t.Errorf("in pieces of %d: shown %.100q, want %.100q", chop, shown, c.shown)
				}
			}
		})
	}
}

func TestTailOfStandardError(t *testing.T) {
	_, _, last := capture(t, []byte(strings.Repeat("noise\n", 50)+"panic: runtime error: nil map\n\ngoroutine 1 [running]:\nmain.main()\n"), 5)
	if last.panic != "runtime error: nil map" {
		t.Errorf("panic %q", last.panic)
	}
	if n := len(last.lines); n != tailLines || last.lines[n-1] != "main.main()" {
		t.Errorf("tail %q", last.lines)
	}
	_, _, last = capture(t, []byte("fatal error: all goroutines are asleep - deadlock!\n"), 100)
	if last.panic != "fatal error: all goroutines are asleep - deadlock!" {
		t.Errorf("panic %q", last.panic)
	}
	_, _, last = capture(t, []byte(strings.Repeat("long", 1000)+"\n"), 100)
	if len(last.lines) != 1 || len(last.lines[0]) > tailBytes {
		t.Errorf("tail keeps %d bytes, want at most %d", len(last.lines[0]), tailBytes)
	}
}

// A pipe whose deadline has passed still gives up what is in front of it.
func TestStreamEndsWithItsReader(t *testing.T) {
	var label atomic.Int32
	var shown bytes.Buffer
	s := &stream{label: &label, emit: func(_ int, _, p []byte) { shown.Write(p) }}
	s.copy(iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader("ab"))))
	if shown.String() != "[0] a\n" {
		t.Errorf("shown %q", shown.String())
	}
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("a\nb\r\nc"), 2)
	f.Add(bytes.Repeat([]byte("0123456789abcdef"), 9000), 1000)
	f.Fuzz(func(t *testing.T, written []byte, chop int) {
		raw, shown, _ := capture(t, written, max(1, chop))
		// Nothing is lost: without prefixes and the ends that were added, it is what was written.
		var joined strings.Builder
		for line := range strings.Lines(shown) {
			rest, ok := strings.CutPrefix(line, "[7] ")
			if !ok || len(rest) > lineBytes+1 {
				t.Fatalf("line of %d bytes, prefix %v", len(rest), ok)
			}
			joined.WriteString(rest)
		}
		if raw != string(written) {
			t.Errorf("kept %d bytes of %d: differ", len(raw), len(written))
		}
		if got, want := strings.ReplaceAll(joined.String(), "\n", ""), strings.ReplaceAll(string(written), "\n", ""); got != want {
			t.Errorf("shown %d bytes, want %d", len(got), len(want))
		}
	})
}
