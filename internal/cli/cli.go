// Package cli is the part of the command line that talks to a server: the commands
// for policies, jobs, tasks, dead letters, holds, queues and groups, and what they
// share: how to reach the server, how to print, and how to fail.
//
//	flags, environment, file ──> connection ──> session ──> client ──> server
//	                                              │
//	                         table, json, yaml <──┘
//
// It talks to a server as anybody does, by package client, and must import nothing
// of the server's side.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/retryd/retryd/client"
)

// Env is what the commands take from the process that they run in.
type Env struct {
	// In, Out and Err are standard input, output and error.
	In       io.Reader
	Out, Err io.Writer
	// Lookup finds a variable of the environment.
	Lookup func(name string) (string, bool)
	// Now is the clock that times are told by as "in 3m 20s".
	Now func() time.Time
	// InTerminal, OutTerminal and ErrTerminal say which of the three are terminals:
	// where questions can be asked, colours shown, and progress drawn.
	InTerminal, OutTerminal, ErrTerminal bool
	// Width is how many columns the terminal has; 80 where it is not known.
	Width int
	// Version is that of this binary.
	Version string
	// Client are options of every client besides those that flags ask for.
	Client []client.Option
}

// System is the environment of this process.
func System(version string) *Env {
	e := &Env{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Lookup: os.LookupEnv, Now: time.Now, Version: version,
		InTerminal: isTerminal(os.Stdin), OutTerminal: isTerminal(os.Stdout), ErrTerminal: isTerminal(os.Stderr),
	}
	if width, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil { //nolint:gosec // a file descriptor is a small number
		e.Width = width
	}
	return e
}

func isTerminal(f *os.File) bool {
	return term.IsTerminal(int(f.Fd())) //nolint:gosec // a file descriptor is a small number
}

// callsGroup is what the commands of this package stand under in the help.
const callsGroup = "calls"

// AddTo adds the commands to the root.
func AddTo(root *cobra.Command, e *Env) {
	root.AddGroup(&cobra.Group{ID: callsGroup, Title: "Commands that call a server:"})
	for _, cmd := range []*cobra.Command{
		newStatusCommand(e), newPolicyCommand(e), newJobCommand(e), newReportCommand(e),
		newTaskCommand(e), newDeadCommand(e), newHeldCommand(e), newQueueCommand(e), newGroupCommand(e), newWatchCommand(e),
		newHealthcheckCommand(e), newVersionCommand(e),
	} {
		cmd.GroupID = callsGroup
		// The root's own reads every flag from the environment; here that is done for
		// those of the connection alone, so that no RETRYD_YES answers questions.
		cmd.PersistentPreRunE = func(*cobra.Command, []string) error { return nil }
		root.AddCommand(cmd)
		e.addCompletions(cmd)
	}
}

// IsCall says whether a command is one of this package.
func IsCall(cmd *cobra.Command) bool { return cmd.GroupID == callsGroup }

// Execute runs the command line, tells on standard error what went wrong, and
// returns the exit code.
func Execute(ctx context.Context, root *cobra.Command, e *Env, args []string) int {
	root.SetArgs(args)
	root.SetIn(e.In)
	root.SetOut(e.Out)
	root.SetErr(e.Err)
	// What fails before the command itself begins is the fault of its arguments.
	begun := false
	markBegin(root, &begun)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if !begun {
		err = &usageError{err}
	}
	code := exitCode(ctx, err)
	// Nobody is left to be told when this fails.
	_, _ = fmt.Fprintln(e.Err, "retryd:", explain(ctx, err))
	return code
}

func markBegin(cmd *cobra.Command, begun *bool) {
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			*begun = true
			return run(cmd, args)
		}
	}
	for _, sub := range cmd.Commands() {
		markBegin(sub, begun)
	}
}

// group is a command that only has others below it.
func group(use, short, long string, subs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Long:  long,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			var names []string
			for _, sub := range cmd.Commands() {
				names = append(names, sub.Name())
			}
			return usagef("%s has no command %q; it has %s", cmd.CommandPath(), args[0], strings.Join(names, ", "))
		},
		// What follows is judged above.
		Args: cobra.ArbitraryArgs,
	}
	cmd.AddCommand(subs...)
	addConnectionFlags(cmd.PersistentFlags())
	addOutputFlag(cmd.PersistentFlags())
	return cmd
}

// takes checks the arguments of a command by their names, which stand in its use;
// the last may end in "..." and then stands for one or more.
func takes(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		many := len(names) > 0 && strings.HasSuffix(names[len(names)-1], "...")
		switch {
		case len(args) == len(names), many && len(args) > len(names):
			return nil
		case len(names) == 0:
			return usagef("%s takes no arguments, and was given %q", cmd.CommandPath(), args)
		default:
			return usagef("%s takes %s, and was given %q", cmd.CommandPath(), strings.Join(names, " "), args)
		}
	}
}

// usageError is the fault of how the command was called.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

// Misused makes err, unless it is nil, an error of how the command was called.
func Misused(err error) error {
	if err == nil {
		return nil
	}
	return &usageError{err}
}

// usagef is an error of how the command was called.
func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

func isUsage(err error) bool {
	_, ok := errors.AsType[*usageError](err)
	return ok
}
