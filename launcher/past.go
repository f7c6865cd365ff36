package launcher

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gorun-ml/gorun/internal/control"
)

// Of how many jobs that have ended the stories are kept, and of each how many events: its
// first and the newest.
const (
	pastJobs   = 100
	pastEvents = 1024
	pastBytes  = 16 << 20 // of a file of events that is read
)

// StateFolder is where stories of jobs that have ended are kept; "" for a user without a
// home.
func StateFolder(lookup func(string) (string, bool)) string {
	if dir, ok := lookup("XDG_STATE_HOME"); ok && filepath.IsAbs(dir) {
		return filepath.Join(dir, "gorun")
	}
	home, _ := lookup("HOME")
	if info, err := os.Stat(home); err != nil || !info.IsDir() || !filepath.IsAbs(home) {
		return ""
	}
	return filepath.Join(home, ".local", "state", "gorun")
}

// keepPast leaves a job's events for gorun explain, and forgets the oldest of others.
func keepPast(dir string, events []control.Event) error {
	if dir == "" || len(events) == 0 {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if n := len(events); n > pastEvents {
		events = append(events[:1:1], events[n-pastEvents+1:]...)
	}
	var text bytes.Buffer
	lines := json.NewEncoder(&text)
	lines.SetEscapeHTML(false)
	for _, e := range events {
		if err := lines.Encode(e); err != nil {
			return err
		}
	}
	f, err := os.CreateTemp(dir, ".new-*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text.Bytes())
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, events[0].Job+".jsonl"))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	files := pastFiles(dir)
	for _, old := range files[:max(0, len(files)-pastJobs)] {
		_ = os.Remove(old) // else the next job does
	}
	return nil
}

// pastFiles is the files of jobs that have ended, the oldest first.
func pastFiles(dir string) []string {
	names, _ := filepath.Glob(filepath.Join(dir, "*.jsonl")) // no pattern of ours is bad
	age := map[string]int64{}
	for _, name := range names {
		if info, err := os.Stat(name); err == nil {
			age[name] = info.ModTime().UnixNano()
		}
	}
	slices.SortStableFunc(names, func(a, b string) int {
		switch {
		case age[a] < age[b]:
			return -1
		case age[a] > age[b]:
			return 1
		}
		return 0
	})
	return names
}

// PastJob is the file of the one job that has ended and has the name, or one that begins
// with it.
func PastJob(dir, name string) (string, error) {
	var like []string
	for _, file := range pastFiles(dir) {
		job := strings.TrimSuffix(filepath.Base(file), ".jsonl")
		if job == name {
			return file, nil
		}
		if strings.HasPrefix(job, name) {
			like = append(like, file)
		}
	}
	switch len(like) {
	case 0:
		return "", refuse("job %s: it isn't running, and not one of the last %d that have ended on this host (gorun ps lists those that run)", name, pastJobs)
	case 1:
		return like[0], nil
	}
	return "", refuse("job %s: %d that have ended have a name like that: write more of it", name, len(like))
}

// ExplainFile tells the story of the events in a file, as gorun events --json writes them.
func ExplainFile(path string, asJSON bool, w io.Writer) error {
	f, err := os.Open(path)
	if err != nil {
		return Usage(strings.TrimPrefix(err.Error(), "open "))
	}
	defer func() { _ = f.Close() }() // it was only read
	var events []control.Event
	for lines := json.NewDecoder(io.LimitReader(f, pastBytes)); ; {
		var e control.Event
		err := lines.Decode(&e)
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && (e.Job == "" || e.Event == "") {
			err = fmt.Errorf("an object without job and event")
		}
		if err != nil {
			return Usage(fmt.Sprintf("%s: line %d: %v: want what gorun events --json writes", path, len(events)+1, err))
		}
		events = append(events, e)
	}
	if len(events) == 0 {
		return Usage(path + ": it has no events: want what gorun events --json writes")
	}
	return account(events, 0).tell(w, asJSON)
}
