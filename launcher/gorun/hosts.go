package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/gorun-ml/gorun/launcher"
	"github.com/gorun-ml/gorun/launcher/cluster"
)

// find asks an agent for the cluster's hosts. binary is this gorun, where it is to be
// started there.
func find(ctx context.Context, join []string, keyFile, binary string) (*cluster.Client, error) {
	if keyFile == "" {
		keyFile = cluster.KeyFile(os.LookupEnv)
	}
	key, err := cluster.ReadKey(keyFile)
	if err != nil {
		return nil, clusterRefusal(err)
	}
	found, err := cluster.Find(ctx, join, key, cluster.Caller{Runtime: launcher.RuntimeFolder(os.LookupEnv), Version: version(), Binary: binary})
	return found, clusterRefusal(err)
}

func hostsCommand() *cobra.Command {
	var asJSON bool
	var join []string
	var keyFile string
	cmd := &cobra.Command{
		Use: "hosts [--json] [--join HOST[:PORT],...]", Short: "Show the hosts of the cluster", Args: cobra.NoArgs, DisableFlagsInUseLine: true,
		Long: "Show the hosts whose agents have found each other, as the agent of this host sees them,\n" +
			"or the first that answers of those named with --join.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			found, err := find(cmd.Context(), join, keyFile, "")
			if err != nil {
				return err
			}
			return cluster.WriteHosts(cmd.OutOrStdout(), found.Hosts(), asJSON)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.BoolVar(&asJSON, "json", false, "for machines")
	f.StringSliceVar(&join, "join", nil, "ask the agent at `HOST[:PORT],...`")
	f.StringVar(&keyFile, "key", "", "take the cluster's key from `FILE` (default "+cluster.KeyFile(lookupShort)+")")
	return cmd
}
