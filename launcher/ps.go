package launcher

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/gorun-ml/gorun/internal/control"
)

// RuntimeFolder is where running jobs are listed.
func RuntimeFolder(lookup func(string) (string, bool)) string {
	if dir, ok := lookup("XDG_RUNTIME_DIR"); ok && filepath.IsAbs(dir) {
		return filepath.Join(dir, "gorun")
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("gorun-%d", os.Getuid()))
}

// JobState is a running job as gorun ps shows it.
type JobState struct {
	Found
	Ranks   []RankState
	Keepers control.Keepers // of a detached job
	Outside bool            // it can't be asked from this host
}

// askAtOnce is how many launchers are asked at the same time.
const askAtOnce = 32

// Jobs asks all running jobs of this user on this host for their state. Those that don't
// answer are named in the error.
func Jobs(dir string) ([]JobState, error) {
	found, err := FindHere(dir)
	if err != nil {
		return nil, err
	}
	return States(context.Background(), found)
}

// States asks jobs for their state, all at once. Those that don't answer are named in the
// error.
func States(ctx context.Context, found []Found) ([]JobState, error) {
	all := make([]JobState, len(found))
	errs := make([]error, len(found))
	turn := make(chan struct{}, askAtOnce)
	var asked sync.WaitGroup
	for i, f := range found {
		asked.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			all[i] = JobState{Found: f, Outside: !f.Here && f.Local()}
			if !all[i].Outside {
				errs[i] = all[i].ask(ctx)
			}
		})
	}
	asked.Wait()
	var states []JobState
	for i := range all {
		if errs[i] == nil {
			states = append(states, all[i])
		}
	}
	return states, errors.Join(errs...)
}

// ask asks a job for its state.
func (j *JobState) ask(ctx context.Context) error {
	v, err := j.visit(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
	data, err := v.PS(ctx)
	if err == nil {
		err = json.Unmarshal(data, &j.Ranks)
	}
	if err == nil && j.Keeper != "" {
		j.Keepers, err = v.Keepers(ctx)
	}
	if err != nil {
		return j.unanswered(err)
	}
	return nil
}

// psLine is what gorun ps tells machines of one rank.
type psLine struct {
	Job        string `json:"job"`
	Rank       int    `json:"rank"`
	Host       string `json:"host"`
	Launcher   string `json:"launcher"` // its host
	PID        int    `json:"pid"`
	Generation uint64 `json:"generation"`
	Step       int    `json:"step"`
}

// WriteJobs shows jobs to people or, as one array with an object a rank, to machines.
func WriteJobs(w io.Writer, jobs []JobState, asJSON bool, now time.Time) error {
	if asJSON {
		lines := []psLine{}
		for _, j := range jobs {
			for _, r := range j.Ranks {
				lines = append(lines, psLine{r.Job, r.Rank, r.Host, j.Found.Host, r.PID, r.Generation, r.Step})
			}
		}
		return json.NewEncoder(w).Encode(lines)
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
		if _, err := fmt.Fprintf(w, "job %s · pid %d · %s · %s\n%s%s\n",
			j.Job, j.PID, lasted(now.Sub(j.Started)), oneLine(j.Command), j.where(), j.remark()); err != nil {
			return err
		}
		if j.Outside || j.Keepers.End != nil {
			continue
		}
		if len(j.Ranks) == 0 {
			if _, err := fmt.Fprintln(w, "no rank is running"); err != nil {
				return err
			}
			continue
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

// where is who runs the job.
func (j JobState) where() string {
	if j.Keeper == "" || j.Outside {
		return fmt.Sprintf("launcher on %s at %s", j.Found.Host, j.Broker)
	}
	if end := j.Keepers.End; end != nil {
		return "ended: " + cmp.Or(oneLine(end.Line), "every rank has finished")
	}
	hosts := slices.Clone(j.Keepers.Hosts)
	for i, h := range hosts {
		if h == j.Keepers.Leader {
			hosts[i] += " (leads)"
		}
	}
	return "kept by " + strings.Join(hosts, ", ")
}

// remark says that a job can't be asked from here.
func (j JobState) remark() string {
	if j.Outside {
		return ": it can be asked there only"
	}
	return ""
}
