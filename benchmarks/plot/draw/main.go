// Command draw makes an SVG or a Markdown table of measured all-reduces: the lines of
// peer,np,bytes,iters,min_us,median_us,… that benchmarks of all peers write.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/gorun-ml/gorun/benchmarks/plot"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// usage is the exit status of wrong flags and bad files.
const usage = 64

func run(args []string, out, errs io.Writer) int {
	if err := draw(args, out); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		fmt.Fprintf(errs, "draw: %v\n", err)
		return usage
	}
	return 0
}

func draw(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("draw", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	np := flags.Int("np", 0, "the lines of that many ranks; 0: all, which must have one number")
	ours := flags.String("ours", "gorun", "ours are the peers whose names begin so")
	limits := flags.String("limits", "", "file of what the machine can do at best, name,value,unit")
	table := flags.Bool("table", false, "write a Markdown table instead of an SVG")
	to := flags.String("o", "", "file to write; standard output if not given")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(out, "draw [flags] CSV")
		flags.SetOutput(out)
		flags.PrintDefaults()
		return err
	case err != nil:
		return err
	case flags.NArg() != 1:
		return fmt.Errorf("%d files: want one CSV file, after the flags", flags.NArg())
	}
	m, err := measured(flags.Arg(0), *np)
	if err != nil {
		return err
	}
	var best []plot.Limit
	if *limits != "" {
		f, err := os.Open(*limits)
		if err != nil {
			return err
		}
		defer f.Close()
		if best, err = plot.ReadLimits(f, m.Ranks, m.Sizes); err != nil {
			return fmt.Errorf("%s: %w", *limits, err)
		}
	}
	if *to == "" {
		return write(out, m, *ours, best, *table)
	}
	f, err := os.Create(*to)
	if err != nil {
		return err
	}
	return errors.Join(write(f, m, *ours, best, *table), f.Close())
}

func measured(path string, np int) (*plot.Measured, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m, err := plot.ReadMeasured(f, np)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

func write(out io.Writer, m *plot.Measured, ours string, limits []plot.Limit, table bool) error {
	if table {
		return plot.Table(out, m, ours, limits)
	}
	return plot.DrawSVG(out, plot.AllReduce(m, ours, limits))
}
