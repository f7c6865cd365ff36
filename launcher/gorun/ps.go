package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/launcher"
)

func psCommand() *cobra.Command {
	var asJSON bool
	var look lookout
	cmd := &cobra.Command{
		Use: "ps [--json] [--join HOST[:PORT],...] [JOB]", Short: "Show the jobs that are running", Args: cobra.MaximumNArgs(1), DisableFlagsInUseLine: true, ValidArgsFunction: jobNames,
		Long: "Show the jobs that are running, here and on the hosts of the cluster, and each rank's\n" +
			"host, pid, generation and last step. JOB is a job's name, or the beginning of some.\n" +
			"With --json it is one array with an object a rank:\n" +
			"job rank host launcher pid generation step.",
		RunE: func(cmd *cobra.Command, args []string) error {
			found, err := look.all(cmd)
			if err != nil {
				return err
			}
			if len(args) > 0 {
				all := found
				if found = launcher.Match(all, args[0]); len(found) == 0 {
					_, err := launcher.Pick(all, args[0])
					return err
				}
			}
			jobs, failed := launcher.States(cmd.Context(), found)
			if asJSON || failed == nil || len(jobs) > 0 { // else it is not so that there are none
				if err := launcher.WriteJobs(cmd.OutOrStdout(), jobs, asJSON, time.Now()); err != nil {
					return err
				}
			}
			if failed != nil {
				return &launcher.Refusal{Status: control.StatusTemporary, Text: failed.Error()}
			}
			return nil
		},
	}
	look.flags(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "for machines")
	return cmd
}
