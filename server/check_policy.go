package server

import (
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server/wire"
)

const (
	defaultPageSize  = 50
	maxPageSize      = 1000
	maxFilterBytes   = 1000
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
	out, unreadable := wire.PolicyFromProto(p)
	named := make(map[string]bool, len(unreadable))
	for _, v := range unreadable {
		named[v.Field] = true
		c.add(v.Field, "%s", v.Description)
	}
	for _, v := range out.Normalize().Validate(nowMS) {
		// What could not be read is wrong in one way, not in two.
		if !named[v.Field] {
			c.add(v.Field, "%s", v.Description)
		}
	}
	return out
}

// preview checks a request for a preview and returns it in the domain's terms.
func (c *checker) preview(r *retryv1.PreviewPolicyRequest, nowMS int64) scheduler.PreviewRequest {
	out := scheduler.PreviewRequest{
		Namespace: c.namespace(r.GetNamespace()),
		TaskID:    r.GetTaskId(),
		TimeZone:  r.GetTimeZone(),
	}
	switch s := r.GetSource().(type) {
	case *retryv1.PreviewPolicyRequest_PolicyId:
		out.PolicyID = s.PolicyId
		c.id("policy_id", s.PolicyId)
	case *retryv1.PreviewPolicyRequest_Policy:
		out.Policy = c.policy(s.Policy, nowMS)
	default:
		c.add("source", "is missing; one of policy_id and policy must be set")
	}
	out.Failures = c.failures(r.GetFailures(), maxPreviewedList)
	c.time("start_time", r.GetStartTime())
	out.StartMS = wire.MS(r.GetStartTime())
	c.taskID("task_id", r.GetTaskId())
	if out.TaskID == "" {
		out.TaskID = previewedTask
	}
	c.time("deadline", r.GetDeadline())
	out.DeadlineMS = wire.MS(r.GetDeadline())
	c.timeZone("time_zone", r.GetTimeZone())
	return out
}
