package cli

import (
	"context"
	"iter"

	"github.com/spf13/cobra"

	"github.com/retryd/retryd/client"
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

func newDeadCommand(e *Env) *cobra.Command {
	return group("dead", "Look at dead letters, and replay or discard them",
		`Dead letters are tasks that ended without success and wait for a person. They are kept for the
dead_letter_retention of their policy, 30 days by default.

In an outage: see by groups what they died of, mend that, count by --dry-run what would be
replayed, and replay it at a rate that the destination can take.`,
		newDeadListCommand(e), newDeadGroupsCommand(e), newDeadReplayCommand(e), newDeadDiscardCommand(e),
	)
}

func newDeadListCommand(e *Env) *cobra.Command {
	var f filter
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List dead letters, those first that have been dead for longest",
		Example: `  retryd dead list --queue hooks
  retryd dead list --fingerprint 6df75a7f8433d797 --limit 0`,
		Args: takes(),
	}
	f.addCommon(cmd)
	f.addDead(cmd)
	f.state.value = retryv1.Task_STATE_DEAD
	return listsTasks(e, cmd, &f, deadTable)
}

func deadTable(s *session, tasks []*retryv1.Task) error {
	t := newTable("task", "queue", "died", "reason", "attempts#", "fingerprint", "policy", "group", "generation#+", "job+", "environment+")
	for _, task := range tasks {
		t.add(text(task.GetTaskId()), text(task.GetQueue()), text(s.when(task.GetEndTime())),
			text(enumName(task.GetDeadReason(), "REASON_")), number(task.GetAttempt()), text(task.GetFingerprint()),
			text(task.GetPolicy()), text(task.GetGroup()), number(task.GetGeneration()),
			text(task.GetJob()), text(task.GetEnvironment()))
	}
	return s.table(t, "no such dead letters")
}

func newDeadGroupsCommand(e *Env) *cobra.Command {
	var queue string
	cmd := &cobra.Command{
		Use:   "groups",
		Short: "Show what dead letters died of, the most frequent first",
		Long: `Shows the dead letters of each queue by what they died of: those are together whose last failures
have the same cause, status and code, and messages that differ only in numbers, ids and addresses.`,
		Example: `  retryd dead groups
  retryd dead groups --queue hooks -o wide`,
		Args: takes(),
	}
	cmd.Flags().StringVarP(&queue, "queue", "q", "", "only those of this queue")
	return lists(e, cmd, defaultLimit, func(ctx context.Context, c *client.Client, size int32) iter.Seq2[*retryv1.DeadLetterGroup, error] {
		return c.AllDeadLetterGroups(ctx, &retryv1.ListDeadLetterGroupsRequest{Queue: queue, PageSize: size})
	}, showAll, deadGroupsTable)
}

func deadGroupsTable(s *session, groups []*retryv1.DeadLetterGroup) error {
	t := newTable("fingerprint", "queue", "count#", "first", "last", "sample", "died of")
	for _, g := range groups {
		cause := enumName(g.GetSample().GetDeadReason(), "REASON_")
		if attempts := g.GetSample().GetAttempts(); len(attempts) > 0 {
			if f := attempts[len(attempts)-1].GetFailure(); f != nil {
				cause += ": " + failureWords(f)
			}
		}
		t.add(text(g.GetFingerprint()), text(g.GetQueue()), number(g.GetCount()), text(s.when(g.GetFirst())),
			text(s.when(g.GetLast())), text(g.GetSample().GetTaskId()), text(cause))
	}
	return s.table(t, "no dead letters")
}

func newDeadReplayCommand(e *Env) *cobra.Command {
	var f filter
	cmd := &cobra.Command{
		Use:   "replay",
		Short: "Schedule dead letters anew, at a rate",
		Long: `Schedules the dead letters anew that the flags choose. With --rate they fall due one after the
other, so that live traffic keeps its room. Up to 1,000 are scheduled at a time, and then as many as
fall due within 10 s; the command ends with the last of them, some of which may not be due yet.

It may be interrupted at any time: Ctrl-C finishes the call that is under way and tells how many are
left. Run it again to go on: it finds only what is left, so nothing is replayed twice. What has been
scheduled is held back by queue pause.`,
		Example: `  retryd dead replay --queue hooks --fingerprint 6df75a7f8433d797 --dry-run
  retryd dead replay --queue hooks --fingerprint 6df75a7f8433d797 --rate 100
  retryd dead replay --all --rate 50`,
		Args: takes(),
	}
	f.addCommon(cmd)
	f.addDead(cmd)
	f.addAll(cmd, "dead letters")
	rate := addRateFlag(cmd)
	addDryRunFlag(cmd)
	cmd.RunE = e.run(func(ctx context.Context, s *session, _ []string) error {
		if err := f.chosen(cmd); err != nil {
			return err
		}
		b := bulk{verb: "replay", done: "replayed", what: "dead letter"}
		b.run = func(ctx context.Context, c *client.Client, onlyCount bool, progress func(client.Progress)) (client.Progress, error) {
			return c.ReplayAll(ctx, &retryv1.ReplayTasksRequest{
				Queue: f.queue, Fingerprint: f.fingerprint, Group: f.group, Policy: f.policy, Job: f.job,
				Environment: f.environment, DeadReason: f.reason.value, ValidateOnly: onlyCount, Rate: float64(*rate),
			}, progress)
		}
		return b.do(ctx, s)
	})
	return cmd
}

func newDeadDiscardCommand(e *Env) *cobra.Command {
	var f filter
	cmd := &cobra.Command{
		Use:   "discard",
		Short: "Give dead letters up for good",
		Long: `Gives the dead letters up for good that the flags choose. Payload, attributes and messages are
dropped at once, the rest goes after the retention of their policy.`,
		Example: `  retryd dead discard --queue hooks --fingerprint 33554f99142e059d --dry-run
  retryd dead discard --queue hooks --fingerprint 33554f99142e059d --yes`,
		Args: takes(),
	}
	f.addCommon(cmd)
	f.addDead(cmd)
	f.addAll(cmd, "dead letters")
	addConfirmFlags(cmd)
	cmd.RunE = e.run(func(ctx context.Context, s *session, _ []string) error {
		if err := f.chosen(cmd); err != nil {
			return err
		}
		b := discardOf(&f, retryv1.Task_STATE_DEAD, "dead letter")
		return b.do(ctx, s)
	})
	return cmd
}

// discardOf is the run that discards the tasks of a filter in a state.
func discardOf(f *filter, state retryv1.Task_State, what string) bulk {
	return bulk{
		verb: "discard", done: "discarded", what: what, destroys: true,
		run: func(ctx context.Context, c *client.Client, onlyCount bool, progress func(client.Progress)) (client.Progress, error) {
			return c.DiscardAll(ctx, &retryv1.DiscardTasksRequest{
				State: state, Queue: f.queue, Condition: f.condition, Fingerprint: f.fingerprint, Group: f.group,
				Policy: f.policy, Job: f.job, Environment: f.environment, DeadReason: f.reason.value, ValidateOnly: onlyCount,
			}, progress)
		},
	}
}
