// Command allreduce times in-place float32 sums, under gorun -np N or from the bare
// environment RANK WORLD_SIZE MASTER_ADDR MASTER_PORT. Package bench says how.
package main

import (
	"flag"

	"github.com/gorun-ml/gorun/benchmarks/allreduce/bench"
	"github.com/gorun-ml/gorun/worker"
)

func main() {
	var o bench.Options
	o.Flags(flag.CommandLine)
	worker.Main(o.Run)
}
