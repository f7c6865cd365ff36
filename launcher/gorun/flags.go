package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/launcher"
)

// command is one call of gorun.
type command struct {
	options launcher.Options
	ranks   string // -np as typed
	where   where
	signals <-chan os.Signal
	listen  func(more ...os.Signal) // begins to take signals instead of dying from them
	status  int
	waits   bool     // another task of the same step launches
	vigil   *os.File // its end tells the other tasks of this step that this one's has come
}

const long = `Start PROGRAM on several ranks, connect them and keep them alive. PROGRAM is a
.go file, a Go package or any executable; ARGS go to it untouched. For example:
  gorun -np 4 train.go --epochs 3      built once, trained by 4 ranks
  gorun -np 4 python3 script.py        any program that reads RANK, WORLD_SIZE`

const helpTemplate = `{{if .HasParent}}{{or .Long .Short}}

Usage: {{.UseLine}}
{{else}}Usage: gorun [flags] PROGRAM [ARGS...]
       gorun {ps|logs|events|explain|attach|resize|drain|stop} [--help]  jobs
       gorun {agent|bench|doctor|hosts|topology|version|completion} [--help]

{{.Long}}
{{end}}{{if .HasAvailableLocalFlags}}
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}
{{end}}`

func (c *command) root() *cobra.Command {
	root := &cobra.Command{
		Use:                   "gorun [flags] PROGRAM [ARGS...]",
		Short:                 "Train on several ranks",
		Long:                  long,
		Args:                  cobra.ArbitraryArgs,
		SilenceErrors:         true,
		SilenceUsage:          true,
		DisableFlagsInUseLine: true,
		RunE:                  c.run,
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveDefault // files
		},
	}
	o := &c.options
	f := root.Flags()
	f.SetInterspersed(false)
	f.SortFlags = false
	f.StringVarP(&c.ranks, "np", "n", "", fmt.Sprintf("ranks; also -np `N` (default: one a core, %d)", runtime.GOMAXPROCS(0)))
	f.IntVar(&o.Restarts, "restarts", launcher.DefaultRestarts, "start dead ranks anew, `N` times")
	f.IntVar(&o.MinNP, "min-np", 0, "go on with `N` ranks if hosts are lost (default: -np)")
	f.IntVar(&o.MaxNP, "max-np", 0, "grow to `N` ranks as hosts have slots (default: -np)")
	f.DurationVar(&o.ElasticTimeout, "elastic-timeout", launcher.DefaultElasticTimeout, "`TIME` to wait for hosts below --min-np")
	f.IntVar(&o.Spares, "spares", 0, "keep `N` more ready to take a dead rank's place")
	f.StringVar(&o.Checkpoint.Dir, "checkpoint", "", "keep checkpoints in `DIR`")
	f.IntVar(&o.Checkpoint.Every, "checkpoint-every", 0, "one every `STEPS`; 0: one at the end")
	f.IntVar(&o.Checkpoint.Keep, "checkpoint-keep", launcher.DefaultKeep, "keep the newest `N`")
	f.StringVar(&o.Guards.OnNaN, "on-nan", control.OnNaNStop, "a value is not finite: stop, skip or restore")
	f.IntVar(&o.Guards.VerifyEvery, "verify-every", control.DefaultVerifyEvery, "compare ranks' state every `STEPS`; 0: never")
	f.BoolVar(&o.Checkpoint.Resume, "resume", false, "go on from the newest checkpoint")
	f.StringVar(&o.Output, "output", "", "keep what ranks write in `DIR`/rank-N.log")
	f.StringVar(&o.Metrics, "metrics", "", "write a line of JSON a step to `FILE`")
	f.StringVar(&o.Verdict, "verdict", "", "write how the job ended to `FILE`, as JSON")
	f.StringVar(&o.Flight, "flight", "", "leave what ranks did last before a failure in `DIR`")
	f.BoolVar(&o.Gang, "gang", false, "the program does not call worker.Run")
	f.BoolVarP(&o.Quiet, "quiet", "q", false, "show nothing but why the job failed")
	f.DurationVar(&o.Stall, "stall", launcher.DefaultStall, "replace a rank that is silent for `TIME`; 0: never")
	f.Float64Var(&o.EvictSlow, "evict-slow", 0, "replace a rank that works `FACTOR` times as long as others; 0: never")
	f.DurationVar(&o.StartTimeout, "start-timeout", launcher.DefaultStartTimeout, "`TIME` until worker.Run is called")
	f.DurationVar(&o.Grace, "grace", launcher.DefaultGrace, "`TIME` for ranks to end")
	f.StringVar(&o.Bind, "bind", launcher.DefaultBind, "listen on this `IP`")
	f.StringVar(&o.Transport, "transport", "", "between ranks of a host: auto, shm or tcp")
	f.BoolVar(&o.Encrypt, "encrypt", false, "encrypt what ranks send to other hosts")
	f.BoolVar(&o.Deterministic, "deterministic", false, "measure nothing that changes rounding")
	c.where.flags(f, o)
	f.BoolVar(&o.Detach, "detach", false, "leave the job to agents of its hosts")
	f.BoolVar(&o.Oversubscribe, "oversubscribe", false, "allow more than 64 ranks a core")
	f.BoolP("help", "h", false, "show this screen")
	for _, rare := range []string{"oversubscribe", "help", "env", "file", "ssh", "key", "discovery-script", "nic", "spread", "checkpoint-keep", "deterministic", "start-timeout", "stall", "evict-slow", "min-np", "max-np", "elastic-timeout", "spares", "grace", "bind", "transport", "on-nan", "verify-every", "flight"} { // the screen has 24 lines
		_ = f.MarkHidden(rare) // the flags exist
	}
	root.SetHelpTemplate(helpTemplate)
	for _, dirs := range []string{"checkpoint", "output", "flight"} {
		_ = root.MarkFlagDirname(dirs) // the flags exist
	}
	_ = root.RegisterFlagCompletionFunc("transport", cobra.FixedCompletions(launcher.Transports(), cobra.ShellCompDirectiveNoFileComp))
	_ = root.RegisterFlagCompletionFunc("on-nan", cobra.FixedCompletions(control.OnNaNs(), cobra.ShellCompDirectiveNoFileComp))
	root.AddCommand(versionCommand(), c.doctorCommand(), psCommand(), topologyCommand(), c.agentCommand(), hostsCommand(), c.benchCommand(), rankCommand(),
		logsCommand(), eventsCommand(), explainCommand(), stopCommand(), resizeCommand(), drainCommand(), c.attachCommand())
	root.SetHelpCommand(&cobra.Command{Use: "help", Hidden: true, RunE: func(*cobra.Command, []string) error { return root.Help() }})
	return root
}

// run is gorun with a program.
func (c *command) run(cmd *cobra.Command, args []string) error {
	o := &c.options
	o.RestartsSet = cmd.Flags().Changed("restarts")
	if len(args) > 0 {
		o.Program, o.Args = args[0], args[1:]
	}
	typed := os.Args[1:]
	o.Command, o.ProgramAt = typed, len(typed)-len(args)
	err := c.hosts(cmd)
	if err != nil || c.waits {
		return err
	}
	if o.NP, err = c.np(cmd); err != nil {
		return err
	}
	return c.launch()
}

// np is how many ranks were asked for.
func (c *command) np(cmd *cobra.Command) (int, error) {
	if len(c.options.Hosts) > 0 && !cmd.Flags().Changed("np") {
		return 0, nil // all that they take
	}
	if !cmd.Flags().Changed("np") {
		return runtime.GOMAXPROCS(0), nil
	}
	return launcher.ParseRanks(c.ranks)
}

// launch runs the job of the options.
func (c *command) launch() error {
	o := &c.options
	o.Environ = os.Environ()
	if err := o.Inherit(os.LookupEnv); err != nil {
		return err
	}
	o.Runtime, o.State = launcher.RuntimeFolder(os.LookupEnv), launcher.StateFolder(os.LookupEnv)
	o.Stdout, o.Stderr = os.Stdout, os.Stderr
	c.listen()
	c.status = launcher.Run(*o, c.signals)
	return nil
}

// usage turns what is wrong with the command line into one clear line.
func usage(err error) *launcher.Refusal {
	text := err.Error()
	if strings.HasPrefix(text, "unknown") {
		text += ": gorun --help lists gorun's own; a program's flags come after PROGRAM"
	}
	return launcher.Usage(text)
}

// normalise writes -np, which everybody who knows mpirun types, the way the parser knows it.
// It stops at PROGRAM: what comes after it belongs to the program.
func normalise(cmd *cobra.Command, args []string) []string {
	args = slices.Clone(args)
	for _, name := range []string{"topology", "bench", "allreduce"} { // commands that have -np
		if len(args) > 0 && args[0] == name {
			if sub, _, err := cmd.Find(args[:1]); err == nil && sub.Name() == name {
				return append(args[:1], normalise(sub, args[1:])...)
			}
		}
	}
	for i := 0; i < len(args); i++ {
		a := args[i]
		if a == "-np" || strings.HasPrefix(a, "-np=") {
			args[i] = "-" + a
			a = args[i]
		} else if digits, ok := strings.CutPrefix(a, "-np"); ok {
			if _, err := strconv.Atoi(digits); err == nil {
				args[i] = "--np=" + digits
				continue
			}
		}
		if a == "--" || !strings.HasPrefix(a, "-") || a == "-" {
			break
		}
		if takesNext(cmd, a) {
			i++
		}
	}
	return args
}

// takesNext says whether the value of a flag is the argument after it.
func takesNext(cmd *cobra.Command, arg string) bool {
	if strings.Contains(arg, "=") {
		return false
	}
	if name, ok := strings.CutPrefix(arg, "--"); ok {
		f := cmd.Flags().Lookup(name)
		return f != nil && f.NoOptDefVal == ""
	}
	last := arg[len(arg)-1:] // of shorthands written together
	f := cmd.Flags().ShorthandLookup(last)
	return f != nil && f.NoOptDefVal == ""
}
