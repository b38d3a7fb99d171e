package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/retryd/retryd/client"
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// Completion asks the server for at most so many names, and not for long: a shell
// waits for it.
const (
	completionLimit   = 100
	completionTimeout = 2 * time.Second
)

// completer lists what an argument or flag may be, each with a description.
type completer func(ctx context.Context, c *client.Client) ([]cobra.Completion, error)

// addCompletions has the shell complete the names of what is kept, for a command and
// all below it.
func (e *Env) addCompletions(cmd *cobra.Command) {
	for name, list := range map[string]completer{"queue": completeQueues, "policy": completePolicies, "job": completeJobs} {
		if cmd.LocalNonPersistentFlags().Lookup(name) != nil {
			// It fails only where there is no such flag.
			_ = cmd.RegisterFlagCompletionFunc(name, e.complete(list))
		}
	}
	if cmd.LocalFlags().Lookup("output") != nil {
		_ = cmd.RegisterFlagCompletionFunc("output", func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return formatsOf(cmd), cobra.ShellCompDirectiveNoFileComp
		})
	}
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if of, ok := f.Value.(interface{ names() []string }); ok {
			_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(of.names(), cobra.ShellCompDirectiveNoFileComp))
		}
	})
	_, path, _ := strings.Cut(cmd.CommandPath(), " ")
	switch path {
	case "policy get", "policy delete", "policy preview":
		cmd.ValidArgsFunction = e.completeFirst(completePolicies)
	case "job get", "job delete":
		cmd.ValidArgsFunction = e.completeFirst(completeJobs)
	case "queue stats", "queue pause", "queue resume":
		cmd.ValidArgsFunction = e.completeFirst(completeQueues)
	case "watch":
		cmd.ValidArgsFunction = e.complete(completeQueues)
	}
	for _, sub := range cmd.Commands() {
		e.addCompletions(sub)
	}
}

// completeFirst completes the first argument of a command.
func (e *Env) completeFirst(list completer) cobra.CompletionFunc {
	complete := e.complete(list)
	return func(cmd *cobra.Command, args []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return complete(cmd, args, prefix)
	}
}

// complete completes an argument, or the value of a flag.
func (e *Env) complete(list completer) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		s, err := e.session(cmd)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		c, err := s.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		defer func() { _ = s.close() }() // the names are what counts
		names, err := list(ctx, c)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

func completePolicies(ctx context.Context, c *client.Client) ([]cobra.Completion, error) {
	policies, _, err := take(c.AllPolicies(ctx, &retryv1.ListPoliciesRequest{PageSize: pageSize(completionLimit)}), completionLimit)
	var out []cobra.Completion
	for _, p := range policies {
		out = append(out, cobra.CompletionWithDesc(p.GetId(), clean(p.GetDisplayName(), false)))
	}
	return out, err
}

func completeJobs(ctx context.Context, c *client.Client) ([]cobra.Completion, error) {
	jobs, _, err := take(c.AllJobs(ctx, &retryv1.ListJobsRequest{PageSize: pageSize(completionLimit)}), completionLimit)
	var out []cobra.Completion
	for _, j := range jobs {
		out = append(out, cobra.CompletionWithDesc(j.GetId(), clean(j.GetDisplayName(), false)))
	}
	return out, err
}

func completeQueues(ctx context.Context, c *client.Client) ([]cobra.Completion, error) {
	queues, _, err := take(c.AllQueues(ctx, &retryv1.ListQueuesRequest{PageSize: pageSize(completionLimit)}), completionLimit)
	var out []cobra.Completion
	for _, q := range queues {
		out = append(out, clean(q.GetQueue(), false))
	}
	return out, err
}
