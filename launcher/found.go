package launcher

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/launcher/joblist"
)

// Found is a job that runs on this host or on another.
type Found struct {
	joblist.Entry
	Host string // the launcher's
	Here bool   // it is this one
}

// FindHere is this user's jobs on this host, as its runtime folder lists them.
func FindHere(runtime string) ([]Found, error) {
	entries, err := joblist.Read(runtime)
	if err != nil {
		return nil, err
	}
	host, _ := os.Hostname()
	var all []Found
	for _, e := range entries {
		all = Add(all, []Found{{Entry: e, Host: host, Here: true}}) // one of several keepers is enough
	}
	return all, nil
}

// Add is jobs with those of others that aren't among them.
func Add(jobs, others []Found) []Found {
	for _, f := range others {
		if !slices.ContainsFunc(jobs, func(g Found) bool { return g.Seed == f.Seed }) {
			jobs = append(jobs, f)
		}
	}
	return jobs
}

// Match is the jobs whose name is name or, where there is none, begins with it.
func Match(jobs []Found, name string) []Found {
	named := func(same func(job string) bool) (all []Found) {
		for _, f := range jobs {
			if same(f.Job) {
				all = append(all, f)
			}
		}
		return all
	}
	if all := named(func(job string) bool { return job == name }); len(all) > 0 {
		return all
	}
	return named(func(job string) bool { return strings.HasPrefix(job, name) })
}

// Pick is the one job that a name means.
func Pick(jobs []Found, name string) (Found, error) {
	all := Match(jobs, name)
	switch {
	case len(all) == 1:
		return all[0], nil
	case len(jobs) == 0:
		return Found{}, refuse("job %s: no jobs are running", name)
	case len(all) == 0:
		return Found{}, refuse("job %s: there is none of that name: there is %s", name, listed(jobs))
	}
	return Found{}, refuse("job %s: %d have a name like that: choose one of %s", name, len(all), listed(all))
}

// mostListed jobs are named in one line.
const mostListed = 16

func listed(jobs []Found) string {
	var names []string
	for _, f := range jobs[:min(len(jobs), mostListed)] {
		names = append(names, f.Job+" on "+f.Host)
	}
	if more := len(jobs) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}

// visit connects to the job's launcher.
func (f Found) visit(ctx context.Context) (*control.Visitor, error) {
	if !f.Here && f.Local() {
		return nil, &Refusal{Status: control.StatusNoHost, Text: fmt.Sprintf("job %s listens on %s of host %s only: ask there, or start it with --bind and that host's address", f.Job, f.Broker, f.Host)}
	}
	v, err := control.Visit(ctx, f.Job, f.Broker, f.Seed)
	if err != nil {
		return nil, f.unanswered(err)
	}
	return v, nil
}

// unanswered is the refusal for a launcher that doesn't answer.
func (f Found) unanswered(err error) error {
	r := &Refusal{Status: control.StatusTemporary}
	who := fmt.Sprintf("job %s: its launcher (pid %d on %s)", f.Job, f.PID, f.Host)
	switch {
	case errors.Is(err, control.ErrUnreachable):
		r.Status = control.StatusNoHost
		r.Text = fmt.Sprintf("%s %v: is it still running?", who, err)
	case errors.Is(err, control.ErrAuth):
		r.Status = control.StatusAuth
		r.Text = fmt.Sprintf("%s: %v", who, err)
	case errors.Is(err, control.ErrSilent):
		r.Text = fmt.Sprintf("%s %v: it may be stopped, or its host overloaded: try again", who, err)
	case errors.Is(err, control.ErrLost):
		r.Text = fmt.Sprintf("%s has ended, or is out of reach: %v", who, err)
	default:
		r.Text = fmt.Sprintf("%s: %v", who, err)
	}
	return r
}
