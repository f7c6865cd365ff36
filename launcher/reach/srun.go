package reach

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Srun starts gorun on nodes of the Slurm allocation that this process is in: one step, with
// one task a node, beside whatever else runs there. Slurm hands its standard input to all.
type Srun struct {
	Command []string // srun where empty
	Program string   // this gorun, which the nodes see under the same path
	Args    []string

	bounds bounds
}

// Start returns when gorun runs on all nodes and has its letter, or says why it doesn't.
func (s Srun) Start(ctx context.Context, nodes []string, letter []byte) (*Agent, error) {
	words := append([]string{}, s.Command...)
	if len(words) == 0 {
		words = []string{"srun"}
	}
	words = append(words,
		"--nodelist="+strings.Join(nodes, ","), fmt.Sprintf("--nodes=%d", len(nodes)), fmt.Sprintf("--ntasks=%d", len(nodes)), "--ntasks-per-node=1",
		"--overlap", "--cpu-bind=none", "--mpi=none", "--export=ALL",
		"--no-kill", "--kill-on-bad-exit=0", // the others go on without a node that is lost
		"--input=all", "--quiet", "--", s.Program)
	bounds := s.bounds.orDefault()
	a, err := start(strings.Join(nodes, ","), append(words, s.Args...), bounds.leave)
	if err != nil {
		return nil, err
	}
	within, cancel := context.WithTimeoutCause(ctx, bounds.ready, errors.New("srun takes too long"))
	defer cancel()
	if err := a.within(within, func() error { return a.serve(letter, len(nodes)) }); err != nil {
		return nil, err
	}
	a.watch()
	return a, nil
}
