package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/gorun-ml/gorun/launcher/joblist"
)

const (
	commandBytes = 1 << 10         // of a job's command line that are told
	jobsBytes    = maxFrame / 2    // of all jobs of a host
	jobsBound    = 2 * time.Second // for a host to tell its jobs
	jobsAtOnce   = 64              // hosts that are asked at the same time
)

// listJobs is the jobs of this host: their launchers belong to the user of this daemon, and
// who holds the cluster's key is that user.
func (d *Daemon) listJobs() answer {
	if d.o.Runtime == "" {
		return answer{Jobs: &jobList{}}
	}
	entries, err := joblist.Read(d.o.Runtime)
	if err != nil {
		return refuse(err)
	}
	l := &jobList{}
	size := 0
	for i, e := range entries {
		e.Command = cut(e.Command, commandBytes)
		data, err := json.Marshal(e)
		if size += len(data); err != nil || size > jobsBytes {
			l.Left = len(entries) - i
			break
		}
		l.Entries = append(l.Entries, e)
	}
	return answer{Jobs: l}
}

// Job is one that runs on a host of the cluster.
type Job struct {
	joblist.Entry        // as it looks from here
	Host          string // its launcher's
	Addr          string // IP address of that
}

// Jobs asks all hosts for their jobs, all at once. Those that don't answer, or not with all
// they have, are named in the errors.
func (c *Client) Jobs(ctx context.Context) (all []Job, missing []error) {
	found := make([][]Job, len(c.hosts))
	errs := make([]error, len(c.hosts))
	turn := make(chan struct{}, jobsAtOnce)
	var asked sync.WaitGroup
	for i, h := range c.hosts {
		asked.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			found[i], errs[i] = c.jobsOf(ctx, h)
		})
	}
	asked.Wait()
	all = slices.Concat(found...)
	slices.SortStableFunc(all, func(a, b Job) int { return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.Job, b.Job)) })
	return all, slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}

func (c *Client) jobsOf(ctx context.Context, h HostInfo) ([]Job, error) {
	bounded, cancel := context.WithTimeoutCause(ctx, jobsBound, fmt.Errorf("no answer within %v", jobsBound))
	defer cancel()
	ip, _, err := net.SplitHostPort(h.Addr)
	if err != nil {
		return nil, fmt.Errorf("host %s at %q: %w", h.Name, h.Addr, err)
	}
	t, err := dialControl(bounded, net.JoinHostPort(ip, strconv.Itoa(h.ControlPort)), c.creds)
	var a answer
	if err == nil {
		a, _, err = exchange(bounded, t, request{Jobs: true})
	}
	if err == nil && a.Jobs == nil {
		err = errors.New("its answer is one to another question")
	}
	if err != nil {
		return nil, fmt.Errorf("host %s doesn't tell its jobs: %w", h.Name, err)
	}
	var all []Job
	for _, e := range a.Jobs.Entries {
		all = append(all, Job{e.From(ip), h.Name, ip})
	}
	if a.Jobs.Left > 0 {
		err = fmt.Errorf("host %s has %d more jobs than it can tell", h.Name, a.Jobs.Left)
	}
	return all, err
}

// Here says whether a daemon of this host has left its address in the folder.
func Here(runtime string) bool {
	all, err := traces(runtime)
	return err == nil && len(all) > 0
}
