package cli

import (
	"context"
	"iter"

	"github.com/spf13/cobra"

	"github.com/retryd/retryd/client"
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// defaultLimit is how many tasks are listed unless told otherwise: as many as are
// read by people.
const defaultLimit = 50

func newTaskListCommand(e *Env) *cobra.Command {
	var f filter
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List live tasks",
		Long: `Lists tasks that are scheduled, leased, held or dead: queue by queue, in each those scheduled
or leased by when they fall due, then those held, then those dead. Tasks that have ended are in
no list; task get shows them until their retention is over.

By queue, state, condition and fingerprint a list is as quick as it is long; by the other flags
tasks are looked at one by one.`,
		Example: `  retryd task list --queue hooks
  retryd task list --state held --condition customer -o wide
  retryd task list --group orders --limit 0 -o json`,
		Args: takes(),
	}
	f.addCommon(cmd)
	f.addCondition(cmd)
	f.addDead(cmd)
	f.addState(cmd, retryv1.Task_STATE_SCHEDULED, retryv1.Task_STATE_LEASED, retryv1.Task_STATE_HELD, retryv1.Task_STATE_DEAD)
	return listsTasks(e, cmd, &f, tasksTable)
}

// listsTasks makes a command list the tasks of a filter, for people by such a table.
func listsTasks(e *Env, cmd *cobra.Command, f *filter, table func(*session, []*retryv1.Task) error) *cobra.Command {
	return lists(e, cmd, defaultLimit, func(ctx context.Context, c *client.Client, size int32) iter.Seq2[*retryv1.Task, error] {
		return c.AllTasks(ctx, &retryv1.ListTasksRequest{
			State: f.state.value, Queue: f.queue, Condition: f.condition, Fingerprint: f.fingerprint, Group: f.group,
			Policy: f.policy, Job: f.job, Environment: f.environment, DeadReason: f.reason.value, PageSize: size,
		})
	}, showAll, table)
}

func tasksTable(s *session, tasks []*retryv1.Task) error {
	t := newTable("task", "queue", "state", "attempt#", "when", "policy", "group", "job+", "environment+", "generation#+")
	for _, task := range tasks {
		t.add(text(task.GetTaskId()), text(task.GetQueue()), stateCell(task.GetState()), number(task.GetAttempt()),
			text(whenOf(s, task)), text(task.GetPolicy()), text(task.GetGroup()),
			text(task.GetJob()), text(task.GetEnvironment()), number(task.GetGeneration()))
	}
	return s.table(t, "no such tasks")
}

// whenOf tells of a task what matters most of its times: when its attempt falls due,
// when and for what it was held, or when and why it died.
func whenOf(s *session, task *retryv1.Task) string {
	switch task.GetState() {
	case retryv1.Task_STATE_SCHEDULED:
		return "due " + s.when(task.GetNextAttemptTime())
	case retryv1.Task_STATE_LEASED:
		return "due " + s.when(task.GetNextAttemptTime()) + ", delivery " + number(task.GetDelivery()).text
	case retryv1.Task_STATE_HELD:
		return "held " + s.when(task.GetHoldTime()) + ", for " + task.GetHoldCondition()
	case retryv1.Task_STATE_DEAD:
		return "died " + s.when(task.GetEndTime()) + ", " + enumName(task.GetDeadReason(), "REASON_")
	default:
		return s.when(task.GetEndTime())
	}
}

func stateCell(state retryv1.Task_State) cell {
	name := enumName(state, "STATE_")
	switch state {
	case retryv1.Task_STATE_DEAD:
		return styled(bad, name)
	case retryv1.Task_STATE_HELD:
		return styled(warning, name)
	case retryv1.Task_STATE_SUCCEEDED:
		return styled(good, name)
	case retryv1.Task_STATE_CANCELLED, retryv1.Task_STATE_DISCARDED:
		return styled(faint, name)
	default:
		return text(name)
	}
}
