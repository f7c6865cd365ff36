package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gorun-ml/gorun/collective"
)

// mostFlights is how many records of one job are kept on a host: the newest.
const mostFlights = 128

// flightHead is the first line of a flight record: whose it is, and why it was written.
type flightHead struct {
	Job        string  `json:"job"`
	T          float64 `json:"t"` // Unix seconds
	Rank       int     `json:"rank"`
	Size       int     `json:"size"`
	Generation uint64  `json:"generation"`
	Member     string  `json:"member"`
	Host       string  `json:"host"`
	PID        int     `json:"pid"`
	Steps      int     `json:"steps"` // done
	Why        string  `json:"why"`
}

// flightLine is one operation. Times are seconds since the process began.
type flightLine struct {
	Operation  string   `json:"operation"`
	Name       string   `json:"name,omitempty"`
	Type       string   `json:"type,omitempty"`
	Bytes      int64    `json:"bytes"`
	Group      uint64   `json:"group,omitempty"`
	Lane       int      `json:"lane"`
	Seq        uint32   `json:"seq"`
	Step       int      `json:"step"`
	Generation uint64   `json:"generation"`
	Begun      float64  `json:"begun"`
	Ended      *float64 `json:"ended"` // null where it has not ended, or failed
}

// fly is live, and leaves a record of the last operations where it fails. Where it panics
// too: then nothing else is left of this rank.
func (s *Session) fly(train func(context.Context, *Session) error) (err error) {
	crashed := true
	defer func() {
		if crashed {
			s.leaveFlight("panicked")
		}
	}()
	err = s.live(train)
	crashed = false
	if err == nil || s.p.flight == "" || errors.Is(err, ErrStopped) || errors.Is(err, errPlanned) {
		return err
	}
	// The next generation does not wait for a disk.
	if s.p.flying.CompareAndSwap(false, true) {
		head, ops := s.flight(err.Error())
		s.p.joined.Go(func() {
			defer s.p.flying.Store(false)
			s.p.say(writeFlight(s.p.flight, head, ops, s.p.doing.began))
		})
	}
	return err
}

// leaveFlight writes the record at once.
func (s *Session) leaveFlight(why string) {
	if s.p.flight == "" {
		return
	}
	head, ops := s.flight(why)
	s.p.say(writeFlight(s.p.flight, head, ops, s.p.doing.began))
}

// flight is what is recorded.
func (s *Session) flight(why string) (flightHead, []collective.Flown) {
	return flightHead{
		Job: s.p.name, T: float64(time.Now().UnixMicro()) / 1e6, Rank: s.rank, Size: s.size, Generation: s.gen.ID,
		Member: s.p.self.ID, Host: s.p.self.Host, PID: s.p.self.PID, Steps: s.st.step, Why: why,
	}, s.comm.Flight()
}

// say tells people of a record that could not be written: training doesn't depend on it.
func (p *process) say(err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "warning: flight record: %v\n", err)
	}
}

// writeFlight writes a record, whole or not at all, and removes the oldest of too many.
func writeFlight(dir string, head flightHead, ops []collective.Flown, began time.Time) error {
	if len(ops) == 0 {
		return nil
	}
	var text bytes.Buffer
	lines := json.NewEncoder(&text)
	lines.SetEscapeHTML(false)
	if err := lines.Encode(head); err != nil {
		return err
	}
	since := func(t time.Time) float64 { return float64(t.Sub(began).Microseconds()) / 1e6 }
	for _, o := range ops {
		line := flightLine{
			Operation: o.Operation, Name: o.Name, Type: o.Type, Bytes: o.Bytes, Group: o.Group, Lane: o.Lane,
			Seq: o.Seq, Step: o.Step, Generation: head.Generation, Begun: since(o.Begun),
		}
		if !o.Ended.IsZero() {
			ended := since(o.Ended)
			line.Ended = &ended
		}
		if err := lines.Encode(line); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".new-*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text.Bytes())
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, fmt.Sprintf("rank-%d-generation-%d.jsonl", head.Rank, head.Generation)))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	trimFlights(dir)
	return nil
}

// trimFlights removes the oldest records beyond the number that is kept. What can't be removed,
// the next rank removes, which may be at it already.
func trimFlights(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) <= mostFlights {
		return
	}
	type file struct {
		name string
		at   time.Time
	}
	var files []file
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.HasPrefix(e.Name(), "rank-") && strings.HasSuffix(e.Name(), ".jsonl") {
			files = append(files, file{e.Name(), info.ModTime()})
		}
	}
	slices.SortFunc(files, func(a, b file) int { return a.at.Compare(b.at) })
	for _, old := range files[:max(0, len(files)-mostFlights)] {
		_ = os.Remove(filepath.Join(dir, old.name))
	}
}
