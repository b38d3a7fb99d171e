package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/retryd/retryd/client"
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/internal/policyfile"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/server/wire"
)

func newPolicyApplyCommand(e *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Make policies what files say: create them, or update those that differ",
		Long: `Makes policies what files say: those that are not there are created, those that differ are updated
and the difference is shown, deleted ones are restored. All others stay as they are. Everything is
read and checked before anything is written. A policy that somebody changes meanwhile is left to
them, with exit code 6.

A file is YAML with a list under the key "policies"; "policy get -o yaml" prints one. With an etag, as
"-o json" shows it, a policy is only updated if it is still in that state.`,
		Example: `  retryd policy apply -f policies.yaml --dry-run
  retryd policy apply -f policies.yaml`,
		Args: takes(),
	}
	files := addFilesFlag(cmd, "YAML file of policies, a directory of such files, or - for standard input; may be repeated")
	addDryRunFlag(cmd)
	cmd.RunE = e.call(func(ctx context.Context, s *session, c *client.Client, _ []string) error {
		return policyKind(s, c.Policies()).apply(ctx, s, *files)
	})
	return cmd
}

func policyKind(s *session, c retryv1.PolicyServiceClient) *kind[*retryv1.Policy] {
	return &kind[*retryv1.Policy]{
		one: "policy", many: "policies", parse: policyfile.Parse,
		check: func(p *retryv1.Policy) []policy.Violation {
			_, violations := wire.CheckPolicy(p, s.env.Now().UnixMilli())
			return violations
		},
		normal: normalPolicy,
		get: func(ctx context.Context, id string) (*retryv1.Policy, bool, error) {
			resp, err := c.GetPolicy(ctx, &retryv1.GetPolicyRequest{Id: id})
			return resp.GetPolicy(), resp.GetPolicy().GetDeleteTime() != nil, err
		},
		create: func(ctx context.Context, p *retryv1.Policy) (*retryv1.Policy, error) {
			resp, err := c.CreatePolicy(ctx, &retryv1.CreatePolicyRequest{Policy: p})
			return resp.GetPolicy(), err
		},
		restore: func(ctx context.Context, id string) (*retryv1.Policy, error) {
			resp, err := c.UndeletePolicy(ctx, &retryv1.UndeletePolicyRequest{Id: id})
			return resp.GetPolicy(), err
		},
		update: func(ctx context.Context, p *retryv1.Policy, etag string) (*retryv1.Policy, error) {
			p.Etag = etag
			resp, err := c.UpdatePolicy(ctx, &retryv1.UpdatePolicyRequest{Policy: p})
			return resp.GetPolicy(), err
		},
	}
}

// normalPolicy is a policy, with which nothing is wrong, with its defaults.
func normalPolicy(p *retryv1.Policy) *retryv1.Policy {
	read, _ := wire.PolicyFromProto(p)
	read = read.Normalize()
	return wire.PolicyToProto(&read)
}

func newPolicyDeleteCommand(e *Env) *cobra.Command {
	return e.destroys(&cobra.Command{
		Use:   "delete ID",
		Short: "Delete a policy: new tasks and jobs are refused it",
		Long: `Deletes a policy: it is gone from lists, and new tasks and jobs are refused it. It stays in force for
tasks under way, and "policy undelete" brings it back. One that jobs name cannot be deleted.`,
		Example: `  retryd policy delete webhook --dry-run
  retryd policy delete webhook --yes`,
		Args: takes("ID"),
	}, "Delete policy %q, so that new tasks are refused it?", dryDeletePolicy, func(ctx context.Context, s *session, c *client.Client, id string) error {
		resp, err := c.Policies().DeletePolicy(ctx, &retryv1.DeletePolicyRequest{Id: id})
		if err != nil {
			return err
		}
		return s.show(resp.GetPolicy(), func() error {
			return s.say("policy %s: deleted; retryd policy undelete %s brings it back", id, id)
		})
	})
}

// dryDeletePolicy tells whether a policy could be deleted.
func dryDeletePolicy(ctx context.Context, s *session, c *client.Client, id string) error {
	resp, err := c.Policies().GetPolicy(ctx, &retryv1.GetPolicyRequest{Id: id})
	if err != nil {
		return err
	}
	jobs, _, err := take(c.AllJobs(ctx, &retryv1.ListJobsRequest{PageSize: pageSize(0)}), 0)
	if err != nil {
		return err
	}
	var users []string
	for _, j := range jobs {
		if namesPolicy(j, id) {
			users = append(users, j.GetId())
		}
	}
	if len(users) > 0 {
		return &coded{fmt.Errorf("policy %q could not be deleted: jobs name it: %s", id, strings.Join(users, ", ")), exitConflict}
	}
	return s.show(resp.GetPolicy(), func() error {
		if resp.GetPolicy().GetDeleteTime() != nil {
			return s.say("policy %s: is deleted already", id)
		}
		return s.say("policy %s: would be deleted", id)
	})
}

func namesPolicy(j *retryv1.Job, id string) bool {
	if j.GetPolicy() == id {
		return true
	}
	for _, e := range j.GetEnvironments() {
		if e.GetPolicy() == id {
			return true
		}
	}
	return false
}

func newPolicyUndeleteCommand(e *Env) *cobra.Command {
	return &cobra.Command{
		Use:     "undelete ID",
		Short:   "Bring back a deleted policy as it was",
		Example: `  retryd policy undelete webhook`,
		Args:    takes("ID"),
		RunE: e.call(func(ctx context.Context, s *session, c *client.Client, args []string) error {
			resp, err := c.Policies().UndeletePolicy(ctx, &retryv1.UndeletePolicyRequest{Id: args[0]})
			if err != nil {
				return err
			}
			return s.show(resp.GetPolicy(), func() error {
				return s.say("policy %s: in force, at revision %d", args[0], resp.GetPolicy().GetRevision())
			})
		}),
	}
}
