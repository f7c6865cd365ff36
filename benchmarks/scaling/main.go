// Command scaling predicts all-reduces and training steps on a cluster that need not be
// there, from one rank to all of its ranks:
//
//	scaling -cluster "1024x8 rate=100Gbit/s latency=10us rack=32 oversubscription=4" -bytes 100MiB -compute 150ms -svg scaling.svg
//
// It prints ranks,hosts,bytes,algorithm,predicted_us,measured_us,efficiency. The algorithm is
// what topology.Select chooses, or shared memory where all ranks are on one host and that is
// faster. The efficiency is that of a training step whose batch grows with the ranks.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/gorun-ml/gorun/benchmarks/plot"
	"github.com/gorun-ml/gorun/topology"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// usage is the exit status of wrong flags and bad files.
const usage = 64

func run(args []string, out, errs io.Writer) int {
	o, err := options(args, out)
	if err == nil {
		err = o.run(out, errs)
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(errs, "scaling: %s\n", strings.TrimPrefix(err.Error(), "topology: "))
		return usage
	}
	return 0
}

// job is what the flags ask for.
type job struct {
	cluster  topology.Cluster
	ranks    []int
	bytes    []int64
	step     step
	measured string // file
	ours     string
	svg      string // file
}

func options(args []string, out io.Writer) (job, error) {
	var j job
	flags := flag.NewFlagSet("scaling", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	cluster := flags.String("cluster", "1024x8 rate=10Gbit/s", "hosts x ranks, then any of rate, latency, rack, oversubscription, cores, memory")
	ranks := flags.String("ranks", "", "numbers of ranks, apart by commas; powers of two up to the cluster's if not given")
	bytes := flags.String("bytes", "64MiB", "sizes of the all-reduce, that is of a step's gradients, apart by commas")
	flags.DurationVar(&j.step.compute, "compute", 0, "what a step takes without communication; 0: no efficiency")
	flags.Float64Var(&j.step.overlap, "overlap", 0, "part of -compute under which communication hides, 0 to 1")
	flags.StringVar(&j.measured, "measured", "", "CSV file of peer,np,bytes,iters,min_us,median_us to put beside")
	flags.StringVar(&j.ours, "ours", "gorun", "the peer in -measured whose name begins so")
	flags.StringVar(&j.svg, "svg", "", "draw the efficiency, or the time where there is none, to this file")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(out, "scaling [flags]")
		flags.SetOutput(out)
		flags.PrintDefaults()
		return j, err
	case err != nil:
		return j, err
	case flags.NArg() > 0:
		return j, fmt.Errorf("%q: want flags only", flags.Arg(0))
	case j.step.compute < 0:
		return j, fmt.Errorf("-compute %v: want 0 or more", j.step.compute)
	case !(j.step.overlap >= 0 && j.step.overlap <= 1):
		return j, fmt.Errorf("-overlap %g: want 0 to 1", j.step.overlap)
	}
	if j.cluster, err = topology.ParseCluster(*cluster); err != nil {
		return j, err
	}
	if j.bytes, err = sizes(*bytes); err != nil {
		return j, err
	}
	j.ranks, err = numbers(*ranks, j.cluster)
	return j, err
}

func (j job) run(out, errs io.Writer) error {
	beside, err := readMeasured(j.measured, j.ours, j.ranks)
	if err != nil {
		return err
	}
	slow := time.Now().Add(2 * time.Second)
	points, err := j.predict(beside, func(ranks int, bytes int64) {
		if time.Now().After(slow) {
			fmt.Fprintf(errs, "scaling: %d ranks, %s …\n", ranks, plot.Size(bytes))
		}
	})
	if err != nil {
		return err
	}
	if err := writeCSV(out, points); err != nil || j.svg == "" {
		return err
	}
	f, err := os.Create(j.svg)
	if err != nil {
		return err
	}
	return errors.Join(plot.DrawSVG(f, j.chart(points)), f.Close())
}
