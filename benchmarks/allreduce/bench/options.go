// Package bench times in-place float32 sums the way the usual peers are timed: check the
// result, warm up, then call after call without a barrier, each timed on every rank; an
// iteration takes as long as on its slowest rank.
package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/gorun-ml/gorun/worker"
)

// Options are the benchmark's flags.
type Options struct {
	Sizes     string
	Seconds   float64 // of timed calls a size
	Name      string  // in the first column
	Transport string
	Alloc     string
	Algorithm string
	Encrypt   bool
	Ranks     int // of transport inproc where only one process was started
	Header    bool
	JSON      bool
	Explain   bool
}

// InProcess is the transport beside the worker's: all ranks are goroutines of rank 0.
const InProcess = "inproc"

// The memory that is summed.
const (
	allocShared = "shared" // Comm.Alloc's
	allocSlice  = "slice"  // make's
)

// Flags declares the flags.
func (o *Options) Flags(fs *flag.FlagSet) {
	fs.StringVar(&o.Sizes, "s", "4,1K,64K,1M,16M,64M", "`SIZES` in bytes")
	fs.Float64Var(&o.Seconds, "t", 1, "`SECONDS` of timed calls a size")
	fs.StringVar(&o.Name, "p", "gorun", "`NAME` in the first column")
	fs.StringVar(&o.Transport, "transport", "", "by this `MEANS`: auto, shm or tcp; or inproc: all ranks\nas goroutines of one process (default:\n$GORUN_TRANSPORT, else auto)")
	fs.StringVar(&o.Alloc, "alloc", allocShared, "sum `MEMORY` that ranks of a host can share, or a slice\nof Go's")
	fs.StringVar(&o.Algorithm, "algorithm", "", "use that of this `NAME` whatever the size")
	fs.BoolVar(&o.Encrypt, "encrypt", false, "encrypt what goes over TCP")
	fs.BoolVar(&o.Header, "header", false, "print the names of the columns first")
	fs.BoolVar(&o.JSON, "json", false, "an object a size instead, for machines")
	fs.BoolVar(&o.Explain, "explain", false, "say why the algorithm was chosen, how long it was\npredicted to take, and try all others")
	fs.IntVar(&o.Ranks, "ranks", 2, "`N` goroutines, for -transport inproc without other ranks")
}

// Check refuses what makes no sense.
func (o *Options) Check() error {
	_, err := ParseSizes(o.Sizes)
	switch {
	case err != nil:
		return err
	case !(o.Seconds > 0): // not a number neither
		return fmt.Errorf("-t %v: want more than 0 seconds", o.Seconds)
	case o.Ranks < 1:
		return fmt.Errorf("-ranks %d: want at least 1", o.Ranks)
	case o.Alloc != allocShared && o.Alloc != allocSlice:
		return fmt.Errorf("-alloc %s: want %s or %s", o.Alloc, allocShared, allocSlice)
	case o.Explain && o.Algorithm != "":
		return errors.New("-explain tries all algorithms: leave out -algorithm")
	case o.Transport == InProcess && o.Encrypt:
		return errors.New("-encrypt needs ranks of their own processes: choose another -transport")
	case o.Transport == InProcess && o.Explain:
		return errors.New("-explain needs ranks of their own processes: choose another -transport")
	}
	if o.Transport != InProcess {
		if err := o.network().Check(); err != nil {
			return errors.New(strings.Replace(err.Error(), "want one of ", "want one of "+InProcess+", ", 1))
		}
	}
	return nil
}

// network is how ranks in processes of their own communicate. A benchmark shows today's
// costs, whatever an earlier job has measured.
func (o *Options) network() worker.Network {
	return worker.Network{Transport: o.Transport, Algorithm: o.Algorithm, Encrypt: o.Encrypt, Measure: true}
}

// Run is one rank of the benchmark.
func (o *Options) Run(ctx context.Context) error {
	if err := o.Check(); err != nil {
		return worker.BadInput(err)
	}
	sizes, err := ParseSizes(o.Sizes)
	if err != nil {
		return worker.BadInput(err)
	}
	if o.Transport == InProcess {
		return worker.Run(ctx, nil, func(ctx context.Context, s *worker.Session) error {
			switch {
			case s.Rank() != 0:
				return nil
			case s.Size() > 1:
				return o.goroutines(ctx, s.Size(), sizes)
			}
			return o.goroutines(ctx, o.Ranks, sizes)
		})
	}
	return worker.Run(ctx, &worker.State{Network: o.network()}, func(_ context.Context, s *worker.Session) error {
		b := &benchmark{Options: o, comm: s.Comm(), transport: s.Transport(), links: s.Links()}
		return b.all(sizes)
	})
}
