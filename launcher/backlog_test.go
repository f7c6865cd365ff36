package launcher

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gorun-ml/gorun/internal/control"
)

func every(control.Origin, int) bool { return true }

func testBacklog(t *testing.T, room int64) *backlog {
	t.Helper()
	b, err := newBacklog(filepath.Join(t.TempDir(), "output"), room)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.close)
	return b
}

// readAll reads from a number on until there is no more.
func readAll(b *backlog, from uint64, want filter) (lines []string, missed uint64) {
	for {
		out, next, m := b.read(from, want)
		missed += m
		for _, l := range out {
			for line := range strings.Lines(string(l.Text)) {
				lines = append(lines, fmt.Sprintf("%d %d %s", l.Origin, l.Rank, line))
			}
		}
		if next == from {
			return lines, missed
		}
		from = next
	}
}

// What is kept is the newest of what was added, whole, in order and within its room; what is
// missing is counted.
func TestBacklogKeepsTheNewest(t *testing.T) {
	const room = 4 * blockBytes
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		b := testBacklog(t, room)
		var all []string
		bytesIn := 0
		for range r.IntN(4000) {
			from, rank := control.Origin(r.IntN(3)), r.IntN(3)-1
			var text bytes.Buffer
			for range 1 + r.IntN(4) {
				line := strings.Repeat("x", r.IntN(1<<r.IntN(12))) + "\n"
				if r.IntN(500) == 0 {
					line = strings.Repeat("y", lineBytes) + "\n"
				}
				text.WriteString(line)
				all = append(all, fmt.Sprintf("%d %d %s", from, rank, line))
			}
			bytesIn += text.Len()
			if err := b.add(from, rank, text.Bytes()); err != nil {
				t.Fatal(err)
			}
		}
		got, missed := readAll(b, 0, every)
		if int(missed)+len(got) != len(all) || !slices.Equal(got, all[missed:]) {
			t.Fatalf("seed %d: of %d lines there are %d, and %d are said to be missing", seed, len(all), len(got), missed)
		}
		if info, err := b.file.Stat(); err != nil || info.Size() > room {
			t.Fatalf("seed %d: the file has %d bytes (%v), want at most %d", seed, info.Size(), err, room)
		}
		if bytesIn < room/2 && missed > 0 {
			t.Errorf("seed %d: %d lines are missing of %d bytes, with room for %d", seed, missed, bytesIn, room)
		}

		// From any line on, and of one rank only.
		from := r.IntN(len(all) + 1)
		if tail, _ := readAll(b, uint64(from), every); !slices.Equal(tail, all[max(from, int(missed)):]) {
			t.Errorf("seed %d: from line %d on there are %d lines, want %d", seed, from, len(tail), len(all)-max(from, int(missed)))
		}
		one := func(o control.Origin, rank int) bool { return rank == 1 && o != control.FromGorun }
		mine := slices.DeleteFunc(slices.Clone(got), func(l string) bool { return !strings.HasPrefix(l, "0 1 ") && !strings.HasPrefix(l, "1 1 ") })
		if only, _ := readAll(b, 0, one); !slices.Equal(only, mine) {
			t.Errorf("seed %d: of rank 1 there are %d lines, want %d", seed, len(only), len(mine))
		}
		for _, n := range []int{0, 1, 2, 7, len(mine) / 2, len(mine), len(mine) + 5} {
			want := mine[max(0, len(mine)-n):]
			if last, _ := readAll(b, b.last(n, one), one); !slices.Equal(last, want) {
				t.Errorf("seed %d: the last %d lines of rank 1 are %d", seed, n, len(last))
			}
		}
		if lines, next, missed := b.read(uint64(len(all))+9, every); len(lines) > 0 || next != uint64(len(all)) || missed > 0 {
			t.Errorf("seed %d: from beyond the end: %d lines, next %d, missing %d", seed, len(lines), next, missed)
		}
	}
}

// Lines that gorun has cut are lines, also where they are shown without their rank.
func TestBacklogEndsLines(t *testing.T) {
	b := testBacklog(t, backlogBytes)
	for _, text := range []string{"a\n", "b", "", "c\nd"} {
		if err := b.add(control.FromStdout, 0, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := readAll(b, 0, every); !slices.Equal(got, []string{"0 0 a\n", "0 0 b\n", "0 0 c\n", "0 0 d\n"}) {
		t.Errorf("%q", got)
	}
}

// A reader that falls behind holds up nobody: it is told how many lines it has missed.
func TestBacklogIsReadWhileItIsWritten(t *testing.T) {
	const writers, each = 3, 20_000
	b := testBacklog(t, 3*blockBytes)
	var writing sync.WaitGroup
	for rank := range writers {
		writing.Go(func() {
			for n := range each {
				if err := b.add(control.FromStdout, rank, fmt.Appendf(nil, "[%d] line %d of many\n", rank, n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	go func() {
		writing.Wait()
		b.end()
	}()
	var reading sync.WaitGroup
	for range 2 {
		reading.Go(func() {
			seen, missed := 0, 0
			newest := [writers]int{-1, -1, -1}
			for from := uint64(0); ; {
				b.wait(context.Background(), from)
				out, next, m := b.read(from, every)
				missed += int(m)
				for _, l := range out {
					for line := range strings.Lines(string(l.Text)) {
						var rank, n int
						if _, err := fmt.Sscanf(line, "[%d] line %d of many\n", &rank, &n); err != nil || rank != l.Rank || n <= newest[rank] {
							t.Errorf("after line %d of rank %d came %q", newest[l.Rank], l.Rank, line)
							return
						}
						newest[rank] = n
						seen++
					}
				}
				from = next
				if after, ended := b.after(); ended && next >= after {
					break
				}
			}
			if seen+missed != writers*each {
				t.Errorf("%d lines seen and %d missed, want %d together", seen, missed, writers*each)
			}
		})
	}
	reading.Wait()
}

// A full disk costs lines, and is said once. Nobody waits for the lines.
func TestBacklogWithoutRoomOnDisk(t *testing.T) {
	b := testBacklog(t, backlogBytes)
	if err := b.file.Close(); err != nil { // no write succeeds from now on
		t.Fatal(err)
	}
	line := []byte(strings.Repeat("z", 1023) + "\n")
	said := 0
	for range 1000 {
		if err := b.add(control.FromStderr, 0, line); err != nil {
			said++
		}
	}
	if said != 1 {
		t.Errorf("said %d times, want once", said)
	}
	got, missed := readAll(b, 0, every)
	if len(got) == 0 || len(got)+int(missed) != 1000 {
		t.Errorf("%d lines are there and %d missing, want 1000 together", len(got), missed)
	}
	if from := b.last(1000, every); from != missed {
		t.Errorf("the last 1000 begin at line %d, want %d", from, missed)
	}
}

func BenchmarkBacklog(b *testing.B) {
	log, err := newBacklog(filepath.Join(b.TempDir(), "output"), backlogBytes)
	if err != nil {
		b.Fatal(err)
	}
	defer log.close()
	for _, size := range []int{80, readBytes} {
		text := bytes.Repeat([]byte(strings.Repeat("x", 79)+"\n"), size/80)
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if err := log.add(control.FromStdout, 1, text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
