package launcher

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/gorun-ml/gorun/internal/control"
)

const (
	queueChunks = 64                     // of at most readBytes plus prefixes each
	redraw      = 100 * time.Millisecond // of the live line, at most this often
	patience    = time.Second            // with a terminal that takes nothing
	lastWords   = 2 * time.Second        // for the queue to empty at the end
)

// output shows what ranks write, what gorun says and the live progress line, and keeps one
// file a rank. One goroutine writes to the terminal, so that nothing is cut in two.
//
// Where ranks write faster than their output is taken, a file or a pipe makes them wait, as
// it would without gorun. A terminal doesn't: what it cannot take within a second is dropped
// and counted. Files of ranks are always complete.
type output struct {
	quiet  bool
	bare   bool // ranks' lines are shown without their numbers; set before any is
	stdout *sink
	stderr *sink
	dir    string
	waits  bool     // a terminal that takes nothing makes ranks wait too; set before any is
	kept   *backlog // of what is shown, for who asks; nil for none. Set before any is

	chunks chan chunk
	notes  chan string
	stop   chan struct{}
	done   chan struct{}

	mu      sync.Mutex
	live    string
	files   map[int]*os.File
	fileErr bool
	dropped int
	stuck   bool // the terminal has taken nothing for a while
}

type chunk struct {
	to   *sink
	data []byte
}

// sink is one of gorun's own outputs.
type sink struct {
	w        io.Writer
	terminal bool
	width    func() int
	failed   bool // used by the output's goroutine only
}

func newSink(f *os.File) *sink {
	fd := int(f.Fd())
	return &sink{w: f, terminal: term.IsTerminal(fd), width: func() int {
		if w, _, err := term.GetSize(fd); err == nil && w > 0 {
			return w
		}
		return 80
	}}
}

// newOutput begins to show. dir is where ranks' files go, "" for none; they are emptied
// unless fresh is false.
func newOutput(stdout, stderr *sink, dir string, quiet, fresh bool) (*output, error) {
	o := &output{
		quiet: quiet, stdout: stdout, stderr: stderr, dir: dir,
		chunks: make(chan chunk, queueChunks), notes: make(chan string, 256),
		stop: make(chan struct{}), done: make(chan struct{}), files: map[int]*os.File{},
	}
	if dir != "" {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		if fresh {
			old, _ := filepath.Glob(filepath.Join(dir, "rank-*.log")) // the pattern is valid
			for _, name := range old {
				if err := os.Remove(name); err != nil {
					return nil, err
				}
			}
		}
	}
	go o.run()
	return o, nil
}

// rank passes on whole lines of a rank: raw to its file, prefixed to where people look.
// It returns when both may be used again.
func (o *output) rank(to *sink, rank int, raw, prefixed []byte) {
	if o.dir != "" {
		o.keep(rank, raw)
	}
	shown := prefixed
	if o.bare {
		shown = raw
	}
	from := control.FromStdout
	if to == o.stderr {
		from = control.FromStderr
	}
	o.remember(from, rank, shown)
	if o.quiet {
		return
	}
	c := chunk{to, append([]byte(nil), shown...)}
	if !to.terminal || o.waits {
		select {
		case o.chunks <- c:
		case <-o.done:
		}
		return
	}
	select {
	case o.chunks <- c:
		o.flow(0)
		return
	default:
	}
	o.mu.Lock()
	stuck := o.stuck
	o.mu.Unlock()
	if stuck {
		o.flow(countLines(prefixed))
		return
	}
	wait := time.NewTimer(patience)
	defer wait.Stop()
	select {
	case o.chunks <- c:
		o.flow(0)
	case <-o.done:
	case <-wait.C:
		o.flow(countLines(prefixed))
	}
}

// lines is rank by which of a rank's outputs it is, as an agent emits it.
func (o *output) lines(stderr bool, rank int, raw, prefixed []byte) {
	to := o.stdout
	if stderr {
		to = o.stderr
	}
	o.rank(to, rank, raw, prefixed)
}

// flow records that lines were dropped or, if none were, that the terminal takes lines again.
func (o *output) flow(dropped int) {
	o.mu.Lock()
	said := 0
	if o.stuck = dropped > 0; !o.stuck {
		said, o.dropped = o.dropped, 0
	}
	o.dropped += dropped
	o.mu.Unlock()
	if said > 0 {
		o.note(fmt.Sprintf("%s of ranks not shown: the terminal is too slow for them; --output DIR keeps them all", plural(said, "line")))
	}
}

func countLines(p []byte) (n int) {
	for _, b := range p {
		if b == '\n' {
			n++
		}
	}
	return n
}

// keep adds to a rank's file.
func (o *output) keep(rank int, raw []byte) {
	o.mu.Lock()
	f := o.files[rank]
	var err error
	if f == nil {
		f, err = os.OpenFile(filepath.Join(o.dir, fmt.Sprintf("rank-%d.log", rank)), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err == nil {
			o.files[rank] = f
		}
	}
	o.mu.Unlock()
	if err == nil {
		_, err = f.Write(raw) // appended in one piece: both outputs of a rank go to one file
	}
	if err == nil {
		return
	}
	o.mu.Lock()
	first := !o.fileErr
	o.fileErr = true
	o.mu.Unlock()
	if first {
		o.note(fmt.Sprintf("--output: %v: lines of ranks are missing there; the job goes on", err))
	}
}

// note says something to people, as gorun. It never waits.
func (o *output) note(line string) { o.plain("gorun: " + line) }

// plain says something to people. It never waits: a line that finds 256 others waiting
// for the terminal is dropped.
func (o *output) plain(line string) {
	o.remember(control.FromGorun, -1, []byte(line+"\n"))
	if o.quiet {
		return
	}
	select {
	case o.notes <- line + "\n":
	default:
	}
}

// remember keeps lines for who asks for them.
func (o *output) remember(from control.Origin, rank int, lines []byte) {
	if err := o.kept.add(from, rank, lines); err != nil {
		o.note(fmt.Sprintf("%v: gorun logs misses some lines; the job goes on", err))
	}
}

// now is the live line, shown or not.
func (o *output) now() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.live
}

// progress replaces the live line at the bottom of a terminal.
func (o *output) progress(line string) {
	o.mu.Lock()
	o.live = line
	o.mu.Unlock()
}

// close shows what is still waiting, and then the last lines, quiet or not. It gives up on
// a terminal or pipe that takes nothing for lastWords.
func (o *output) close(last ...string) error {
	o.progress("")
	o.mu.Lock()
	dropped := o.dropped
	o.mu.Unlock()
	if dropped > 0 {
		last = append([]string{fmt.Sprintf("gorun: %s of ranks not shown: the terminal was too slow for them; --output DIR keeps them all", plural(dropped, "line"))}, last...)
	}
	final := make(chan struct{})
	go func() { // not joined where a terminal takes nothing: the process is about to end
		defer close(final)
		close(o.stop)
		<-o.done
		for _, line := range last {
			_ = o.stderr.write([]byte(line + "\n"))
		}
	}()
	timer := time.NewTimer(lastWords)
	defer timer.Stop()
	select {
	case <-final:
	case <-timer.C:
		return errors.New("output: the terminal or pipe takes nothing: last lines are lost")
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	var errs []error
	for _, f := range o.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// run writes until it is told to stop and nothing waits.
func (o *output) run() {
	defer close(o.done)
	var tick <-chan time.Time
	if o.stderr.terminal && !o.quiet {
		t := time.NewTicker(redraw)
		defer t.Stop()
		tick = t.C
	}
	shown := ""
	put := func(to *sink, data []byte) {
		if shown != "" && to.terminal {
			_ = o.stderr.write([]byte("\r\x1b[K"))
			shown = ""
		}
		if err := to.write(data); err != nil && to == o.stdout {
			_ = o.stderr.write([]byte("gorun: standard output: " + err.Error() + ": lines of ranks are missing there; the job goes on\n"))
		}
	}
	for {
		select { // notes first: they were said before what ranks wrote since
		case line := <-o.notes:
			put(o.stderr, []byte(line))
			continue
		default:
		}
		select {
		case line := <-o.notes:
			put(o.stderr, []byte(line))
		case c := <-o.chunks:
			put(c.to, c.data)
		case <-tick:
			o.mu.Lock()
			live := o.live
			o.mu.Unlock()
			if live = clip(live, o.stderr.width()-1); live != shown {
				_ = o.stderr.write([]byte("\r" + live + "\x1b[K"))
				shown = live
			}
		case <-o.stop:
			for {
				select {
				case line := <-o.notes:
					put(o.stderr, []byte(line))
					continue
				default:
				}
				select {
				case c := <-o.chunks:
					put(c.to, c.data)
					continue
				default:
				}
				break
			}
			if shown != "" {
				_ = o.stderr.write([]byte("\r\x1b[K"))
			}
			return
		}
	}
}

// write passes p on. It returns an error once: what a reader that is gone misses is not
// told again and again.
func (s *sink) write(p []byte) error {
	if s.failed {
		_, _ = s.w.Write(p) // a full disk may have room again; that lines are missing was said
		return nil
	}
	_, err := s.w.Write(p)
	s.failed = err != nil
	return err
}

// clip cuts a line to so many columns, so that redrawing it stays on one row.
func clip(line string, columns int) string {
	n := 0
	for i := range line {
		if n == columns {
			return line[:i]
		}
		n++
	}
	return line
}
