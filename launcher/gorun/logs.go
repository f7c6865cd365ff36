package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gorun-ml/gorun/launcher"
)

func logsCommand() *cobra.Command {
	var o launcher.LogOptions
	var rank, last int
	var look lookout
	cmd := &cobra.Command{
		Use: "logs [-f] [--rank N] [--tail N] [--join HOST[:PORT],...] JOB", Short: "Show what a job's ranks have written", Args: oneJob, DisableFlagsInUseLine: true, ValidArgsFunction: jobNames,
		Long: "Show what a job's ranks have written, each line with its rank in front: their standard\n" +
			"output on standard output, their standard error on standard error. Of a job's output\n" +
			"the newest 64 MiB are kept. JOB is a name that gorun ps shows, or the beginning of one.",
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, n := range []struct {
				flag  string
				value int
				into  **int
			}{{"rank", rank, &o.Rank}, {"tail", last, &o.Last}} {
				if !cmd.Flags().Changed(n.flag) {
					continue
				}
				if n.value < 0 {
					return launcher.Usage(fmt.Sprintf("--%s %d: want 0 or more", n.flag, n.value))
				}
				*n.into = &n.value
			}
			f, err := look.one(cmd, args[0])
			if err != nil {
				return err
			}
			return launcher.Logs(cmd.Context(), f, o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	look.flags(cmd.Flags())
	f := cmd.Flags()
	f.BoolVarP(&o.Follow, "follow", "f", false, "go on until the job ends")
	f.IntVar(&rank, "rank", 0, "of rank `N` only")
	f.IntVar(&last, "tail", 0, "begin with the newest `N` lines")
	return cmd
}
