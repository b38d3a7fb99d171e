package cli

import (
	"context"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/retryd/retryd/client"
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/internal/policyfile"
	"github.com/retryd/retryd/policy"
)

func newJobCommand(e *Env) *cobra.Command {
	return group("job", "See and change jobs, which name policies by environment", "",
		newJobListCommand(e),
		newJobGetCommand(e),
		newJobApplyCommand(e),
		newJobDeleteCommand(e),
	)
}

func newJobListCommand(e *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the jobs of a namespace",
		Long: `Lists the jobs of a namespace by id. With -o yaml they are printed in the form of the files that
"job apply" reads.`,
		Example: `  retryd job list
  retryd job list -o yaml > jobs.yaml`,
		Args: takes(),
	}
	filter := addNameFlag(cmd)
	return lists(e, cmd, 0, func(ctx context.Context, c *client.Client, size int32) iter.Seq2[*retryv1.Job, error] {
		return c.AllJobs(ctx, &retryv1.ListJobsRequest{Filter: *filter, PageSize: size})
	}, asFile[*retryv1.Job]("jobs"), jobsTable)
}

func jobsTable(s *session, jobs []*retryv1.Job) error {
	t := newTable("id", "name", "policy", "environments", "changed", "revision#+")
	for _, j := range jobs {
		t.add(text(j.GetId()), text(j.GetDisplayName()), text(orElse(j.GetPolicy(), "-")), text(strings.Join(environmentsOf(j), ", ")),
			text(s.when(j.GetUpdateTime())), number(j.GetRevision()))
	}
	return s.table(t, "no jobs")
}

// environmentsOf are the environments of a job by name, each with its policy.
func environmentsOf(j *retryv1.Job) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(j.GetEnvironments())) {
		out = append(out, name+"="+orElse(j.GetEnvironments()[name].GetPolicy(), "(the job's)"))
	}
	return out
}

func newJobGetCommand(e *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "get ID",
		Short: "Show one job",
		Example: `  retryd job get billing
  retryd job get billing -o yaml > billing.yaml`,
		Args: takes("ID"),
		RunE: e.call(func(ctx context.Context, s *session, c *client.Client, args []string) error {
			resp, err := c.Jobs().GetJob(ctx, &retryv1.GetJobRequest{Id: args[0]})
			if err != nil {
				return err
			}
			j := resp.GetJob()
			if s.format == formatYAML {
				return showFile(s, "jobs", []*retryv1.Job{j}, nil)
			}
			return s.show(j, func() error {
				f := new(facts)
				f.add("ID", styled(bold, j.GetId()))
				f.add("Name", text(j.GetDisplayName()))
				f.add("Revision", number(j.GetRevision()))
				f.add("Policy", text(orElse(j.GetPolicy(), "none of its own")))
				for _, e := range environmentsOf(j) {
					f.add("Environment", text(e))
				}
				f.add("Created", text(s.whenBoth(j.GetCreateTime())))
				f.add("Changed", text(s.whenBoth(j.GetUpdateTime())))
				return s.facts(f)
			})
		}),
	}
}

func newJobApplyCommand(e *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Make jobs what files say: create them, or update those that differ",
		Long: `Makes jobs what files say: those that are not there are created, those that differ are updated and
the difference is shown. All others stay as they are. The policies that they name must be there.

A file is YAML with a list under the key "jobs":

  jobs:
    - id: billing
      display_name: Billing
      policy: webhook
      environments:
        staging: {policy: quick}`,
		Example: `  retryd job apply -f jobs.yaml --dry-run
  retryd job apply -f jobs.yaml`,
		Args: takes(),
	}
	files := addFilesFlag(cmd, "YAML file of jobs, a directory of such files, or - for standard input; may be repeated")
	addDryRunFlag(cmd)
	cmd.RunE = e.call(func(ctx context.Context, s *session, c *client.Client, _ []string) error {
		return jobKind(c.Jobs()).apply(ctx, s, *files)
	})
	return cmd
}

func jobKind(c retryv1.JobServiceClient) *kind[*retryv1.Job] {
	return &kind[*retryv1.Job]{
		one: "job", many: "jobs", parse: policyfile.ParseJobs,
		// What its names refer to is for the server to judge.
		check:  func(j *retryv1.Job) []policy.Violation { return policy.ValidateNames(j.GetId(), j.GetDisplayName()) },
		normal: described[*retryv1.Job],
		get: func(ctx context.Context, id string) (*retryv1.Job, bool, error) {
			resp, err := c.GetJob(ctx, &retryv1.GetJobRequest{Id: id})
			return resp.GetJob(), false, err
		},
		create: func(ctx context.Context, j *retryv1.Job) (*retryv1.Job, error) {
			resp, err := c.CreateJob(ctx, &retryv1.CreateJobRequest{Job: j})
			return resp.GetJob(), err
		},
		update: func(ctx context.Context, j *retryv1.Job, etag string) (*retryv1.Job, error) {
			j.Etag = etag
			resp, err := c.UpdateJob(ctx, &retryv1.UpdateJobRequest{Job: j})
			return resp.GetJob(), err
		},
	}
}

func newJobDeleteCommand(e *Env) *cobra.Command {
	return e.destroys(&cobra.Command{
		Use:   "delete ID",
		Short: "Delete a job for good",
		Long:  `Deletes a job for good. Tasks under way keep the policy that they have.`,
		Example: `  retryd job delete billing --dry-run
  retryd job delete billing --yes`,
		Args: takes("ID"),
	}, "Delete job %q for good?", func(ctx context.Context, s *session, c *client.Client, id string) error {
		resp, err := c.Jobs().GetJob(ctx, &retryv1.GetJobRequest{Id: id})
		if err != nil {
			return err
		}
		return s.show(resp.GetJob(), func() error { return s.say("job %s: would be deleted", id) })
	}, func(ctx context.Context, s *session, c *client.Client, id string) error {
		resp, err := c.Jobs().DeleteJob(ctx, &retryv1.DeleteJobRequest{Id: id})
		if err != nil {
			return err
		}
		return s.show(resp.GetJob(), func() error { return s.say("job %s: deleted", id) })
	})
}
