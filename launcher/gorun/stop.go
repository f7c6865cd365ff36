package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/gorun-ml/gorun/launcher"
)

func stopCommand() *cobra.Command {
	var now bool
	var look lookout
	cmd := &cobra.Command{
		Use: "stop [--now] [--join HOST[:PORT],...] JOB", Short: "Stop a job", Args: oneJob, DisableFlagsInUseLine: true, ValidArgsFunction: jobNames,
		Long: "Stop a job, as a SIGTERM to its gorun does, and wait until it has ended. Ranks save a\n" +
			"checkpoint if they have a folder for it. JOB is a name that gorun ps shows, or the\n" +
			"beginning of one.",
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := look.one(cmd, args[0])
			if err != nil {
				return err
			}
			return launcher.Stop(cmd.Context(), f, now, myself(), os.Stdout, os.Stderr)
		},
	}
	look.flags(cmd.Flags())
	cmd.Flags().BoolVar(&now, "now", false, "kill its ranks at once, as a second SIGTERM does")
	return cmd
}
