package launcher

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/gorun-ml/gorun/internal/control"
)

// Verdict is how a job ended, for machines.
type Verdict struct {
	Job         string  `json:"job"`
	OK          bool    `json:"ok"`
	Status      int     `json:"status"`
	Cause       *Cause  `json:"cause"` // nil for success
	Generations uint64  `json:"generations"`
	Steps       int     `json:"steps"`
	Seconds     float64 `json:"seconds"`
	Started     float64 `json:"started"`          // Unix seconds
	Restarts    int     `json:"restarts"`         // processes (for gangs: gangs) that were started anew
	Saved       string  `json:"saved,omitempty"`  // newest checkpoint
	Resume      string  `json:"resume,omitempty"` // the command that goes on from it
	Summary     string  `json:"summary,omitempty"`
	Flight      string  `json:"flight,omitempty"` // folder of what ranks did last before a failure
}

// Cause is the first thing that went wrong. What followed from it is not told.
type Cause struct {
	Rank   int          `json:"rank"` // -1 where no rank is to blame
	Host   string       `json:"host"`
	Kind   control.Kind `json:"kind"`
	Detail string       `json:"detail"`
	Step   int          `json:"step"`
	Times  int          `json:"times,omitempty"` // in a row, at this step; where that ended the job
	PID    int          `json:"pid,omitempty"`
	Stderr []string     `json:"stderr,omitempty"` // the last lines of it

	member string
}

// namesStep finds a step in what a rank has said.
var namesStep = regexp.MustCompile(`\bstep \d`)

// String is the cause as a clause for people: who, and what.
func (c Cause) String() string {
	var b strings.Builder
	switch {
	case c.Rank >= 0 && c.PID > 0:
		fmt.Fprintf(&b, "rank %d (host %s, pid %d) ", c.Rank, c.Host, c.PID)
	case c.Rank >= 0:
		fmt.Fprintf(&b, "rank %d (host %s) ", c.Rank, c.Host)
	}
	switch {
	case c.Times > 0 && c.Step > 0:
		fmt.Fprintf(&b, "failed %d times at step %d: %s", c.Times, c.Step, c.Detail)
	case c.Times > 0:
		fmt.Fprintf(&b, "failed %d times before its first step: %s", c.Times, c.Detail)
	default:
		b.WriteString(c.Detail)
		if c.Step > 0 && !namesStep.MatchString(c.Detail) {
			fmt.Fprintf(&b, " at step %d", c.Step)
		}
	}
	return b.String()
}

// Line is the verdict as one line for people, without "gorun:". It is empty for a success
// that has nothing to say.
func (v Verdict) Line() string {
	if v.OK {
		return v.Summary
	}
	how := "failed: "
	if v.Cause.Kind == control.KindStopped {
		how = ""
	}
	line := "job " + v.Job + " " + how + oneLine(v.Cause.String())
	if v.Saved != "" {
		line += "; newest checkpoint " + v.Saved
		if v.Resume != "" {
			line += ": resume with " + v.Resume
		}
	}
	return line
}

// write leaves the verdict in a file: all of it or, after an error, none.
func (v Verdict) write(path string) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("verdict: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".verdict-*")
	if err != nil {
		return fmt.Errorf("verdict: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already after the rename
	_, err = f.Write(append(data, '\n'))
	if err == nil {
		err = f.Chmod(0o644)
	}
	if bad := f.Close(); err == nil {
		err = bad
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("verdict: %w", err)
	}
	return nil
}

// deterministic says whether starting the rank anew would end the same way.
func deterministic(f control.Failure) bool {
	switch f.Kind {
	case control.KindStopped, control.KindMismatch, control.KindData, control.KindNonFinite, control.KindCheckpoint, control.KindNoFinish, control.KindLaunch:
		return true
	case control.KindError:
		switch f.Status {
		case control.StatusUsage, control.StatusCheckpoint, control.StatusDisagree, control.StatusAuth:
			return true
		}
	}
	return false
}

// causeOf says what a rank's end, or its own word before it, means. Steps is how many the
// job has done: ranks do them together, and the last reports of one that dies are lost.
func causeOf(c *candidate, steps int) (Cause, int) {
	cause := Cause{Rank: c.rank, Host: c.host, Step: max(c.step, steps), PID: c.pid, member: c.member, Stderr: c.tail.lines}
	if f := c.failure; f != nil {
		cause.Kind, cause.Detail = f.Kind, verb(f.Kind)+f.Detail
		cause.Step = max(cause.Step, f.Step)
		status := f.Status
		if status == 0 {
			status = max(c.end.status, 1)
		}
		return cause, status
	}
	switch {
	case c.stalled != "":
		cause.Kind, cause.Detail = control.KindTimeout, c.stalled
		return cause, control.StatusTemporary
	case c.end.lost != "":
		cause.Kind, cause.Detail = control.KindHost, "was lost with its host: "+c.end.lost
	case c.tail.panic != "" && c.end.signal == 0:
		cause.Kind, cause.Detail = control.KindPanic, "panicked: "+c.tail.panic
	case c.end.starved:
		cause.Kind, cause.Detail = control.KindMemory, starved(c.end.limit)
	case c.end.signal != 0:
		cause.Kind, cause.Detail = control.KindSignal, "was ended by "+signalName(c.end.signal)
	case c.end.status == 0 && c.registered:
		cause.Kind, cause.Detail = control.KindNoFinish, "ended with status 0 before its training function had returned: what it trained is not counted"
		return cause, control.StatusDisagree
	case c.end.status == 0:
		cause.Kind, cause.Detail = control.KindNoFinish, "ended with status 0 without having called worker.Run: nothing was trained; pass --gang if it isn't meant to"
		return cause, control.StatusDisagree
	default:
		cause.Kind, cause.Detail = control.KindExit, fmt.Sprintf("exited with status %d", c.end.status)
	}
	return cause, c.end.status
}

// verb begins the clause about a rank that told its failure itself.
func verb(k control.Kind) string {
	switch k {
	case control.KindPanic:
		return "panicked: "
	case control.KindMismatch:
		return "is at odds with the others: "
	case control.KindNonFinite:
		return "met a value that is not finite: "
	case control.KindLost:
		return "lost its peers: "
	case control.KindTimeout:
		return "ran out of time: "
	case control.KindStopped:
		return ""
	default:
		return "failed: "
	}
}

func signalName(s os.Signal) string {
	if n, ok := s.(unix.Signal); ok {
		if name := unix.SignalName(n); name != "" {
			return name
		}
		return fmt.Sprintf("signal %d", int(n))
	}
	return s.String()
}

// oneLine keeps what people read on one line, whatever a program has put into it.
func oneLine(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s))
}

// lasted writes a duration as people say it: 1.9 s, 38 s, 2 min 5 s, 1 h 12 min.
func lasted(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < time.Hour:
		s := int(d.Round(time.Second).Seconds())
		return fmt.Sprintf("%d min %d s", s/60, s%60)
	default:
		m := int(d.Round(time.Minute).Minutes())
		return fmt.Sprintf("%d h %d min", m/60, m%60)
	}
}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
