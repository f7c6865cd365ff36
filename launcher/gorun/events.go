package main

import (
	"github.com/spf13/cobra"

	"github.com/gorun-ml/gorun/launcher"
)

func eventsCommand() *cobra.Command {
	var follow, asJSON bool
	var look lookout
	cmd := &cobra.Command{
		Use: "events [-f] [--json] [--join HOST[:PORT],...] JOB", Short: "Show what has happened to a job", Args: oneJob, DisableFlagsInUseLine: true, ValidArgsFunction: jobNames,
		Long: "Show what has happened to a job, a line each: its start, generations and why they came,\n" +
			"ranks and hosts that were lost, checkpoints, who has stopped it, how it ended.\n" +
			"With --json it is one object a line: t job event generation size step rank host detail,\n" +
			"and status with the end. JOB is a name that gorun ps shows, or the beginning of one.",
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := look.one(cmd, args[0])
			if err != nil {
				return err
			}
			return launcher.Events(cmd.Context(), f, follow, asJSON, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	look.flags(cmd.Flags())
	f := cmd.Flags()
	f.BoolVarP(&follow, "follow", "f", false, "go on until the job ends")
	f.BoolVar(&asJSON, "json", false, "for machines")
	return cmd
}
