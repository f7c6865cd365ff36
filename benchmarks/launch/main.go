// Command launch times the start of a job: its ranks join, sum once, and end.
//
//	LAUNCH_T0=$(date +%s%N) gorun -np 64 -x LAUNCH_T0 bin/launch
//
// Rank 0 prints when the first and the last rank came to each phase, in milliseconds since
// LAUNCH_T0, or else since the first rank began. Hosts must have one clock, as those have
// that are namespaces or addresses of one machine.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/gorun-ml/gorun/kernels"
	"github.com/gorun-ml/gorun/worker"
)

func main() {
	began := time.Now()
	worker.Main(func(ctx context.Context) error {
		since, err := origin(os.LookupEnv)
		if err != nil {
			return worker.BadInput(err)
		}
		return worker.Run(ctx, nil, func(_ context.Context, s *worker.Session) error {
			return sumOnce(s, since, began)
		})
	})
}

// origin is the time that phases are counted from; zero where nobody says.
func origin(lookup func(string) (string, bool)) (time.Time, error) {
	text, set := lookup("LAUNCH_T0")
	if !set || text == "" {
		return time.Time{}, nil
	}
	ns, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("LAUNCH_T0=%s: want nanoseconds since 1970, as date +%%s%%N prints", text)
	}
	return time.Unix(0, ns), nil
}

// phases of a rank, in their order.
var phases = []string{"began", "joined", "summed"}

func sumOnce(s *worker.Session, since, began time.Time) error {
	joined := time.Now()
	x := []float32{float32(s.Rank() + 1)}
	if err := s.Comm().AllReduce(kernels.Of(x), kernels.Sum); err != nil {
		return err
	}
	if want := float32(s.Size()*(s.Size()+1)) / 2; x[0] != want {
		return fmt.Errorf("rank %d: the sum of 1 to %d is %g, want %g", s.Rank(), s.Size(), x[0], want)
	}
	summed := time.Now()
	first, last := make([]float64, len(phases)), make([]float64, len(phases))
	for i, at := range []time.Time{began, joined, summed} {
		last[i] = float64(at.UnixMicro())
		first[i] = -last[i] // the least is the most of the negative
	}
	for _, t := range [][]float64{first, last} {
		if err := s.Comm().AllReduce(kernels.Of(t), kernels.Max); err != nil {
			return err
		}
	}
	if s.Rank() != 0 {
		return nil
	}
	zero := -first[0]
	if !since.IsZero() {
		zero = float64(since.UnixMicro())
	}
	fmt.Println("phase,first_ms,last_ms")
	for i, name := range phases {
		fmt.Printf("%s,%.0f,%.0f\n", name, (-first[i]-zero)/1e3, (last[i]-zero)/1e3)
	}
	return nil
}
