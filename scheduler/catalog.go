package scheduler

import (
	"context"
	"fmt"

	"github.com/retryd/retryd/policy"
)

// ruling is a policy ready to decide with.
type ruling struct {
	// compiled is nil where there is no policy.
	compiled              *policy.Compiled
	revision              int64
	deleted               bool
	maxLeaseExpiries      int
	retentionMS           int64
	deadLetterRetentionMS int64
}

// ruling returns the policy as it now is, nil when there is none of that id.
func (s *Scheduler) ruling(ctx context.Context, namespace, id string) (*ruling, error) {
	rec, err := s.store.RecentPolicy(ctx, namespace, id)
	if err != nil {
		return nil, fmt.Errorf("read policy %s: %w", id, err)
	}
	if rec == nil {
		return nil, nil
	}
	return s.compiled.get(rec), nil
}

// policyOfNew returns the policy that judges a task's first failure: one that is
// not deleted and that leaves the task some time to run.
func (s *Scheduler) policyOfNew(ctx context.Context, t *Task, nowMS int64) (*ruling, error) {
	if t.Spec.Policy == "" {
		if t.Spec.Job != "" {
			return nil, &Error{
				Kind:     KindJobNotFound,
				Message:  fmt.Sprintf("there is no job %q in namespace %q", t.Spec.Job, t.Key.Namespace),
				Metadata: map[string]string{"job": t.Spec.Job},
			}
		}
		return nil, Invalid(violation("task.policy", "is missing: the first report of a task names its policy or its job"))
	}
	pol, err := s.ruling(ctx, t.Key.Namespace, t.Spec.Policy)
	switch {
	case err != nil:
		return nil, err
	case pol == nil:
		return nil, policyNotFound(t.Key.Namespace, t.Spec.Policy)
	case pol.deleted:
		return nil, policyDeleted(t.Spec.Policy)
	case t.Spec.TimeZone != "" && !pol.compiled.FreeWithinYear(t.Spec.TimeZone, nowMS):
		return nil, Invalid(violation("task.time_zone", "%q leaves no moment outside the pause windows of policy %q for 366 days", t.Spec.TimeZone, t.Spec.Policy))
	}
	return pol, nil
}

// newNoPolicy is the ruling on tasks without a policy: the defaults.
func newNoPolicy() *ruling {
	p := policy.Policy{}.Normalize()
	return &ruling{
		maxLeaseExpiries:      p.MaxLeaseExpiries,
		retentionMS:           p.Retention.Milliseconds(),
		deadLetterRetentionMS: p.DeadLetterRetention.Milliseconds(),
	}
}

// policyUnderWay returns the policy of a known task, or the defaults.
func (s *Scheduler) policyUnderWay(ctx context.Context, t *Task) (*ruling, error) {
	if t.Spec.Policy == "" {
		return s.noPolicy, nil
	}
	pol, err := s.ruling(ctx, t.Key.Namespace, t.Spec.Policy)
	if err != nil {
		return nil, err
	}
	if pol == nil {
		return s.noPolicy, nil
	}
	return pol, nil
}

func policyNotFound(namespace, id string) *Error {
	return &Error{
		Kind:     KindPolicyNotFound,
		Message:  fmt.Sprintf("there is no policy %q in namespace %q", id, namespace),
		Metadata: map[string]string{"policy": id},
	}
}

func policyDeleted(id string) *Error {
	return &Error{
		Kind:     KindPolicyDeleted,
		Message:  fmt.Sprintf("policy %q is deleted; undelete it to use it for new tasks or to change it", id),
		Metadata: map[string]string{"policy": id},
	}
}
