package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/gorun-ml/gorun/launcher"
	"github.com/gorun-ml/gorun/launcher/cluster"
)

func (c *command) agentCommand() *cobra.Command {
	var o cluster.Options
	var labels []string
	var keyFile string
	var job bool
	cmd := &cobra.Command{
		Use: "agent [--join HOST[:PORT],...] [flags]", Short: "Offer this host's slots", Args: cobra.NoArgs, DisableFlagsInUseLine: true,
		Long: "Offer this host's slots to the jobs of a cluster, until it is stopped. Agents find each\n" +
			"other by gossip: name any that runs with --join. They share a key, which the first makes.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if job {
				return c.jobAgent(keyFile)
			}
			o.Labels = map[string]string{}
			for _, l := range labels {
				name, value, err := cluster.ParseLabel(l)
				if err != nil {
					return clusterRefusal(err)
				}
				if old, twice := o.Labels[name]; twice {
					return launcher.Usage(fmt.Sprintf("label %s: given twice, as %q and %q", name, old, value))
				}
				o.Labels[name] = value
			}
			return c.agent(cmd, o, keyFile)
		},
	}
	host, _ := os.Hostname()
	f := cmd.Flags()
	f.SortFlags = false
	f.StringSliceVar(&o.Join, "join", nil, "find the others through agents at `HOST[:PORT],...`; one that answers is enough")
	f.IntVar(&o.Slots, "slots", runtime.GOMAXPROCS(0), "offer `N` slots, for a rank each")
	f.StringArrayVar(&labels, "label", nil, "tell `NAME=VALUE` of this host; may be repeated")
	f.StringVar(&o.Name, "name", host, "this host's `NAME`, unique in the cluster")
	f.StringVar(&o.Bind, "bind", "", "listen on this `IP` (default: the one that leads to the others)")
	f.IntVar(&o.Port, "port", cluster.DefaultPort, "gossip on port `P`, UDP and TCP; take orders on P+1, TCP; 0: any two")
	f.DurationVar(&o.LeaveBound, "grace", 0, "`TIME` for ranks to leave this host when it is asked to end (default 15s)")
	f.StringVar(&keyFile, "key", "", "take the cluster's key from `FILE` (default "+cluster.KeyFile(lookupShort)+")")
	f.BoolVar(&job, "job", false, "serve one job: its launcher starts it so")
	_ = f.MarkHidden("job") // the flag exists
	return cmd
}

// jobAgent serves the job whose letter comes on standard input.
func (c *command) jobAgent(keyFile string) error {
	version, err := fullVersion()
	if err != nil {
		return err
	}
	c.listen(syscall.SIGUSR1) // the host is about to go
	c.status = launcher.JobAgent{
		Version: version, Reach: func() launcher.Reach { return newRoster(nil, keyFile).lasting() }, Environ: os.Environ(), Runtime: launcher.RuntimeFolder(os.LookupEnv), In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Signals: c.signals,
	}.Run()
	return nil
}

// jobAgentWith is how job agents are started, which may ask this cluster's agents.
func (c *command) jobAgentWith(keyFile string) ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, launcher.Usage(err.Error())
	}
	if keyFile, err = filepath.Abs(keyFile); err != nil {
		return nil, launcher.Usage(err.Error())
	}
	return append([]string{self}, append(jobAgent, "--key", keyFile)...), nil
}

// agent offers this host's slots until a signal comes. A second one leaves job agents no
// time to end.
func (c *command) agent(cmd *cobra.Command, o cluster.Options, keyFile string) error {
	if keyFile == "" {
		keyFile = cluster.KeyFile(os.LookupEnv)
	}
	say := func(line string) { _, _ = fmt.Fprintln(cmd.ErrOrStderr(), "gorun: "+line) } // there is nowhere else to say it
	key, made, err := cluster.EnsureKey(keyFile)
	if err != nil {
		return clusterRefusal(err)
	}
	if made != "" {
		say(made)
	}
	if o.Bind == "" {
		o.Bind = cluster.OwnAddress(o.Join)
	}
	health := launcher.Examine(cmd.Context())
	o.Cores, o.MemoryBytes, o.GPUs = health.UsableCores, health.MemoryBytes, health.GPUs
	if o.Child, err = c.jobAgentWith(keyFile); err != nil {
		return err
	}
	o.Key, o.Version, o.Runtime, o.Log = key, version(), launcher.RuntimeFolder(os.LookupEnv), say
	d, err := cluster.Listen(o)
	if err != nil {
		return clusterRefusal(err)
	}
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	var leaving sync.WaitGroup
	defer leaving.Wait()
	c.listen()
	over, heard := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(heard)
		stop := func() {
			leaving.Go(func() {
				d.Leave(ctx)
				cancel()
			})
		}
		for {
			select {
			case s := <-c.signals:
				say(fmt.Sprintf("%v: leaving the cluster", s))
				stop()
				stop = func() {
					cancel()
					d.Kill()
				}
			case <-over:
				return
			}
		}
	}()
	err = d.Serve(ctx)
	close(over)
	<-heard
	return clusterRefusal(err)
}

// lookupShort finds no variable but HOME, as it is written: for help.
func lookupShort(name string) (string, bool) { return "~", name == "HOME" }

// clusterRefusal gives an error of the cluster its status. nil stays nil.
func clusterRefusal(err error) error {
	if err == nil {
		return nil
	}
	return &launcher.Refusal{Status: cluster.Status(err), Text: err.Error()}
}
