package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

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

// completeArgs completes the first argument of a command.
func (e *Env) completeArgs(list completer) cobra.CompletionFunc {
	complete := e.completeFlag(list)
	return func(cmd *cobra.Command, args []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return complete(cmd, args, prefix)
	}
}

// completeFlag completes the value of a flag.
func (e *Env) completeFlag(list completer) cobra.CompletionFunc {
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

// mustComplete has a flag of a command completed.
func (e *Env) completes(cmd *cobra.Command, flag string, list completer) {
	// It fails for a flag that the command does not have, which a test would see.
	_ = cmd.RegisterFlagCompletionFunc(flag, e.completeFlag(list))
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
		out = append(out, cobra.Completion(clean(q.GetQueue(), false)))
	}
	return out, err
}
