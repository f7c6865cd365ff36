// Command recovery times how long a job is without a step after a fault: from the fault to the
// first step that all ranks of the next generation have completed.
//
//	recovery -case worker -reps 20 -json
//
// The cases:
//
//	worker   kill -9 of one of 4 ranks
//	hang     SIGSTOP of one of 4 ranks; what is measured contains "named", the time until
//	         gorun has named the rank and ended it, which -stall bounds
//	host     kill -9 of everything that runs on one of 3 hosts with 4 ranks: its agent and its
//	         ranks. Hosts are loopback addresses, so that its network doesn't fall silent
//
// The ranks train examples/mnist, or with -state BYTES a model of that much state. Where a
// Python has torch, torchrun is measured in turn with gorun, on a network of the same shape that
// saves its state every tenth step, since its ranks all start anew. Seconds are null where no
// step came within -limit.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// usage is the exit status of wrong flags and bad files.
const usage = 64

func main() {
	if len(os.Args) > 1 && os.Args[1] == "rank" {
		rank(os.Args[2:])
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// Result is one repetition.
type Result struct {
	System     string   `json:"system"`
	Case       string   `json:"case"`
	Model      string   `json:"model"`
	Seconds    *float64 `json:"seconds"` // null: there was no step within the limit
	StepsLost  int      `json:"steps_lost"`
	Generation int      `json:"generation"`
	Named      *float64 `json:"named,omitempty"` // seconds until a rank that hangs was named and ended
}

// bench is what the flags ask for.
type bench struct {
	fault  string
	reps   int
	json   bool
	gorun  string
	spares int
	stall  time.Duration
	state  int64
	source string
	python string
	limit  time.Duration
	from   string
	svg    string
}

func options(args []string, out io.Writer) (b bench, err error) {
	flags := flag.NewFlagSet("recovery", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&b.fault, "case", "worker", "what goes wrong: worker, hang or host")
	flags.IntVar(&b.reps, "reps", 5, "repetitions")
	flags.BoolVar(&b.json, "json", false, "print one JSON line a repetition, no summary")
	flags.StringVar(&b.gorun, "gorun", "", "gorun's binary; the one beside this, or in PATH, if not given")
	flags.IntVar(&b.spares, "spares", 0, "gorun's --spares")
	flags.DurationVar(&b.stall, "stall", time.Second, "gorun's --stall, for -case hang")
	flags.Int64Var(&b.state, "state", 0, "train a model of so many bytes of state instead of MNIST")
	flags.StringVar(&b.source, "mnist", "examples/mnist/train.go", "the program that trains MNIST, for gorun")
	flags.StringVar(&b.python, "python", "", `a python that has torch, or "none"; looked for if not given`)
	flags.DurationVar(&b.limit, "limit", time.Minute, "give a repetition up after so long without a step")
	flags.StringVar(&b.from, "from", "", "measure nothing, read what -json has printed")
	flags.StringVar(&b.svg, "svg", "", "draw the repetitions to this file")
	err = flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(out, "recovery [flags]")
		flags.SetOutput(out)
		flags.PrintDefaults()
		return b, err
	case err != nil:
		return b, err
	case flags.NArg() > 0:
		return b, fmt.Errorf("%q: want flags only", flags.Arg(0))
	case !slices.Contains([]string{"worker", "hang", "host"}, b.fault):
		return b, fmt.Errorf("-case %s: want worker, hang or host", b.fault)
	case b.reps < 1:
		return b, fmt.Errorf("-reps %d: want 1 or more", b.reps)
	case b.spares < 0:
		return b, fmt.Errorf("-spares %d: want 0 or more", b.spares)
	case b.state < 0 || b.state > 1<<36:
		return b, fmt.Errorf("-state %d: want bytes, at most 64 GiB", b.state)
	case b.limit <= 0 || b.stall <= 0:
		return b, fmt.Errorf("-limit %v -stall %v: want more than 0", b.limit, b.stall)
	}
	return b, nil
}

func run(ctx context.Context, args []string, out, errs io.Writer) int {
	b, err := options(args, out)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(errs, "recovery: %v\n", err)
		return usage
	}
	results, err := b.results(ctx, out, errs)
	if err == nil && b.svg != "" {
		err = drawTo(b.svg, results)
	}
	if err != nil {
		fmt.Fprintf(errs, "recovery: %v\n", err)
		return 1
	}
	if !b.json {
		summarise(out, results)
	}
	return 0
}

// results measures, or reads what was measured.
func (b *bench) results(ctx context.Context, out, errs io.Writer) ([]Result, error) {
	if b.from != "" {
		f, err := os.Open(b.from)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return read(f)
	}
	peers, err := b.peers(errs)
	if err != nil {
		return nil, err
	}
	var all []Result
	for range b.reps {
		for _, measure := range peers {
			r, err := measure(ctx)
			if err != nil {
				return all, err
			}
			all = append(all, r)
			if b.json {
				if err := json.NewEncoder(out).Encode(r); err != nil {
					return all, err
				}
			}
		}
	}
	return all, nil
}

func read(in io.Reader) ([]Result, error) {
	var all []Result
	for d := json.NewDecoder(in); ; {
		var r Result
		err := d.Decode(&r)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("repetition %d: %w", len(all)+1, err)
		}
		all = append(all, r)
	}
}

// peers are who is measured in turn.
func (b *bench) peers(errs io.Writer) ([]func(context.Context) (Result, error), error) {
	if b.gorun == "" {
		b.gorun = "gorun"
		if self, err := os.Executable(); err == nil {
			if beside := filepath.Join(filepath.Dir(self), "gorun"); exec.Command(beside, "version").Run() == nil {
				b.gorun = beside
			}
		}
	}
	if _, err := exec.LookPath(b.gorun); err != nil {
		return nil, fmt.Errorf("%w: make build, or name it with -gorun", err)
	}
	peers := []func(context.Context) (Result, error){b.ours}
	if b.python == "none" || b.fault == "host" {
		return peers, nil // torchrun's agents wait for their default of minutes
	}
	python := b.python
	if python == "" {
		for _, candidate := range []string{"python3", "/usr/bin/python3"} {
			if exec.Command(candidate, "-c", "import torch.distributed.run").Run() == nil {
				python = candidate
				break
			}
		}
	}
	if python == "" {
		fmt.Fprintln(errs, "recovery: no python3 here has torch: torchrun is not measured")
		return peers, nil
	}
	b.python = python
	return append(peers, b.torchrun), nil
}

// model names what is trained.
func (b *bench) model() string {
	if b.state == 0 {
		return "mnist"
	}
	return fmt.Sprintf("%d MB", b.state/1e6)
}

// result says what came of a repetition: before is the last step of the old generation, and
// after the first of the new one, at -1 if there was none.
func (b *bench) result(system string, seconds float64, before, after, generation int) Result {
	r := Result{System: system, Case: b.fault, Model: b.model(), Generation: generation}
	if after >= 0 {
		r.Seconds, r.StepsLost = &seconds, max(0, before+1-after)
	}
	return r
}

func summarise(out io.Writer, all []Result) {
	for _, g := range groups(all) {
		fmt.Fprintf(out, "%-36s %s\n", g.name, strings.Join(g.says(), " · "))
	}
}
