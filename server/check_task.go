package server

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server/wire"
)

// taskName is a request that names one task.
type taskName interface {
	GetNamespace() string
	GetTaskId() string
}

// taskKey checks a request that names one task.
func (c *checker) taskKey(r taskName) scheduler.TaskKey {
	key := scheduler.TaskKey{Namespace: c.namespace(r.GetNamespace()), ID: r.GetTaskId()}
	if key.ID == "" {
		c.add("task_id", "is missing; allowed: 1 to %d bytes", maxTaskIDBytes)
	}
	c.taskID("task_id", key.ID)
	return key
}

// moment checks when something is to be, which is required.
func (c *checker) moment(field string, t *timestamppb.Timestamp) int64 {
	if t == nil {
		c.add(field, "is missing; allowed: a time after 1970-01-01T00:00:00Z")
	}
	c.time(field, t)
	return wire.MS(t)
}

// taskSelector is a request that says which tasks are meant.
type taskSelector interface {
	GetNamespace() string
	GetQueue() string
	GetGroup() string
	GetPolicy() string
	GetJob() string
	GetEnvironment() string
}

// tasks checks which tasks a request of that kind means, in the order of its
// fields. Of those by state it asks the fields that it has.
func (c *checker) tasks(kind string, r taskSelector) (scheduler.TaskFilter, listing) {
	namespace := c.namespace(r.GetNamespace())
	var f scheduler.TaskFilter
	if r, ok := r.(interface{ GetState() retryv1.Task_State }); ok {
		f.State = c.state(r.GetState())
	}
	f.Queue = r.GetQueue()
	c.optionalName("queue", f.Queue)
	if r, ok := r.(interface{ GetCondition() string }); ok {
		f.Condition = r.GetCondition()
		c.optionalName("condition", f.Condition)
	}
	if r, ok := r.(interface{ GetFingerprint() string }); ok {
		f.Fingerprint = c.fingerprint(r.GetFingerprint())
	}
	f.Group, f.Policy, f.Job, f.Environment = r.GetGroup(), r.GetPolicy(), r.GetJob(), r.GetEnvironment()
	c.optionalName("group", f.Group)
	c.optionalID("policy", f.Policy)
	c.optionalID("job", f.Job)
	c.optionalName("environment", f.Environment)
	if r, ok := r.(interface{ GetDeadReason() retryv1.Reason }); ok {
		f.DeadReason = c.deadReason(r.GetDeadReason())
	}
	return f, listing{kind: kind, namespace: namespace, filter: []string{
		f.State.String(), f.Queue, f.Condition, f.Fingerprint.String(), f.Group, f.Policy, f.Job, f.Environment, f.DeadReason.String(),
	}}
}

func (c *checker) state(s retryv1.Task_State) scheduler.State {
	if s < retryv1.Task_STATE_UNSPECIFIED || s > retryv1.Task_STATE_DEAD {
		c.add("state", "is %s; allowed: SCHEDULED, LEASED, HELD, DEAD, or none: tasks that have ended are in no list", strings.TrimPrefix(s.String(), "STATE_"))
		return scheduler.StateUnknown
	}
	return scheduler.State(s)
}

// fingerprint reads a fingerprint. Of one that cannot be read follows what follows
// of any, so it stands for one.
func (c *checker) fingerprint(s string) scheduler.Fingerprint {
	if s == "" {
		return 0
	}
	f, ok := scheduler.ParseFingerprint(s)
	if !ok || f == 0 {
		c.add("fingerprint", "is %s; allowed: 16 hexadecimal digits in lower case, as Task.fingerprint has them", policy.Quote(s))
		return 1
	}
	return f
}

// deadReason reads a reason, as fingerprint does a fingerprint.
func (c *checker) deadReason(r retryv1.Reason) policy.Reason {
	if r == retryv1.Reason_REASON_UNSPECIFIED {
		return policy.ReasonUnspecified
	}
	if r < retryv1.Reason_REASON_NON_RETRYABLE || r > retryv1.Reason_REASON_LEASES_EXPIRED {
		c.add("dead_reason", "is %s; allowed: NON_RETRYABLE, RETRIES_EXHAUSTED, RULE_RETRIES_EXHAUSTED, MAX_ELAPSED, DEADLINE, NO_MORE_DATES, NO_POLICY, LEASES_EXPIRED, or none",
			strings.TrimPrefix(r.String(), "REASON_"))
		return policy.ReasonNonRetryable
	}
	return policy.Reason(r)
}

// mover is a request to do something to many tasks. Those by which something falls
// due have a rate.
type mover interface {
	taskSelector
	GetValidateOnly() bool
	GetPageToken() string
}

// bulk checks a request to do something to many tasks, with what validate finds.
func (c *checker) bulk(kind string, r mover, validate func(*scheduler.Bulk) []policy.Violation) (scheduler.Bulk, listing) {
	f, list := c.tasks(kind, r)
	// A token of what was only counted would skip that much of what is to be moved.
	list.filter = append(list.filter, fmt.Sprint(r.GetValidateOnly()))
	var rate float64
	if r, ok := r.(interface{ GetRate() float64 }); ok {
		rate = r.GetRate()
	}
	at := c.position(list, r.GetPageToken())
	b := scheduler.Bulk{
		Namespace:    list.namespace,
		Filter:       f,
		After:        at.cursor,
		Rate:         rate,
		StartMS:      at.startMS,
		UntilMS:      at.untilMS,
		ValidateOnly: r.GetValidateOnly(),
	}
	c.also(validate(&b))
	return b, list
}
