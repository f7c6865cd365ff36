package main

import (
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/gorun-ml/gorun/launcher"
)

func psCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "ps [--json]", Short: "Show the jobs that are running", Args: cobra.NoArgs, DisableFlagsInUseLine: true,
		Long: "Show the jobs that are running, and each rank's host, pid, generation and last step.\n" +
			"With --json it is one array with an object a rank: job rank host pid generation step.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			jobs, failed := launcher.Jobs(launcher.RuntimeFolder(os.LookupEnv))
			if err := launcher.WriteJobs(cmd.OutOrStdout(), jobs, asJSON, time.Now()); err != nil {
				return err
			}
			if failed != nil {
				return &launcher.Refusal{Status: 1, Text: failed.Error()}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "for machines")
	return cmd
}
