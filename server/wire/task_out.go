package wire

import (
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/scheduler"
)

// Task returns a task with its payload and all that is kept of its attempts.
func Task(t *scheduler.Task) *retryv1.Task {
	out := ListedTask(t)
	out.Payload = t.Spec.Payload
	out.AttemptsDropped = int32(t.Dropped)
	for i := range t.History {
		out.Attempts = append(out.Attempts, attemptRecord(t, i))
	}
	return out
}

// SampleTask returns a task without its payload, and with its last attempt alone.
func SampleTask(t *scheduler.Task) *retryv1.Task {
	out := ListedTask(t)
	if n := len(t.History); n > 0 {
		out.Attempts = []*retryv1.AttemptRecord{attemptRecord(t, n-1)}
	}
	return out
}

// ListedTask returns a task without payload and attempts.
func ListedTask(t *scheduler.Task) *retryv1.Task {
	out := &retryv1.Task{
		TaskId:           t.Key.ID,
		Queue:            t.Spec.Queue,
		Policy:           t.Spec.Policy,
		Job:              t.Spec.Job,
		Environment:      t.Spec.Environment,
		Group:            t.Spec.Group,
		State:            retryv1.Task_State(t.State),
		Attempt:          int32(t.Attempt),
		Generation:       int32(t.Generation),
		Delivery:         int32(t.Delivery),
		FirstFailureTime: timeOrNil(t.FirstFailureMS),
		Attributes:       t.Spec.Attributes,
		Deadline:         timeOrNil(t.Spec.DeadlineMS),
	}
	switch t.State {
	case scheduler.StateScheduled, scheduler.StateLeased:
		out.NextAttemptTime = Time(t.DueMS)
	case scheduler.StateHeld:
		out.HoldCondition, out.HoldTime = t.HoldCondition, Time(t.HoldMS)
	case scheduler.StateDead:
		out.DeadReason, out.EndTime = retryv1.Reason(t.DeadReason), Time(t.EndMS)
		if t.Fingerprint != 0 {
			out.Fingerprint = t.Fingerprint.String()
		}
	default:
		out.EndTime = Time(t.EndMS)
	}
	return out
}

// attemptRecord returns the i-th record of a task's history.
func attemptRecord(t *scheduler.Task, i int) *retryv1.AttemptRecord {
	rec := &t.History[i]
	out := &retryv1.AttemptRecord{
		Attempt:    int32(rec.Attempt),
		Generation: int32(rec.Generation),
		Trigger:    retryv1.Trigger(rec.Trigger),
		Time:       Time(rec.TimeMS),
		WorkerId:   rec.Worker,
		Deliveries: int32(rec.Deliveries),
	}
	if !rec.Success {
		out.Failure = failureToProto(&rec.Failure)
		out.Decision = Decision(&rec.Decision, rec.Policy, rec.PolicyRevision)
	}
	if ms, ok := t.SincePreviousMS(i); ok {
		out.SincePrevious = Milliseconds(ms)
	}
	return out
}

// DeadLetterGroup returns a group of dead letters with its sample, nil where that
// has gone.
func DeadLetterGroup(g *scheduler.DeadLetterGroup, sample *scheduler.Task) *retryv1.DeadLetterGroup {
	out := &retryv1.DeadLetterGroup{
		Queue:       g.Queue.Name,
		Fingerprint: g.Fingerprint.String(),
		Count:       g.Count,
		First:       Time(g.FirstMS),
		Last:        Time(g.LastMS),
	}
	if sample != nil {
		out.Sample = SampleTask(sample)
	}
	return out
}
