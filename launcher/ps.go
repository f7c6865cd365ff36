package launcher

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/launcher/private"
)

// jobEntry is what a launcher leaves in the runtime folder, for gorun ps. Its file is 0600,
// and locked as long as the launcher lives.
type jobEntry struct {
	Job     string    `json:"job"`
	PID     int       `json:"pid"`
	Broker  string    `json:"broker"`
	Seed    string    `json:"seed"` // of the key that opens the broker
	Started time.Time `json:"started"`
	Command string    `json:"command"`
	Folder  string    `json:"folder"`           // to be removed if the launcher could not
	Keeper  string    `json:"keeper,omitempty"` // the host, where several keep the job
}

// file is the entry's name in the runtime folder.
func (e jobEntry) file() string {
	if e.Keeper != "" {
		return e.Job + "@" + e.Keeper + ".json"
	}
	return e.Job + ".json"
}

// entry is a job's file in the runtime folder. A nil entry is none.
type entry struct {
	f    *os.File
	path string
}

// RuntimeFolder is where running jobs are listed.
func RuntimeFolder(lookup func(string) (string, bool)) string {
	if dir, ok := lookup("XDG_RUNTIME_DIR"); ok && filepath.IsAbs(dir) {
		return filepath.Join(dir, "gorun")
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("gorun-%d", os.Getuid()))
}

// enter lists a job and removes what launchers that were killed have left.
func enter(dir string, e jobEntry) (*entry, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := private.Folder(dir); err != nil {
		return nil, err
	}
	entries(dir)
	data, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	// Locked before it has its name, so that it never looks left behind.
	f, err := os.CreateTemp(dir, ".new-*") // 0600
	if err != nil {
		return nil, err
	}
	err = private.Lock(f)
	if err == nil {
		_, err = f.Write(data)
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, e.file()))
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return nil, errors.Join(err, f.Close())
	}
	return &entry{f, filepath.Join(dir, e.file())}, nil
}

// leave takes the job off the list.
func (e *entry) leave() {
	if e != nil {
		_ = os.Remove(e.path) // else the next to look removes it
		_ = e.f.Close()
	}
}

// entries reads the list and takes off it what no launcher holds any more.
func entries(dir string) []jobEntry {
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil
	}
	var all []jobEntry
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			continue // it has just ended
		}
		var e jobEntry
		bad := json.NewDecoder(io.LimitReader(f, 1<<20)).Decode(&e)
		if private.Lock(f) == nil { // its launcher is gone
			_ = os.Remove(name)
			if bad == nil && strings.HasPrefix(filepath.Base(e.Folder), "gorun-"+e.Job+"-") {
				_ = os.RemoveAll(e.Folder)
			}
		} else if bad == nil {
			all = append(all, e)
		}
		_ = f.Close() // only read from
	}
	slices.SortFunc(all, func(a, b jobEntry) int { return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.Job, b.Job)) })
	return slices.CompactFunc(all, func(a, b jobEntry) bool { return a.Job == b.Job }) // one of several keepers is enough
}

// JobState is a running job as gorun ps shows it.
type JobState struct {
	Job     string
	PID     int
	Started time.Time
	Command string
	Ranks   []RankState
}

// psBound is how long one launcher may take to answer.
const psBound = 2 * time.Second

// Jobs asks all running jobs of this user for their state. Those that don't answer are
// named in the error.
func Jobs(dir string) ([]JobState, error) {
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err := private.Folder(dir); err != nil {
		return nil, err
	}
	var jobs []JobState
	var errs []error
	for _, e := range entries(dir) {
		ranks, err := ask(e)
		if err != nil {
			errs = append(errs, fmt.Errorf("job %s (pid %d) doesn't answer: %w", e.Job, e.PID, err))
			continue
		}
		jobs = append(jobs, JobState{e.Job, e.PID, e.Started, e.Command, ranks})
	}
	return jobs, errors.Join(errs...)
}

func ask(e jobEntry) ([]RankState, error) {
	nc, err := nats.Connect("nats://"+e.Broker, control.Login(e.Seed), nats.Timeout(psBound), nats.NoReconnect())
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	m, err := nc.Request("gorun."+e.Job+".ps", nil, psBound)
	if err != nil {
		return nil, err
	}
	var ranks []RankState
	if err := json.Unmarshal(m.Data, &ranks); err != nil {
		return nil, err
	}
	return ranks, nil
}

// WriteJobs shows jobs to people or, as one array with an object a rank, to machines.
func WriteJobs(w io.Writer, jobs []JobState, asJSON bool, now time.Time) error {
	if asJSON {
		ranks := []RankState{}
		for _, j := range jobs {
			ranks = append(ranks, j.Ranks...)
		}
		return json.NewEncoder(w).Encode(ranks)
	}
	if len(jobs) == 0 {
		_, err := fmt.Fprintln(w, "no jobs are running")
		return err
	}
	for i, j := range jobs {
		if i > 0 {
			if _, err := fmt.Fprintln(w); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintf(w, "job %s · pid %d · %s · %s\n", j.Job, j.PID, lasted(now.Sub(j.Started)), j.Command); err != nil {
			return err
		}
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(t, "rank\thost\tpid\tgeneration\tstep") // Flush returns the error
		for _, r := range j.Ranks {
			_, _ = fmt.Fprintf(t, "%d\t%s\t%d\t%d\t%d\n", r.Rank, r.Host, r.PID, r.Generation, r.Step)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	return nil
}
