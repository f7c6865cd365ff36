package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/gorun-ml/gorun/launcher"
)

func resizeCommand() *cobra.Command {
	var look lookout
	cmd := &cobra.Command{
		Use: "resize [--join HOST[:PORT],...] JOB N", Short: "Give a job another number of ranks", DisableFlagsInUseLine: true, ValidArgsFunction: jobNames,
		Long: "Give a job N ranks from its next step on, and wait until they train. Its ranks have to\n" +
			"call worker.Run; the batch stays the same, so that the job takes the same way. JOB is a\n" +
			"name that gorun ps shows, or the beginning of one.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return launcher.Usage("gorun resize: want one JOB, as gorun ps names it, and its new number of ranks")
			}
			ranks, err := launcher.ParseRanks(args[1])
			if err != nil {
				return launcher.Usage(fmt.Sprintf("gorun resize: %s: want a whole number of ranks, from 1", args[1]))
			}
			f, err := look.one(cmd, args[0])
			if err != nil {
				return err
			}
			return launcher.Resize(cmd.Context(), f, ranks, myself(), os.Stdout, os.Stderr)
		},
	}
	look.flags(cmd.Flags())
	return cmd
}
