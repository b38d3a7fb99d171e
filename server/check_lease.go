package server

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
)

// nextAttempt checks a question for an attempt and returns it in the domain's
// terms.
func (c *checker) nextAttempt(r *retryv1.NextAttemptRequest) scheduler.NextRequest {
	out := scheduler.NextRequest{Namespace: c.namespace(r.GetNamespace()), Worker: r.GetWorkerId()}
	switch t := r.GetTarget().(type) {
	case *retryv1.NextAttemptRequest_TaskId:
		out.TaskID = t.TaskId
		if t.TaskId == "" {
			c.add("task_id", "is empty; allowed: 1 to %d bytes", maxTaskIDBytes)
		}
		c.taskID("task_id", t.TaskId)
	case *retryv1.NextAttemptRequest_Queue:
		out.Queue = t.Queue
		c.name("queue", t.Queue)
	default:
		c.add("target", "is missing; one of task_id and queue must be set")
	}
	out.Wait = c.duration("wait", r.GetWait(), 0, maxWait)
	out.Lease = c.lease("lease_duration", r.GetLeaseDuration())
	if out.Lease == 0 && out.Queue != "" {
		out.Lease = defaultLease
	}
	c.worker(r.GetWorkerId())
	return out
}

// release checks what is common to ReleaseLease and a stream's Release.
func (c *checker) release(delay *durationpb.Duration) time.Duration {
	return c.duration("delay", delay, 0, policy.MaxDuration)
}
