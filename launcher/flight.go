package launcher

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Ranks whose generation fails leave their last operations in a folder of the job's. Of how
// many jobs these are kept where gorun explain looks: the newest.
const pastFlights = 16

// flightFolder is where the ranks of a host leave them, "" where the host's agent knows.
func (l *launch) flightFolder(host string) string {
	switch {
	case l.Flight != "":
		return filepath.Join(l.Flight, l.job)
	case l.State != "" && host == l.host:
		return filepath.Join(l.State, "flight", l.job)
	}
	return ""
}

// flown is the folder where this host's ranks have left something, "" for none.
func (l *launch) flown() string {
	dir := l.flightFolder(l.host)
	if entries, err := os.ReadDir(dir); dir == "" || err != nil || len(entries) == 0 {
		return ""
	}
	return dir
}

// withFlights has ranks of this host leave them where this user's gorun explain looks, unless
// they were told where.
func withFlights(env []string) []string {
	look := lookIn(env)
	asked, _ := look("GORUN_FLIGHT")
	state := StateFolder(look)
	if asked != "" || state == "" {
		return env
	}
	job, _ := look("GORUN_JOB")
	return merge(env, []string{"GORUN_FLIGHT=" + filepath.Join(state, "flight", job)})
}

// lookIn is os.LookupEnv for an environment that is not this process's.
func lookIn(env []string) func(name string) (string, bool) {
	return func(name string) (value string, ok bool) {
		for _, kv := range env { // the last one counts
			if v, found := strings.CutPrefix(kv, name+"="); found {
				value, ok = v, true
			}
		}
		return value, ok
	}
}

// forgetFlights removes those of the oldest jobs.
func forgetFlights(state string) {
	if state == "" {
		return
	}
	dir := filepath.Join(state, "flight")
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) <= pastFlights {
		return
	}
	age := map[string]time.Time{}
	var jobs []string
	for _, e := range entries {
		if info, err := e.Info(); err == nil && e.IsDir() {
			age[e.Name()] = info.ModTime()
			jobs = append(jobs, e.Name())
		}
	}
	slices.SortFunc(jobs, func(a, b string) int { return age[a].Compare(age[b]) })
	for _, old := range jobs[:max(0, len(jobs)-pastFlights)] {
		_ = os.RemoveAll(filepath.Join(dir, old)) // else the next job does
	}
}
