package cli

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/retryd/retryd/client"
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

func newQueueCommand(e *Env) *cobra.Command {
	return group("queue", "Look at queues, and pause or resume them", "",
		newQueueListCommand(e), newQueueStatsCommand(e), newQueuePauseCommand(e), newQueueResumeCommand(e),
	)
}

func newQueueListCommand(e *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List queues with what is in them, and how well they are",
		Long: `Lists the queues of a namespace by name. DUE counts attempts that wait for a worker, and OLDEST
tells for how long the first of them has. HEALTH is the worst of the metrics that queue stats shows.`,
		Example: `  retryd queue list
  retryd queue list -o json`,
		Args: takes(),
	}
	return lists(e, cmd, 0, func(ctx context.Context, c *client.Client, size int32) iter.Seq2[*retryv1.Queue, error] {
		return c.AllQueues(ctx, &retryv1.ListQueuesRequest{PageSize: size})
	}, showAll, queuesTable)
}

func queuesTable(s *session, queues []*retryv1.Queue) error {
	t := newTable("queue", "scheduled#", "due#", "oldest#", "leased#", "held#", "dead#", "paused", "health")
	for _, q := range queues {
		t.add(text(q.GetQueue()), number(q.GetScheduled()), number(q.GetDue()), text(oldest(q)), number(q.GetLeased()),
			number(q.GetHeld()), number(q.GetDead()), styled(warning, pausedWords(s, q)), healthCell(q))
	}
	return s.table(t, "no queues")
}

func oldest(q *retryv1.Queue) string {
	if q.GetOldestDueAge() == nil {
		return ""
	}
	return span(q.GetOldestDueAge().AsDuration())
}

func pausedWords(s *session, q *retryv1.Queue) string {
	switch {
	case !q.GetPaused():
		return ""
	case q.GetPausedUntil() == nil:
		return "until resumed"
	case s.format == formatWide:
		return "until " + s.when(q.GetPausedUntil())
	default:
		return "ends " + s.when(q.GetPausedUntil())
	}
}

// healthCell tells the worst state of a queue's metrics, and which have it.
func healthCell(q *retryv1.Queue) cell {
	worst := retryv1.HealthMetric_STATE_OK
	var names []string
	for _, m := range q.GetHealth() {
		switch state := m.GetState(); {
		case state != retryv1.HealthMetric_STATE_WARN && state != retryv1.HealthMetric_STATE_ALERT:
		case state > worst:
			worst, names = state, []string{m.GetName()}
		case state == worst:
			names = append(names, m.GetName())
		}
	}
	if len(names) == 0 {
		return healthState(worst)
	}
	out := healthState(worst)
	return styled(out.style, out.text+": "+strings.Join(names, ", "))
}

func healthState(state retryv1.HealthMetric_State) cell {
	name := enumName(state, "STATE_")
	switch state {
	case retryv1.HealthMetric_STATE_OK:
		return styled(good, name)
	case retryv1.HealthMetric_STATE_WARN:
		return styled(warning, name)
	case retryv1.HealthMetric_STATE_ALERT:
		return styled(bad, name)
	default:
		return styled(faint, name)
	}
}

func newQueueStatsCommand(e *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stats [QUEUE]",
		Short: "Show what is in a queue, and its health",
		Long: `Shows what is in a queue, and its health in the last 24 hours: each metric with its value, what is
healthy, and how well it is. Without a name it shows the caller-driven tasks, which are in no queue.`,
		Example: `  retryd queue stats hooks
  retryd queue stats hooks -o yaml`,
		Args: cobra.MaximumNArgs(1),
	}
	cmd.RunE = e.call(func(ctx context.Context, s *session, c *client.Client, args []string) error {
		resp, err := c.Queues().GetQueue(ctx, &retryv1.GetQueueRequest{Queue: strings.Join(args, "")})
		if err != nil {
			return err
		}
		return s.show(resp.GetQueue(), func() error { return queuePage(s, resp.GetQueue()) })
	})
	return cmd
}

func queuePage(s *session, q *retryv1.Queue) error {
	var f facts
	f.add("Queue", text(orElse(q.GetQueue(), "none: caller-driven tasks")))
	f.add("Scheduled", number(q.GetScheduled()))
	due := number(q.GetDue())
	if q.GetOldestDueAge() != nil {
		due.text += ", the oldest for " + oldest(q)
	}
	f.add("Due", due)
	f.add("Leased", number(q.GetLeased()))
	f.add("Held", number(q.GetHeld()))
	f.add("Dead", number(q.GetDead()))
	f.add("Paused", styled(warning, pausedWords(s, q)))
	if err := s.facts(&f); err != nil {
		return err
	}
	if len(q.GetHealth()) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(s.env.Out); err != nil {
		return err
	}
	t := newTable("health", "value#", "healthy", "state")
	for _, m := range q.GetHealth() {
		value := "-"
		if m.GetState() != retryv1.HealthMetric_STATE_NO_DATA {
			value = metricValue(m)
		}
		t.add(text(m.GetName()), text(value), text(m.GetHealthyRange()), healthState(m.GetState()))
	}
	return s.table(t, "")
}

// metricValue writes a metric in the unit that its healthy range has.
func metricValue(m *retryv1.HealthMetric) string {
	switch m.GetName() {
	case "retry_rate", "dead_letter_rate", "second_attempt_success_rate":
		return fmt.Sprintf("%.2f %%", 100*m.GetValue())
	case "depth_growth":
		return fmt.Sprintf("%g h", m.GetValue())
	case "average_attempts_to_success":
		return fmt.Sprintf("%.2f", m.GetValue())
	default:
		return strconv.FormatFloat(m.GetValue(), 'f', -1, 64)
	}
}

func newQueuePauseCommand(e *Env) *cobra.Command {
	var until timeFlag
	var length time.Duration
	cmd := &cobra.Command{
		Use:   "pause QUEUE",
		Short: "Stop the handing out of a queue's attempts",
		Long: `Stops the handing out of a queue's attempts, at all replicas: once it has answered, nothing more of
the queue is leased. What is leased already goes on, reports are taken, and what falls due waits.
Without --until and --for it lasts until the queue is resumed.`,
		Example: `  retryd queue pause hooks --for 30m
  retryd queue pause hooks --until 2126-01-05T09:00:00Z
  retryd queue pause hooks`,
		Args: takes("QUEUE"),
	}
	cmd.Flags().Var(&until, "until", "when it resumes by itself, such as 2026-01-31T18:30:00Z or 2026-01-31T18:30:00+01:00")
	cmd.Flags().DurationVar(&length, "for", 0, "after what time it resumes by itself, such as 30m or 2h")
	cmd.RunE = e.run(func(ctx context.Context, s *session, args []string) error {
		req := &retryv1.PauseQueueRequest{Queue: args[0]}
		switch given := cmd.Flags().Changed("for"); {
		case given && !until.t.IsZero():
			return usagef("--until and --for say the same: give one of them")
		case given && length <= 0:
			return usagef("--for is %q: it must be more than 0s", length)
		case given:
			req.Until = timestamppb.New(s.env.Now().Add(length))
		case !until.t.IsZero():
			req.Until = timestamppb.New(until.t)
		}
		c, err := s.client()
		if err != nil {
			return err
		}
		resp, err := c.Queues().PauseQueue(ctx, req)
		if err != nil {
			return err
		}
		q := resp.GetQueue()
		return s.show(q, func() error {
			end := "until it is resumed"
			if q.GetPausedUntil() != nil {
				end = "until " + s.whenBoth(q.GetPausedUntil())
			}
			return s.say("%s is paused %s; %d due, %d leased", q.GetQueue(), end, q.GetDue(), q.GetLeased())
		})
	})
	return cmd
}

func newQueueResumeCommand(e *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "resume QUEUE",
		Short:   "End the pause of a queue",
		Long:    `Ends the pause of a queue. What has fallen due is handed out again, by all replicas within a second.`,
		Example: `  retryd queue resume hooks`,
		Args:    takes("QUEUE"),
	}
	cmd.RunE = e.call(func(ctx context.Context, s *session, c *client.Client, args []string) error {
		resp, err := c.Queues().ResumeQueue(ctx, &retryv1.ResumeQueueRequest{Queue: args[0]})
		if err != nil {
			return err
		}
		q := resp.GetQueue()
		return s.show(q, func() error {
			return s.say("%s hands out attempts; %d due, %d leased", q.GetQueue(), q.GetDue(), q.GetLeased())
		})
	})
	return cmd
}
