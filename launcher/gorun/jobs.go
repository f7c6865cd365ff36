package main

import (
	"fmt"
	"net"
	"os"
	"os/user"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gorun-ml/gorun/launcher"
	"github.com/gorun-ml/gorun/launcher/cluster"
)

// lookout is where a command looks for jobs.
type lookout struct {
	join []string // agents to ask; none for the one of this host, if it has one
	key  string   // file with the cluster's key
}

func (l *lookout) flags(f *pflag.FlagSet) {
	f.SortFlags = false
	f.StringSliceVar(&l.join, "join", nil, "ask the agent at `HOST[:PORT],...` for jobs of its cluster")
	f.StringVar(&l.key, "key", "", "take the cluster's key from `FILE` (default "+cluster.KeyFile(lookupShort)+")")
}

// all is the jobs of this host, and of its cluster's others. Hosts that don't answer are
// named on standard error.
func (l *lookout) all(cmd *cobra.Command) ([]launcher.Found, error) {
	runtime := launcher.RuntimeFolder(os.LookupEnv)
	jobs, err := launcher.FindHere(runtime)
	if err != nil {
		return nil, &launcher.Refusal{Status: 1, Text: err.Error()}
	}
	if len(l.join) == 0 && !cluster.Here(runtime) {
		return jobs, nil
	}
	say := func(err error) { _, _ = fmt.Fprintf(cmd.ErrOrStderr(), "gorun: %v\n", err) } // there is nowhere else to say it
	client, err := find(cmd.Context(), l.join, l.key, "")
	if err != nil {
		if len(l.join) > 0 {
			return nil, err
		}
		say(fmt.Errorf("jobs of other hosts aren't looked for: %w", err))
		return jobs, nil
	}
	others, missing := client.Jobs(cmd.Context())
	for _, err := range missing {
		say(err)
	}
	own := ownAddresses()
	var found []launcher.Found
	for _, j := range others {
		found = append(found, launcher.Found{Entry: j.Entry, Host: j.Host, Here: own[j.Addr]})
	}
	return launcher.Add(jobs, found), nil
}

// one is the job that a name, or the beginning of one, means. A whole name of this host's is
// not looked for elsewhere.
func (l *lookout) one(cmd *cobra.Command, name string) (launcher.Found, error) {
	here, err := launcher.FindHere(launcher.RuntimeFolder(os.LookupEnv))
	if err == nil {
		for _, f := range here {
			if f.Job == name {
				return f, nil
			}
		}
	}
	all, err := l.all(cmd)
	if err != nil {
		return launcher.Found{}, err
	}
	return launcher.Pick(all, name)
}

// oneJob wants exactly one argument, and says so to people.
func oneJob(cmd *cobra.Command, args []string) error {
	if len(args) != 1 || args[0] == "" { // which all names begin with
		return launcher.Usage(fmt.Sprintf("gorun %s: want one JOB, as gorun ps names it", cmd.Name()))
	}
	return nil
}

// jobNames completes JOB.
func jobNames(_ *cobra.Command, args []string, _ string) (names []string, _ cobra.ShellCompDirective) {
	here, err := launcher.FindHere(launcher.RuntimeFolder(os.LookupEnv))
	if err == nil && len(args) == 0 {
		for _, f := range here {
			names = append(names, f.Job)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func ownAddresses() map[string]bool {
	own := map[string]bool{}
	addrs, _ := net.InterfaceAddrs() // without them, hosts are taken for others
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			own[n.IP.String()] = true
		}
	}
	return own
}

// myself is who calls this command, for people.
func myself() string {
	host, _ := os.Hostname()
	name := fmt.Sprintf("user %d", os.Getuid())
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	return name + "@" + host
}
