package cli

import (
	"context"

	"github.com/spf13/cobra"
)

// versions is what is told of them in forms for programs.
type versions struct {
	Version string         `json:"version"`
	Server  *serverVersion `json:"server,omitempty"`
}

type serverVersion struct {
	Address string `json:"address"`
	Version string `json:"version"`
}

func newVersionCommand(e *Env) *cobra.Command {
	var server bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version of this binary, and with --server that of a server",
		Example: `  retryd version
  retryd version --server
  retryd version -o json`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if server {
				return e.run(printVersions)(cmd, args)
			}
			// However a server is reached, and however wrong that is, nobody asks one.
			values, err := e.values(cmd)
			if err != nil {
				return err
			}
			if err := checkFormat(cmd, values["output"]); err != nil {
				return err
			}
			s := &session{env: e, cmd: cmd, format: values["output"].text}
			return s.showValue(versions{Version: e.Version}, s.sayVersion)
		},
	}
	cmd.Flags().BoolVar(&server, "server", false, "ask the server for its version, too")
	addReachFlags(cmd.Flags(), "30s")
	addOutputFlag(cmd.Flags())
	return cmd
}

func (s *session) sayVersion() error { return s.say("retryd %s", s.env.Version) }

// printVersions prints both versions; people are told that of this binary even where the
// server cannot be asked.
func printVersions(ctx context.Context, s *session, _ []string) error {
	if s.forPeople() {
		if err := s.sayVersion(); err != nil {
			return err
		}
	}
	c, err := s.client()
	if err != nil {
		return err
	}
	info, err := c.ServerInfo(ctx)
	if err != nil {
		return err
	}
	both := versions{s.env.Version, &serverVersion{s.address, info.GetVersion()}}
	return s.showValue(both, func() error {
		return s.say("server %s at %s", orElse(info.GetVersion(), "of unknown version"), s.address)
	})
}
