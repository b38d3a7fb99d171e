package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/retryd/retryd/client"
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// act is something that is done to tasks, one by one.
type act struct {
	// verb and done name it: "cancel", "cancelled". A task that is due afterwards is
	// told with the time.
	verb, done string
	// destroys says that it cannot be undone, and so is asked about; takes are then
	// the states that it takes, for --dry-run.
	destroys bool
	takes    []retryv1.Task_State
	// check judges the flags. It may be nil.
	check func(*session) error
	call  func(ctx context.Context, c *client.Client, id string) (*retryv1.Task, error)
}

// taskAct makes the command of an act.
func taskAct(e *Env, cmd *cobra.Command, a act) *cobra.Command {
	cmd.Args = takes("ID...")
	cmd.RunE = e.run(func(ctx context.Context, s *session, args []string) error {
		if a.check != nil {
			if err := a.check(s); err != nil {
				return err
			}
		}
		ids, err := s.idsOf(args)
		if err != nil {
			return err
		}
		if a.destroys && !s.dryRun() {
			what := several(len(ids), "task")
			if len(ids) == 1 {
				what = fmt.Sprintf("task %q", ids[0])
			}
			if err := s.confirm(ctx, fmt.Sprintf("%s %s for good?", capital(a.verb), what)); err != nil {
				return err
			}
		}
		c, err := s.client()
		if err != nil {
			return err
		}
		return a.do(ctx, s, c, ids)
	})
	return cmd
}

// acted is what became of one task.
type acted struct {
	TaskID string `json:"taskId"`
	// Done says whether it was done, or would be.
	Done  bool            `json:"done"`
	Task  json.RawMessage `json:"task,omitempty"`
	Error *actError       `json:"error,omitempty"`
}

// actError is why it was not.
type actError struct {
	Code    string `json:"code"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message"`
}

// do acts on each task, and goes on where one fails.
func (a *act) do(ctx context.Context, s *session, c *client.Client, ids []string) error {
	results := make([]acted, 0, len(ids))
	var failed []error
	for i, id := range ids {
		if err := ctx.Err(); err != nil {
			if err := s.note("%d of %d tasks were left as they are, from %s on", len(ids)-i, len(ids), id); err != nil {
				return err
			}
			failed = append(failed, err)
			break
		}
		// Ctrl-C does not cut a call, so that each task is told of as it is.
		task, err := a.one(context.WithoutCancel(ctx), s, c, id)
		r := acted{TaskID: id, Done: err == nil}
		if err != nil {
			failed = append(failed, err)
			r.Error = actErrorOf(err)
		} else if r.Task, err = marshal(short(task), s.format == formatYAML); err != nil {
			return err
		}
		results = append(results, r)
		if err := a.tell(ctx, s, id, task, err, len(ids) > 1); err != nil {
			return err
		}
	}
	err := s.showValue(results, func() error { return nil })
	return errors.Join(err, someFailed(ctx, failed, len(ids)))
}

func (a *act) one(ctx context.Context, s *session, c *client.Client, id string) (*retryv1.Task, error) {
	if !s.dryRun() {
		return a.call(ctx, c, id)
	}
	resp, err := c.Tasks().GetTask(ctx, &retryv1.GetTaskRequest{TaskId: id})
	if err != nil {
		return nil, err
	}
	task := resp.GetTask()
	if !slices.Contains(a.takes, task.GetState()) {
		err := fmt.Errorf("it is %s: %s takes %s tasks", enumName(task.GetState(), "STATE_"), a.verb, a.takesWords())
		return nil, &coded{err, exitConflict}
	}
	return task, nil
}

func (a *act) takesWords() string {
	// The last state is the one that it leads to, which is taken as a repeat.
	var names []string
	for _, state := range a.takes[:len(a.takes)-1] {
		names = append(names, enumName(state, "STATE_"))
	}
	return strings.Join(names, ", ")
}

// tell tells people at once what became of a task; of several, what failed as well.
func (a *act) tell(ctx context.Context, s *session, id string, task *retryv1.Task, err error, several bool) error {
	if err != nil && several {
		_, err := fmt.Fprintf(s.env.Err, "%s: %s\n", clean(id, false), explain(ctx, err))
		return err
	}
	switch {
	case task == nil || !s.forPeople():
		return nil
	case s.dryRun():
		return s.say("%s: would be %s, is %s", id, a.done, enumName(task.GetState(), "STATE_"))
	case task.GetNextAttemptTime() != nil:
		return s.say("%s: attempt %d is due %s", id, task.GetAttempt(), s.whenBoth(task.GetNextAttemptTime()))
	default:
		return s.say("%s: %s", id, a.done)
	}
}

// short is a task without payload and attempts, as lists have it.
func short(task *retryv1.Task) *retryv1.Task {
	task = proto.CloneOf(task)
	task.Payload, task.Attempts, task.AttemptsDropped = nil, nil, 0
	return task
}

func actErrorOf(err error) *actError {
	a, ok := answerOf(err)
	if !ok { // --dry-run has found it in another state
		return &actError{Code: "FAILED_PRECONDITION", Reason: "WRONG_STATE", Message: err.Error()}
	}
	return &actError{Code: grpcCode(a.code), Reason: a.reason, Message: a.message}
}

// someFailed is the error of what was done to several tasks, one by one. Those that
// failed were told of. Its exit code is theirs where all failed, and for the same.
func someFailed(ctx context.Context, errs []error, of int) error {
	if len(errs) == 0 {
		return nil
	}
	if of == 1 {
		return errs[0]
	}
	if last := errs[len(errs)-1]; exitCode(ctx, last) == exitInterrupted {
		return last
	}
	code := exitCode(ctx, errs[0])
	if len(errs) < of || slices.ContainsFunc(errs, func(err error) bool { return exitCode(ctx, err) != code }) {
		code = exitFailure
	}
	return &coded{fmt.Errorf("%d of %d tasks failed", len(errs), of), code}
}

// idsOf are the ids of a call; - stands for those on standard input, a line each.
func (s *session) idsOf(args []string) ([]string, error) {
	if !slices.Contains(args, "-") {
		return args, nil
	}
	if len(args) > 1 {
		return nil, usagef("- stands for the ids on standard input, and goes with no others")
	}
	var ids []string
	r := bufio.NewReader(s.env.In)
	for {
		line, err := r.ReadString('\n')
		if id := strings.TrimSpace(line); id != "" {
			ids = append(ids, id)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("standard input: %w", err)
		}
	}
	if len(ids) == 0 {
		return nil, usagef("there are no ids on standard input")
	}
	return ids, nil
}

// timeFlag is a flag for a time.
type timeFlag struct{ t time.Time }

// String implements [pflag.Value].
func (f *timeFlag) String() string {
	if f.t.IsZero() {
		return ""
	}
	return f.t.Format(time.RFC3339Nano)
}

// Type implements [pflag.Value].
func (f *timeFlag) Type() string { return "time" }

// Set implements [pflag.Value].
func (f *timeFlag) Set(s string) error {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return errors.New("it must be a date and time with its zone, such as 2026-01-31T18:30:00Z or 2026-01-31T18:30:00+01:00")
	}
	f.t = t
	return nil
}
