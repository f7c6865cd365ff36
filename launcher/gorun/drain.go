package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/gorun-ml/gorun/launcher"
	"github.com/gorun-ml/gorun/launcher/cluster"
)

func drainCommand() *cobra.Command {
	var look lookout
	var job string
	var undo bool
	cmd := &cobra.Command{
		Use: "drain [--undo] [--job JOB] [--join HOST[:PORT],...] HOST", Short: "Have ranks leave a host", DisableFlagsInUseLine: true,
		Long: "Have ranks leave a host without a failed step, and wait until they have: they go on on other\n" +
			"hosts or, where --min-np allows it, there are fewer. Nothing is started on the host until\n" +
			"gorun drain --undo, or until its gorun agent is started anew.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] == "" {
				return launcher.Usage("gorun drain: want one HOST, as gorun ps and gorun hosts name it")
			}
			if job != "" {
				f, err := look.one(cmd, job)
				if err == nil {
					err = launcher.Drain(cmd.Context(), f, args[0], undo, myself(), os.Stdout, os.Stderr)
				}
				if errors.Is(err, launcher.ErrAbsent) {
					return launcher.Usage(err.Error())
				}
				return err
			}
			return look.drain(cmd, args[0], undo)
		},
	}
	look.flags(cmd.Flags())
	cmd.Flags().StringVar(&job, "job", "", "only the ranks of `JOB`; others may be started there")
	cmd.Flags().BoolVar(&undo, "undo", false, "let ranks come back")
	return cmd
}

// drain has all jobs leave a host, and keeps new ones from it.
func (l *lookout) drain(cmd *cobra.Command, host string, undo bool) error {
	known := false
	if len(l.join) > 0 || cluster.Here(launcher.RuntimeFolder(os.LookupEnv)) {
		client, err := find(cmd.Context(), l.join, l.key, "")
		if err != nil {
			return err
		}
		if err := client.Drain(cmd.Context(), host, undo); err != nil {
			return clusterRefusal(err)
		}
		known = true
	}
	jobs, err := l.all(cmd)
	if err != nil {
		return err
	}
	var failed error
	for _, f := range jobs {
		err := launcher.Drain(cmd.Context(), f, host, undo, myself(), os.Stdout, os.Stderr)
		switch {
		case errors.Is(err, launcher.ErrAbsent):
		case err != nil && failed != nil:
			_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "gorun: %v\n", failed) // there is nowhere else to say it
			failed = err
		case err != nil:
			failed = err
		default:
			known = true
		}
	}
	if failed == nil && !known {
		return launcher.Usage(fmt.Sprintf("host %s: none of %d jobs uses it", host, len(jobs)))
	}
	if failed == nil {
		state := "is drained"
		if undo {
			state = "may be used"
		}
		_, failed = fmt.Fprintf(os.Stdout, "host %s %s\n", host, state)
	}
	return failed
}
