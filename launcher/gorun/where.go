package main

import (
	"context"
	"net"
	"os"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/launcher"
	"github.com/gorun-ml/gorun/launcher/hosts"
	"github.com/gorun-ml/gorun/launcher/reach"
)

// where is which hosts a job is to use, as typed.
type where struct {
	list, file string
	script     string // that prints hosts
	ssh        string
	join       []string // agents to ask for hosts
	key        string   // file with the cluster's key
}

// jobAgent is how gorun is started on other hosts.
var jobAgent = []string{"agent", "--job"}

// named are the flags that name hosts.
func (w *where) named(f *pflag.FlagSet) {
	f.StringVarP(&w.list, "host", "H", "", "on these `HOSTS`, as in h1:4,h2:4, by ssh")
	f.StringVar(&w.file, "hostfile", "", "hosts from `FILE`")
	f.StringVar(&w.ssh, "ssh", "", "`COMMAND` to reach hosts with (default: ssh)")
	_ = f.MarkHidden("ssh") // the flag exists
}

func (w *where) flags(f *pflag.FlagSet, o *launcher.Options) {
	w.named(f)
	f.StringArrayVarP(&o.Forward, "env", "x", nil, "ranks on other hosts get `NAME`[=VALUE] too")
	f.StringArrayVar(&o.Files, "file", nil, "ranks on other hosts find `PATH` in their folder")
	f.StringSliceVar(&w.join, "join", nil, "on hosts that the agent at `HOST` knows of")
	f.StringSliceVar(&o.NICs, "nic", nil, "listen on the interface `NAME`, or a subnet, on all hosts")
	f.StringVar(&w.script, "discovery-script", "", "hosts that the program `FILE` prints")
	f.StringVar(&w.key, "key", "", "the cluster's key, from `FILE`")
	f.BoolVar(&o.Spread, "spread", false, "use all hosts, where a few have the slots")
}

// one refuses two ways to name hosts at once.
func (w *where) one() error {
	var given []string
	for _, x := range []struct {
		flag string
		set  bool
	}{{"-H", w.list != ""}, {"--hostfile", w.file != ""}, {"--discovery-script", w.script != ""}, {"--join", len(w.join) > 0}} {
		if x.set {
			given = append(given, x.flag)
		}
	}
	if len(given) < 2 {
		return nil
	}
	return launcher.Usage(strings.Join(given, " and ") + ": choose one of them")
}

// read is the hosts that flags name, none where they don't.
func (w *where) read() (all []hosts.Host, err error) {
	if err := w.one(); err != nil {
		return nil, err
	}
	switch {
	case w.list != "":
		all, err = hosts.ParseList(w.list)
	case w.file != "":
		var text []byte
		if text, err = os.ReadFile(w.file); err == nil {
			all, err = hosts.ParseFile(w.file, text)
		}
	}
	if err != nil {
		return nil, launcher.Usage(strings.TrimPrefix(err.Error(), "open "))
	}
	return all, nil
}

// hosts takes the hosts from flags, or from the scheduler in whose allocation gorun runs.
func (c *command) hosts(cmd *cobra.Command) (err error) {
	c.options.BindSet = cmd.Flags().Changed("bind")
	w := &c.where
	if c.options.Hosts, err = w.read(); err != nil {
		return err
	}
	if w.script != "" {
		c.listen()
		if c.options.Hosts, err = launcher.Discover(w.script, c.signals); err != nil {
			return err
		}
	}
	switch {
	case c.options.Detach && len(c.options.Hosts) > 0:
		return launcher.Usage("--detach and -H or --hostfile: choose one: a detached job is left to hosts that run gorun agent")
	case len(w.join) > 0, c.options.Detach:
		return c.byAgents(cmd.Context())
	case len(c.options.Hosts) == 0:
		return c.allocation()
	}
	return c.bySSH()
}

// remote is how this gorun is run on hosts by ssh.
func (c *command) remote(args []string) (reach.SSH, error) {
	self, err := itself()
	if err != nil {
		return reach.SSH{}, launcher.Usage(err.Error())
	}
	words := c.where.ssh
	if words == "" {
		words = os.Getenv("GORUN_SSH")
	}
	return reach.SSH{Command: strings.Fields(words), Program: self, Args: args}, nil
}

// bySSH has agents started by ssh.
func (c *command) bySSH() error {
	ssh, err := c.remote(jobAgent)
	if err != nil {
		return err
	}
	c.options.Reach = launcher.Reach{
		Each: func(ctx context.Context, names []string, _ []int, letter []byte) (launcher.Booted, error) {
			a, err := ssh.Start(ctx, names[0], letter)
			if err != nil {
				return nil, err
			}
			return a, nil
		},
		Addr: ssh.Addr,
	}
	return c.sameVersion()
}

// byAgents has the agents of a cluster start job agents, on the hosts with free slots.
func (c *command) byAgents(ctx context.Context) error {
	self, err := itself()
	if err != nil {
		return launcher.Usage(err.Error())
	}
	client, err := find(ctx, c.where.join, c.where.key, self)
	if err != nil {
		return err
	}
	client.Refresh(ctx)
	o, addrs := &c.options, map[string]string{}
	for _, h := range client.Hosts() {
		o.Reach.Hosts = append(o.Reach.Hosts, h.Name)
		addrs[h.Name], _, _ = net.SplitHostPort(h.Addr) // an agent says where it listens
		if h.Free > 0 {
			o.Hosts = append(o.Hosts, hosts.Host{Name: h.Name, Slots: h.Free})
		}
	}
	if len(o.Hosts) == 0 {
		return &launcher.Refusal{Status: control.StatusNoHost, Text: "no host of the cluster has a free slot: gorun hosts shows them"}
	}
	own, _ := os.Hostname()
	o.Host = "launcher@" + own // this host's ranks belong to its agent, which counts them
	roster := newRoster(client, c.where.key)
	o.Reach.Look = roster.look
	o.Reach.Each = roster.each(o.Detach)
	o.Reach.Keep = func(ctx context.Context, names []string, _ []int, letter []byte) (launcher.Booted, error) {
		a, err := client.StartLasting(ctx, names[0], 0, letter)
		if err != nil {
			return nil, clusterRefusal(err)
		}
		return a, nil
	}
	o.Reach.Addr = func(host string) (string, error) { return addrs[host], nil }
	return c.sameVersion()
}

// allocation takes the hosts from a scheduler, where one has given some to this process.
func (c *command) allocation() error {
	a, found, err := hosts.FromScheduler(os.LookupEnv, os.ReadFile)
	switch {
	case err != nil:
		return launcher.Usage(err.Error())
	case !found || len(a.Hosts) == 0:
		return nil
	}
	if _, rank := os.LookupEnv("GORUN_JOB"); a.Tasks > 0 && !rank { // else it is a job's rank that starts a job
		if c.waits = a.Task > 0; c.waits {
			waitForTask()
			return nil
		}
		if c.vigil, err = watchOver(a.Step); err != nil {
			return launcher.Usage(err.Error())
		}
	}
	o := &c.options
	o.Hosts, o.JobID = a.Hosts, jobName(a.JobID)
	if a.Self != "" {
		o.Host = a.Self
	}
	if a.Scheduler != "Slurm" {
		return c.bySSH()
	}
	self, err := itself()
	if err != nil {
		return launcher.Usage(err.Error())
	}
	srun := reach.Srun{Program: self, Args: jobAgent}
	o.Reach = launcher.Reach{All: func(ctx context.Context, names []string, _ []int, letter []byte) (launcher.Booted, error) {
		a, err := srun.Start(ctx, names, letter)
		if err != nil {
			return nil, err
		}
		return a, nil
	}}
	return c.sameVersion()
}

// sameVersion has other hosts prove that their gorun is this one.
func (c *command) sameVersion() (err error) {
	c.options.Version, err = fullVersion()
	return err
}

// jobName is a scheduler's job ID as part of a job's name: 12345[7].head.example is 12345-7.
func jobName(id string) string {
	id, _, _ = strings.Cut(id, ".")
	id = strings.Trim(strings.Map(func(r rune) rune {
		if r < 128 && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
			return r
		}
		return '-'
	}, id), "-")
	return id[:min(len(id), 32)]
}
