package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gorun-ml/gorun/launcher"
	"github.com/gorun-ml/gorun/topology"
)

// mostDrawn bounds the worlds that are laid out for people.
const mostDrawn = 1024

// plan is what gorun topology is asked to show.
type plan struct {
	ranks, hosts int
	operation    string
	algorithm    string
	network      string
	bytes        string
	root         int
	svg          string
}

func topologyCommand() *cobra.Command {
	p := &plan{}
	cmd := &cobra.Command{
		Use: "topology [flags]", Short: "Show who sends what to whom, and how long it takes", Args: cobra.NoArgs, DisableFlagsInUseLine: true,
		Long: "Show who sends what to whom in a collective operation, step by step, and how long\nthat is predicted to take.",
		RunE: func(cmd *cobra.Command, _ []string) error { return p.show(cmd) },
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.IntVarP(&p.ranks, "np", "n", 4, "`N` ranks, also as -np N")
	f.IntVar(&p.hosts, "hosts", 1, "`N` hosts that they are spread over")
	f.StringVar(&p.operation, "operation", topology.AllReduce.String(), "one of "+strings.Join(operations(), ", "))
	f.StringVar(&p.algorithm, "algorithm", "", "its `NAME`; chosen by predicted time if not given")
	f.StringVar(&p.bytes, "bytes", "1MiB", "`SIZE` of the data, such as 4096, 64KiB or 16MiB")
	f.IntVar(&p.root, "root", 0, "`RANK` that sends or collects, where there is one")
	f.StringVar(&p.network, "network", "10g", "between hosts: 1g or 10g, or loopback")
	f.StringVar(&p.svg, "svg", "", "draw to `FILE` instead")
	return cmd
}

// operations are the names of the operations that can be shown.
func operations() []string {
	seen := map[topology.Kind]bool{}
	var names []string
	for _, n := range topology.Algorithms() {
		if !seen[n.Kind] {
			seen[n.Kind] = true
			names = append(names, n.Kind.String())
		}
	}
	return names
}

func (p *plan) show(cmd *cobra.Command) error {
	picture, err := p.picture()
	if err != nil {
		return launcher.Usage(err.Error())
	}
	if p.svg == "" {
		return topology.Describe(cmd.OutOrStdout(), picture)
	}
	f, err := os.Create(p.svg)
	if err != nil {
		return launcher.Usage("--svg: " + err.Error())
	}
	err = topology.DrawSVG(f, picture)
	if bad := f.Close(); err == nil {
		err = bad
	}
	if err != nil {
		return launcher.Usage("--svg: " + err.Error())
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: drawn to %s\n", picture.Title(), p.svg)
	return err
}

func (p *plan) picture() (topology.Picture, error) {
	none := topology.Picture{}
	switch {
	case p.ranks < 1 || p.ranks > mostDrawn:
		return none, fmt.Errorf("-np %d: want 1 to %d ranks", p.ranks, mostDrawn)
	case p.hosts < 1 || p.hosts > p.ranks:
		return none, fmt.Errorf("--hosts %d: want 1 to %d, one a rank", p.hosts, p.ranks)
	}
	bytes, err := parseBytes(p.bytes)
	if err != nil {
		return none, err
	}
	links, err := topology.Network(p.network)
	if err != nil {
		return none, fmt.Errorf("--network %s: %w", p.network, err)
	}
	for _, n := range topology.Algorithms() {
		if n.Kind.String() == p.operation {
			return topology.NewPicture(topology.Uniform(p.ranks, p.hosts), topology.Collective{Kind: n.Kind, Root: p.root}, p.algorithm, bytes, links)
		}
	}
	return none, fmt.Errorf("--operation %s: want one of %s", p.operation, strings.Join(operations(), ", "))
}

// parseBytes reads a size: a number, perhaps with KiB, MiB or GiB.
func parseBytes(s string) (int64, error) {
	number, factor := strings.TrimSpace(s), int64(1)
	for unit, f := range map[string]int64{"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30} {
		if rest, ok := strings.CutSuffix(number, unit); ok {
			number, factor = strings.TrimSpace(rest), f
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 1 || n > (1<<40)/factor {
		return 0, fmt.Errorf("--bytes %s: want a size such as 4096, 64KiB or 16MiB, up to 1024GiB", s)
	}
	return n * factor, nil
}
