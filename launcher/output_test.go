package launcher

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestASlowTerminalDoesNotBlockRanks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		screen := &gate{open: make(chan struct{})}
		terminal := &sink{w: screen, terminal: true, width: func() int { return 80 }}
		o, err := newOutput(terminal, terminal, "", false, true)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for range 10_000 {
			o.rank(terminal, 0, []byte("a\n"), []byte("[0] a\n"))
		}
		if took := time.Since(began); took != patience {
			t.Errorf("ranks were held up for %v, want %v once", took, patience)
		}
		close(screen.open)
		synctest.Wait()
		if err := o.close("the end"); err != nil {
			t.Fatal(err)
		}
		shown := strings.Count(screen.String(), "[0] a\n")
		if want := fmt.Sprintf("gorun: %d lines of ranks not shown: the terminal was too slow", 10_000-shown); !strings.Contains(screen.String(), want) {
			t.Errorf("%d lines shown; want %q in %q", shown, want, screen.String())
		}
	})
}

func TestAStuckPipeDoesNotHoldUpTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := &gate{open: make(chan struct{})}
		o, err := newOutput(&sink{w: stuck}, &sink{w: stuck}, "", false, true)
		if err != nil {
			t.Fatal(err)
		}
		o.note("one")
		began := time.Now()
		if err := o.close("the end"); err == nil {
			t.Error("last lines were lost without an error")
		}
		if took := time.Since(began); took != lastWords {
			t.Errorf("took %v, want %v", took, lastWords)
		}
		close(stuck.open) // so that the test leaves nothing behind
		synctest.Wait()
	})
}

func TestLiveLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var screen bytes.Buffer
		terminal := &sink{w: &screen, terminal: true, width: func() int { return 12 }}
		o, err := newOutput(terminal, terminal, "", false, true)
		if err != nil {
			t.Fatal(err)
		}
		want := func(text string) {
			t.Helper()
			synctest.Wait()
			if got := screen.String(); got != text {
				t.Errorf("screen %q, want %q", got, text)
			}
			screen.Reset()
		}
		for i := range 1000 { // many steps between two looks are one drawing
			o.progress(fmt.Sprintf("step %d", i))
		}
		<-time.After(redraw)
		want("\rstep 999\x1b[K")
		<-time.After(redraw)
		want("")
		o.rank(terminal, 0, []byte("a\n"), []byte("[0] a\n"))
		want("\r\x1b[K[0] a\n")
		o.progress("a line that is too long")
		<-time.After(redraw)
		want("\ra line that\x1b[K")
		if err := o.close("the end"); err != nil {
			t.Fatal(err)
		}
		want("\r\x1b[Kthe end\n")
	})
}

func TestFilesOfRanks(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	write := func(fresh bool) {
		t.Helper()
		var shown bytes.Buffer
		o, err := newOutput(&sink{w: &shown}, &sink{w: &shown}, dir, true, fresh)
		if err != nil {
			t.Fatal(err)
		}
		var both sync.WaitGroup
		for rank := range 2 {
			both.Go(func() { o.rank(o.stdout, rank, fmt.Appendf(nil, "I am %d\n", rank), nil) })
		}
		both.Wait()
		if err := o.close(); err != nil {
			t.Fatal(err)
		}
		if shown.Len() > 0 {
			t.Errorf("quiet, but shown: %q", shown.String())
		}
	}
	want := func(text string) {
		t.Helper()
		got, err := os.ReadFile(filepath.Join(dir, "rank-1.log"))
		if err != nil || string(got) != text {
			t.Errorf("file %q, %v; want %q", got, err, text)
		}
	}
	write(true)
	want("I am 1\n")
	write(true)
	want("I am 1\n")
	write(false) // a job that is resumed goes on with its files
	want("I am 1\nI am 1\n")
}

// broken is a place that output can't go to.
type broken struct{ err error }

func (b broken) Write([]byte) (int, error) { return 0, b.err }

func TestOutputGoesOnWithoutAReader(t *testing.T) {
	var said bytes.Buffer
	o, err := newOutput(&sink{w: broken{os.ErrClosed}}, &sink{w: &said}, "", false, true)
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		o.rank(o.stdout, 0, []byte("a\n"), []byte("[0] a\n"))
	}
	if err := o.close("the end"); err != nil {
		t.Fatal(err)
	}
	if got := said.String(); strings.Count(got, "standard output: ") != 1 || !strings.HasSuffix(got, "the end\n") {
		t.Errorf("said %q", got)
	}
}

// gate is a terminal that takes nothing until it is opened.
type gate struct {
	open chan struct{}
	bytes.Buffer
}

func (g *gate) Write(p []byte) (int, error) {
	<-g.open
	return g.Buffer.Write(p)
}
