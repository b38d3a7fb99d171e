package wire

import (
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
)

// Decision returns a decision with its explanation rendered, and the policy that
// made it.
func Decision(d *policy.Decision, policyID string, revision int64) *retryv1.Decision {
	out := &retryv1.Decision{
		Action:         retryv1.Action(d.Action),
		Reason:         retryv1.Reason(d.Reason),
		Attempt:        int32(d.Attempt),
		Policy:         policyID,
		PolicyRevision: revision,
		Rule:           d.Rule,
		HoldCondition:  d.HoldCondition,
		Explanation:    policy.Explain(d.Steps),
	}
	if d.Action == policy.ActionRetry {
		out.NextAttempt = int32(d.NextAttempt)
		out.NextAttemptTime = Time(d.NextMS)
		out.Delay = Milliseconds(d.DelayMS)
		out.RetriesLeft = int32(d.RetriesLeft)
	}
	return out
}

// FailureAnswer returns what the caller of a failure is told.
func FailureAnswer(a *scheduler.Answer) *retryv1.ReportFailureResponse {
	return &retryv1.ReportFailureResponse{
		Decision:  Decision(&a.Record.Decision, a.Record.Policy, a.Record.PolicyRevision),
		Duplicate: a.Duplicate,
		TaskId:    a.TaskID,
	}
}

// SuccessAnswer returns what the caller of a success is told.
func SuccessAnswer(a *scheduler.Answer) *retryv1.ReportSuccessResponse {
	return &retryv1.ReportSuccessResponse{
		Attempts:  int32(a.Attempts),
		Duplicate: a.Duplicate,
		TaskId:    a.TaskID,
	}
}

// Previewed returns one decision of a preview.
func Previewed(p *scheduler.Previewed) *retryv1.PreviewedDecision {
	out := &retryv1.PreviewedDecision{
		Decision:    Decision(&p.Decision, p.Policy, p.PolicyRevision),
		FailureTime: Time(p.FailureMS),
	}
	if p.Decision.Action == policy.ActionRetry {
		out.EarliestTime, out.LatestTime = Time(p.EarliestMS), Time(p.LatestMS)
	}
	return out
}
