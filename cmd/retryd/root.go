package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/retryd/retryd/internal/cli"
)

func newRootCommand(env *cli.Env) *cobra.Command {
	root := &cobra.Command{
		Use:   "retryd",
		Short: "Schedules retries and hands them out the millisecond they fall due",
		Long: `retryd schedules retries. A service reports a failed attempt by gRPC; retryd asks a
named policy when to try again, keeps the attempt, and streams it to a subscribed
worker the millisecond it falls due.

Start with:  retryd dev
On Redis:    retryd serve --redis-url redis://127.0.0.1:6379

Every flag of a server can be given in the environment as well: --admin-listen is
RETRYD_ADMIN_LISTEN. A flag wins over the environment. dev and serve read a
configuration file as well; see "retryd config --help". Commands that call a server
take its address, TLS and token from flags, from the environment (--address is
RETRYD_ADDRESS) and from a client's file (--client-config), in this order.`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		DisableAutoGenTag: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return flagsFromEnvironment(cmd.Flags(), lookupEnv) },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath())
	})
	root.AddCommand(newDevCommand(), newServeCommand(), newConfigCommand(), newTokenCommand())
	cli.AddTo(root, env)
	return root
}

// flagsFromEnvironment sets each flag that was not given from its variable,
// where there is one.
func flagsFromEnvironment(flags *pflag.FlagSet, lookup func(string) (string, bool)) error {
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "help" {
			return
		}
		value, ok := lookup(envName(f.Name))
		if !ok {
			return
		}
		if err := setFlag(f, value); err != nil {
			errs = append(errs, fmt.Errorf("%s is %q: %w", setting(f.Name), value, err))
		}
	})
	return errors.Join(errs...)
}

func envName(flag string) string {
	return "RETRYD_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}
