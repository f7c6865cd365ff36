package main

import (
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gorun-ml/gorun/launcher"
)

func explainCommand() *cobra.Command {
	var asJSON bool
	var look lookout
	cmd := &cobra.Command{
		Use: "explain [--json] [--join HOST[:PORT],...] {JOB|FILE}", Short: "Tell a job's story", Args: oneJob, DisableFlagsInUseLine: true, ValidArgsFunction: jobNames,
		Long: "Tell what has happened to a job that runs, or that has ended: when its generations came and\n" +
			"why, who was lost and how, what that cost, checkpoints, and in the last line how it ended.\n" +
			"JOB is a name as gorun said it when the job began, or the beginning of one; FILE, with a dot\n" +
			"or a slash in its name, has what gorun events --json has written.",
		RunE: func(cmd *cobra.Command, args []string) error {
			name, w := args[0], cmd.OutOrStdout()
			if strings.ContainsAny(name, "./") {
				return launcher.ExplainFile(name, asJSON, w)
			}
			all, err := look.all(cmd)
			if err != nil {
				return err
			}
			if len(launcher.Match(all, name)) > 0 {
				f, err := launcher.Pick(all, name)
				if err != nil {
					return err
				}
				return launcher.Explain(cmd.Context(), f, asJSON, w)
			}
			file, err := launcher.PastJob(launcher.StateFolder(os.LookupEnv), name)
			if err != nil {
				return err
			}
			return launcher.ExplainFile(file, asJSON, w)
		},
	}
	look.flags(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "for machines")
	return cmd
}
