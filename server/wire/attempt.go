package wire

import (
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/scheduler"
)

// Attempt returns an attempt as a worker gets it.
func Attempt(d *scheduler.Delivery) *retryv1.Attempt {
	t := d.Task
	out := &retryv1.Attempt{
		TaskId:           t.Key.ID,
		Queue:            t.Spec.Queue,
		Payload:          t.Spec.Payload,
		Attributes:       t.Spec.Attributes,
		Group:            t.Spec.Group,
		Attempt:          int32(t.Attempt),
		Delivery:         int32(t.Delivery),
		Generation:       int32(t.Generation),
		Trigger:          retryv1.Trigger(t.Trigger),
		DueTime:          Time(t.DueMS),
		FirstFailureTime: timeOrNil(t.FirstFailureMS),
		RetriesLeft:      int32(t.RetriesLeft),
		LeaseToken:       d.Token,
		LeaseExpireTime:  Time(t.LeaseEndMS),
	}
	trace := t.Trace()
	out.Traceparent, out.Tracestate = trace.Parent, trace.State
	if rec := t.LastFailure(); rec != nil {
		out.LastFailure = failureToProto(&rec.Failure)
	}
	return out
}

// ObservedAttempt returns an attempt as one who only looks on sees it: as it
// falls due, with no lease and no delivery of its own.
func ObservedAttempt(d *scheduler.Delivery) *retryv1.Attempt {
	out := Attempt(d)
	out.Delivery, out.LeaseToken, out.LeaseExpireTime = 0, "", nil
	return out
}

// NextAnswer returns what the caller of NextAttempt is told.
func NextAnswer(a *scheduler.NextAnswer) *retryv1.NextAttemptResponse {
	out := &retryv1.NextAttemptResponse{
		State:   retryv1.Task_State(a.State),
		Attempt: int32(a.Attempt),
		Due:     a.Due,
	}
	if a.TimeMS != 0 {
		out.Time, out.DueIn = Time(a.TimeMS), Milliseconds(a.DueInMS)
	}
	if rec := a.Last; rec != nil {
		out.LastDecision = Decision(&rec.Decision, rec.Policy, rec.PolicyRevision)
	}
	if a.Leased != nil {
		out.Leased = Attempt(a.Leased)
	}
	return out
}
