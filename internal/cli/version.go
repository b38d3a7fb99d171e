package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func newVersionCommand(e *Env) *cobra.Command {
	var server bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version of this binary, and with --server that of a server",
		Example: `  retryd version
  retryd version --server`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), "retryd", e.Version); err != nil || !server {
				return err
			}
			return e.run(printServerVersion)(cmd, args)
		},
	}
	cmd.Flags().BoolVar(&server, "server", false, "ask the server for its version, too")
	addReachFlags(cmd.Flags(), "30s")
	return cmd
}

func printServerVersion(ctx context.Context, s *session, _ []string) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	info, err := c.ServerInfo(ctx)
	if err != nil {
		return err
	}
	return s.say("server %s at %s", orElse(info.GetVersion(), "of unknown version"), s.address)
}
