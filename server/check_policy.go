package server

import (
	"cmp"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server/wire"
)

const (
	previewedTask    = "preview"
	maxPreviewedList = scheduler.MaxPreviewed
)

// policy reads a policy that is required and names all that is wrong with it,
// together with what the checker has found before.
func (c *checker) policy(p *retryv1.Policy, nowMS int64) policy.Policy {
	if p == nil {
		c.add("policy", "is missing")
		return policy.Policy{}
	}
	defer c.within("policy.")()
	out, violations := wire.CheckPolicy(p, nowMS)
	c.merge(nil, violations)
	return out
}

// preview checks a request for a preview and returns it in the domain's terms.
func (c *checker) preview(r *retryv1.PreviewPolicyRequest, nowMS int64) scheduler.PreviewRequest {
	out := scheduler.PreviewRequest{
		Namespace: c.namespace(r.GetNamespace()),
		TaskID:    r.GetTaskId(),
		TimeZone:  r.GetTimeZone(),
	}
	// windows are those of a policy given by value, which is good.
	var windows *policy.Compiled
	switch s := r.GetSource().(type) {
	case *retryv1.PreviewPolicyRequest_PolicyId:
		out.PolicyID = s.PolicyId
		c.id("policy_id", s.PolicyId)
	case *retryv1.PreviewPolicyRequest_Policy:
		if c.sound(func() { out.Policy = c.policy(s.Policy, nowMS) }) {
			windows = policy.Compile(out.Policy.Normalize())
		}
	default:
		c.add("source", "is missing; one of policy_id and policy must be set")
	}
	out.Failures = c.failures(r.GetFailures(), maxPreviewedList)
	startSound := c.sound(func() { c.time("start_time", r.GetStartTime()) })
	out.StartMS = wire.MS(r.GetStartTime())
	c.taskID("task_id", r.GetTaskId())
	if out.TaskID == "" {
		out.TaskID = previewedTask
	}
	c.time("deadline", r.GetDeadline())
	out.DeadlineMS = wire.MS(r.GetDeadline())
	zoneSound := c.sound(func() { c.timeZone("time_zone", r.GetTimeZone()) })
	if windows != nil && startSound && zoneSound && r.GetTimeZone() != "" && !windows.FreeWithinYear(r.GetTimeZone(), cmp.Or(out.StartMS, nowMS)) {
		c.add("time_zone", "is %s, in which no moment is outside the policy's pause windows for 366 days", policy.Quote(r.GetTimeZone()))
	}
	return out
}
