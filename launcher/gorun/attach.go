package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/gorun-ml/gorun/launcher"
)

func (c *command) attachCommand() *cobra.Command {
	var look lookout
	cmd := &cobra.Command{
		Use: "attach [--join HOST[:PORT],...] JOB", Short: "Show a job as its own terminal does", Args: oneJob, DisableFlagsInUseLine: true, ValidArgsFunction: jobNames,
		Long: "Show a job as its own terminal does, to its end, and end with its status. Ctrl-C leaves\n" +
			"it running, and ends with status 130. JOB is a name that gorun ps shows, or the\n" +
			"beginning of one.",
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := look.one(cmd, args[0])
			if err != nil {
				return err
			}
			c.listen()
			c.status, err = launcher.Attach(cmd.Context(), f, c.signals, os.Stdout, os.Stderr)
			return err
		},
	}
	look.flags(cmd.Flags())
	return cmd
}
