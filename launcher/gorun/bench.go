package main

import (
	"context"
	"flag"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gorun-ml/gorun/benchmarks/allreduce/bench"
	"github.com/gorun-ml/gorun/launcher"
	"github.com/gorun-ml/gorun/worker"
)

// rankName is the command that gorun starts itself with, for each rank of a benchmark.
const rankName = "allreduce-rank"

func (c *command) benchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "bench allreduce [flags]", Short: "Time all-reduces on this machine", DisableFlagsInUseLine: true,
		Args: cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return launcher.Usage("bench " + args[0] + ": the one benchmark is gorun bench allreduce")
			}
			return launcher.Usage("bench: of what? gorun bench allreduce [flags]")
		},
	}
	cmd.AddCommand(c.allreduceCommand())
	return cmd
}

func (c *command) allreduceCommand() *cobra.Command {
	var o bench.Options
	cmd := &cobra.Command{
		Use: "allreduce [flags]", Short: "Time sums of float32 over all ranks", Args: cobra.NoArgs, DisableFlagsInUseLine: true,
		Long: "Time sums of float32 over ranks of this machine, check them, and print a line a\nsize:\n" +
			"  peer,np,bytes,iters,min_us,median_us,p99_us,algbw_GBs,busbw_GBs",
		RunE: func(cmd *cobra.Command, _ []string) error { return c.bench(cmd, &o) },
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVarP(&c.ranks, "np", "n", "", "`N` ranks, also as -np N (default: one a core)")
	f.AddGoFlagSet(benchFlags(&o))
	_ = f.MarkHidden("ranks") // -np says that
	f.BoolVar(&c.options.Oversubscribe, "oversubscribe", false, "allow more than 64 ranks a core")
	return cmd
}

func benchFlags(o *bench.Options) *flag.FlagSet {
	fs := flag.NewFlagSet(rankName, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	o.Flags(fs)
	return fs
}

// bench starts this program once a rank.
func (c *command) bench(cmd *cobra.Command, b *bench.Options) error {
	if err := b.Check(); err != nil {
		return launcher.Usage(err.Error())
	}
	self, err := itself()
	if err != nil {
		return launcher.Usage("bench: " + err.Error())
	}
	o := &c.options
	o.Program, o.Args, o.Own = self, []string{rankName}, true
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if benchFlags(new(bench.Options)).Lookup(f.Name) != nil {
			o.Args = append(o.Args, "-"+f.Name+"="+f.Value.String())
		}
	})
	if o.NP, err = c.np(cmd); err != nil {
		return err
	}
	if b.Transport == bench.InProcess { // one rank stands for all
		o.Args = append(o.Args, "-ranks="+strconv.Itoa(o.NP))
		o.NP = 1
	} else {
		o.Transport, o.Encrypt = b.Transport, b.Encrypt
	}
	o.Command = os.Args[1:]
	o.ProgramAt = len(o.Command)
	o.Restarts, o.StartTimeout, o.Grace = 0, launcher.DefaultStartTimeout, launcher.DefaultGrace
	o.Bind, o.Checkpoint.Keep = launcher.DefaultBind, launcher.DefaultKeep
	return c.launch()
}

// rankCommand is what the ranks of a benchmark run. It doesn't return.
func rankCommand() *cobra.Command {
	return &cobra.Command{
		Use: rankName, Hidden: true, DisableFlagParsing: true,
		Run: func(_ *cobra.Command, args []string) {
			var o bench.Options
			fs := benchFlags(&o)
			worker.Main(func(ctx context.Context) error {
				if err := fs.Parse(args); err != nil {
					return worker.BadInput(err)
				}
				return o.Run(ctx)
			})
		},
	}
}

// itself is the path to this program, by the name that it was called by: links to it may
// have others.
func itself() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	called, err := exec.LookPath(os.Args[0])
	if err != nil || !strings.Contains(called, string(os.PathSeparator)) {
		return self, nil
	}
	a, err := os.Stat(self)
	if err != nil {
		return "", err
	}
	if b, err := os.Stat(called); err == nil && os.SameFile(a, b) {
		return called, nil
	}
	return self, nil
}
