package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/retryd/retryd/client"
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

func newHeldCommand(e *Env) *cobra.Command {
	return group("held", "Look at tasks that are held for a condition, and release or discard them",
		`Held tasks wait until a condition is released that a rule of their policy names, such as an expired
card that its owner must replace.`,
		newHeldListCommand(e), newHeldReleaseCommand(e), newHeldDiscardCommand(e),
	)
}

func newHeldListCommand(e *Env) *cobra.Command {
	var f filter
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List held tasks, those first that have waited longest",
		Example: `  retryd held list
  retryd held list --condition customer --queue charges`,
		Args: takes(),
	}
	f.addCommon(cmd)
	f.addCondition(cmd)
	f.state.value = retryv1.Task_STATE_HELD
	return listsTasks(e, cmd, &f, heldTable)
}

func heldTable(s *session, tasks []*retryv1.Task) error {
	t := newTable("task", "queue", "condition", "held", "attempts#", "policy", "group", "job+", "environment+")
	for _, task := range tasks {
		t.add(text(task.GetTaskId()), text(task.GetQueue()), text(task.GetHoldCondition()), text(s.when(task.GetHoldTime())),
			number(task.GetAttempt()), text(task.GetPolicy()), text(task.GetGroup()), text(task.GetJob()), text(task.GetEnvironment()))
	}
	return s.table(t, "no such held tasks")
}

func newHeldReleaseCommand(e *Env) *cobra.Command {
	var f filter
	cmd := &cobra.Command{
		Use:   "release CONDITION",
		Short: "Schedule the next attempts of tasks that are held for a condition, at a rate",
		Long: `Schedules the next attempts of the tasks that are held for a condition, those first that have waited
longest, and even where their retries are used up. With --rate they fall due one after the other,
as those of dead replay do, and like that it may be interrupted at any time: run it again to go on.`,
		Example: `  retryd held release customer --queue charges --dry-run
  retryd held release customer --queue charges --rate 20`,
		Args: takes("CONDITION"),
	}
	f.addCommon(cmd)
	rate := addRateFlag(cmd)
	addDryRunFlag(cmd)
	cmd.RunE = e.run(func(ctx context.Context, s *session, args []string) error {
		b := bulk{verb: "release", done: "released", what: "held task"}
		b.run = func(ctx context.Context, c *client.Client, onlyCount bool, progress func(client.Progress)) (client.Progress, error) {
			return c.ReleaseAll(ctx, &retryv1.ReleaseHeldRequest{
				Condition: args[0], Queue: f.queue, Group: f.group, Policy: f.policy, Job: f.job, Environment: f.environment,
				ValidateOnly: onlyCount, Rate: float64(*rate),
			}, progress)
		}
		return b.do(ctx, s)
	})
	return cmd
}

func newHeldDiscardCommand(e *Env) *cobra.Command {
	var f filter
	cmd := &cobra.Command{
		Use:   "discard CONDITION",
		Short: "Give tasks up for good that are held for a condition",
		Long: `Gives the tasks up for good that are held for a condition. Payload, attributes and messages are
dropped at once, the rest goes after the retention of their policy.`,
		Example: `  retryd held discard customer --queue charges --dry-run
  retryd held discard customer --queue charges --yes`,
		Args: takes("CONDITION"),
	}
	f.addCommon(cmd)
	addConfirmFlags(cmd)
	cmd.RunE = e.run(func(ctx context.Context, s *session, args []string) error {
		f.condition = args[0]
		b := discardOf(&f, retryv1.Task_STATE_HELD, "held task")
		return b.do(ctx, s)
	})
	return cmd
}
