package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/retryd/retryd/client"
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

func newTaskCommand(e *Env) *cobra.Command {
	return group("task", "Look at tasks, and step in",
		`Shows tasks with everything that has become of them, finds them, and steps in.

What takes ids takes one or several, or - to read them from standard input, a line each. A task whose
id is - can be named there: echo - | retryd task cancel - --yes. Each is told what became of it, and
the exit code says whether any failed.`,
		newTaskGetCommand(e), newTaskListCommand(e),
		newTaskCancelCommand(e), newTaskRetryNowCommand(e), newTaskRescheduleCommand(e),
		newTaskReplayCommand(e), newTaskDiscardCommand(e),
	)
}

func newTaskCancelCommand(e *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cancel ID...",
		Short: "End scheduled, leased or held tasks for good",
		Long: `Ends tasks for good that are scheduled, leased or held. A worker that is at one learns it when it
extends its lease or reports: its result is refused.`,
		Example: `  retryd task cancel order-1 --dry-run
  retryd task cancel order-1 charge-1 --yes`,
	}
	addConfirmFlags(cmd)
	return taskAct(e, cmd, act{
		verb: "cancel", done: "cancelled", destroys: true,
		takes: []retryv1.Task_State{retryv1.Task_STATE_SCHEDULED, retryv1.Task_STATE_LEASED, retryv1.Task_STATE_HELD, retryv1.Task_STATE_CANCELLED},
		call: func(ctx context.Context, c *client.Client, id string) (*retryv1.Task, error) {
			resp, err := c.Tasks().CancelTask(ctx, &retryv1.CancelTaskRequest{TaskId: id})
			return resp.GetTask(), err
		},
	})
}

func newTaskRetryNowCommand(e *Env) *cobra.Command {
	return taskAct(e, &cobra.Command{
		Use:   "retry-now ID...",
		Short: "Make the attempts of scheduled tasks due now",
		Long: `Makes the attempts of scheduled tasks due now. Where a pause window of the policy is open, they
fall due at its end.`,
		Example: `  retryd task retry-now order-1`,
	}, act{
		verb: "retry now", done: "due",
		call: func(ctx context.Context, c *client.Client, id string) (*retryv1.Task, error) {
			resp, err := c.Tasks().RetryNow(ctx, &retryv1.RetryNowRequest{TaskId: id})
			return resp.GetTask(), err
		},
	})
}

func newTaskRescheduleCommand(e *Env) *cobra.Command {
	var at timeFlag
	var in time.Duration
	cmd := &cobra.Command{
		Use:   "reschedule ID...",
		Short: "Make the attempts of scheduled tasks due at another time",
		Long: `Makes the attempts of scheduled tasks due at another time, sooner or later. One that lies in a
pause window of the policy is moved to its end.`,
		Example: `  retryd task reschedule order-1 --in 2h
  retryd task reschedule order-1 --at 2126-01-05T09:00:00Z`,
	}
	cmd.Flags().Var(&at, "at", "when, such as 2026-01-31T18:30:00Z or 2026-01-31T18:30:00+01:00")
	cmd.Flags().DurationVar(&in, "in", 0, "after what time from now, such as 90s or 2h30m")
	var due *timestamppb.Timestamp
	return taskAct(e, cmd, act{
		verb: "reschedule", done: "due",
		check: func(s *session) error {
			switch given := cmd.Flags().Changed("in"); {
			case given == !at.t.IsZero():
				return usagef("say when: by --at or by --in, one of them")
			case given && in < 0:
				return usagef("--in is %q: it must be 0s or more", in)
			case given:
				due = timestamppb.New(s.env.Now().Add(in))
			default:
				due = timestamppb.New(at.t)
			}
			return nil
		},
		call: func(ctx context.Context, c *client.Client, id string) (*retryv1.Task, error) {
			resp, err := c.Tasks().Reschedule(ctx, &retryv1.RescheduleRequest{TaskId: id, Time: due})
			return resp.GetTask(), err
		},
	})
}

func newTaskReplayCommand(e *Env) *cobra.Command {
	return taskAct(e, &cobra.Command{
		Use:   "replay ID...",
		Short: "Schedule dead letters anew, due at once",
		Long: `Schedules dead letters anew, due at once: id, payload and history stay, and retries start afresh.
To replay many at a rate: retryd dead replay.`,
		Example: `  retryd task replay order-2 order-3
  retryd task replay - < ids.txt`,
	}, act{
		verb: "replay", done: "due",
		call: func(ctx context.Context, c *client.Client, id string) (*retryv1.Task, error) {
			resp, err := c.Tasks().ReplayTask(ctx, &retryv1.ReplayTaskRequest{TaskId: id})
			return resp.GetTask(), err
		},
	})
}

func newTaskDiscardCommand(e *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "discard ID...",
		Short: "Give held tasks or dead letters up for good",
		Long: `Gives tasks up for good that are held or dead. Payload, attributes and messages are dropped at once.
To discard many: retryd dead discard, retryd held discard.`,
		Example: `  retryd task discard order-3 --dry-run
  retryd task discard order-3 --yes`,
	}
	addConfirmFlags(cmd)
	return taskAct(e, cmd, act{
		verb: "discard", done: "discarded", destroys: true,
		takes: []retryv1.Task_State{retryv1.Task_STATE_HELD, retryv1.Task_STATE_DEAD, retryv1.Task_STATE_DISCARDED},
		call: func(ctx context.Context, c *client.Client, id string) (*retryv1.Task, error) {
			resp, err := c.Tasks().DiscardTask(ctx, &retryv1.DiscardTaskRequest{TaskId: id})
			return resp.GetTask(), err
		},
	})
}
