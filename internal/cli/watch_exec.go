package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/retryd/retryd/client"
)

// execGrace is how long a command may take to end once it is asked to.
const execGrace = 3 * time.Second

// execute runs the command of --exec for an attempt.
func (w *watcher) execute(ctx context.Context, a *client.Attempt) error {
	cmd := exec.CommandContext(ctx, "sh", "-c", w.exec)
	cmd.Stdin = bytes.NewReader(a.Payload)
	cmd.Stdout, cmd.Stderr = w.s.env.Err, w.s.env.Err
	variables, err := taskVariables(w.s.namespace, a)
	if err != nil {
		return err
	}
	cmd.Env = append(os.Environ(), variables...)
	// Ctrl-C is for this process, which lets commands finish.
	apart(cmd)
	cmd.WaitDelay = execGrace
	err = cmd.Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	exit, ended := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil || errors.Is(err, exec.ErrWaitDelay):
		// What it has started in the background and goes on is not waited for.
		return nil
	case !ended:
		// It says nothing about the task: the machine may be out of processes.
		return errors.Join(client.Release(releaseDelay), w.s.note("sh cannot be run: %v", err))
	case exit.Exited():
		return client.OutcomeFailure("exit-" + strconv.Itoa(exit.ExitCode()))
	default:
		return client.OutcomeFailure("killed")
	}
}

// taskVariables tell a command what it is to do. They are not named RETRYD_, so that
// they are no settings of a retryd that it runs.
func taskVariables(namespace string, a *client.Attempt) ([]string, error) {
	attributes, err := json.Marshal(a.Attributes)
	if err != nil {
		return nil, err
	}
	if len(a.Attributes) == 0 {
		attributes = []byte("{}")
	}
	failure := ""
	if a.LastFailure != nil {
		// It may hold what no variable can.
		failure = clean(a.LastFailure.Error(), true)
	}
	out := []string{
		"TASK_ID=" + a.TaskID,
		"TASK_NAMESPACE=" + namespace,
		"TASK_QUEUE=" + a.Queue,
		"TASK_GROUP=" + a.Group,
		"TASK_ATTEMPT=" + strconv.Itoa(a.Number),
		"TASK_DELIVERY=" + strconv.Itoa(a.Delivery),
		"TASK_GENERATION=" + strconv.Itoa(a.Generation),
		"TASK_TRIGGER=" + string(a.Trigger),
		"TASK_DUE_TIME=" + timeText(a.DueTime),
		"TASK_RETRIES_LEFT=" + strconv.Itoa(a.RetriesLeft),
		"TASK_LAST_FAILURE=" + failure,
		"TASK_ATTRIBUTES=" + string(attributes),
	}
	if a.Traceparent != "" {
		out = append(out, "TRACEPARENT="+a.Traceparent, "TRACESTATE="+a.Tracestate)
	}
	return out, nil
}
