package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/gorun-ml/gorun/internal/control"
	"github.com/gorun-ml/gorun/launcher"
	"github.com/gorun-ml/gorun/launcher/hosts"
)

func (c *command) doctorCommand() *cobra.Command {
	var asJSON bool
	var dial string
	cmd := &cobra.Command{
		Use: "doctor [--json] [-H HOSTS]", Short: "Show what this machine, or others, can do", Args: cobra.NoArgs, DisableFlagsInUseLine: true,
		Long: "Show what this machine can do for a job or, with -H or --hostfile, what others can\nand whether they reach this one.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := c.where.read()
			if err != nil {
				return err
			}
			if len(all) > 0 {
				return c.survey(cmd, all, asJSON)
			}
			h := launcher.Examine(cmd.Context())
			if dial != "" {
				h.Way = launcher.WayTo(cmd.Context(), dial)
			}
			return h.Write(cmd.OutOrStdout(), asJSON)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&asJSON, "json", false, "for machines")
	c.where.named(f)
	f.StringVar(&dial, "dial", "", "whether `ADDRESS` is reached")
	_ = f.MarkHidden("dial") // the flag exists
	return cmd
}

// survey asks hosts by ssh, and fails where one can't be used.
func (c *command) survey(cmd *cobra.Command, all []hosts.Host, asJSON bool) error {
	var names []string
	for _, h := range all {
		names = append(names, h.Name)
	}
	ssh, err := c.remote(nil)
	if err != nil {
		return err
	}
	found, err := launcher.ExamineHosts(cmd.Context(), names, launcher.WayOut(names, ssh.Addr), func(ctx context.Context, host string, args []string) ([]byte, error) {
		ssh := ssh
		ssh.Args = args
		return ssh.Output(ctx, host)
	})
	if err != nil {
		return err
	}
	if err := found.Write(cmd.OutOrStdout(), asJSON); err != nil || found.OK() {
		return err
	}
	return &launcher.Refusal{Status: control.StatusNoHost, Text: "not all hosts can be used"}
}
