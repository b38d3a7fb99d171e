package scheduler

import (
	"context"
	"errors"
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
// not deleted and that leaves the task some time to run, or the defaults for a
// task of a job that names none. What a job names is not deleted: if it is so
// here, the job has changed within the last second, and the task is one of before.
func (s *Scheduler) policyOfNew(ctx context.Context, t *Task, nowMS int64) (*ruling, error) {
	if t.Spec.Policy == "" {
		if t.Spec.Job != "" {
			return s.noPolicy, nil
		}
		return nil, Invalid(violation("task.policy", "is missing: the first report of a task names its policy or its job"))
	}
	pol, err := s.ruling(ctx, t.Key.Namespace, t.Spec.Policy)
	switch {
	case err != nil:
		return nil, err
	case pol == nil:
		return nil, policyNotFound(t.Key.Namespace, t.Spec.Policy)
	case pol.deleted && t.Spec.Job == "":
		return nil, policyDeleted(t.Spec.Policy)
	case t.Spec.TimeZone != "" && !pol.compiled.FreeWithinYear(t.Spec.TimeZone, nowMS):
		return nil, Invalid(violation("task.time_zone", "%q leaves no moment outside the pause windows of policy %q for 366 days", t.Spec.TimeZone, t.Spec.Policy))
	}
	return pol, nil
}

// policyOfJob returns the id of the policy that a job has for an environment,
// empty where it has none, or KindJobNotFound.
func (s *Scheduler) policyOfJob(ctx context.Context, namespace, job, environment string) (string, error) {
	rec, err := s.store.RecentJob(ctx, namespace, job)
	if err != nil {
		return "", fmt.Errorf("read job %s: %w", job, err)
	}
	if rec == nil {
		return "", jobNotFound(namespace, job)
	}
	return rec.Job.PolicyFor(environment), nil
}

// resolveAgain gives a known task of a job that had no policy for it the one that
// it has now, if it has one. A job that is gone has none.
func (s *Scheduler) resolveAgain(ctx context.Context, t *Task) error {
	if t.Spec.Policy != "" || t.Spec.Job == "" {
		return nil
	}
	id, err := s.policyOfJob(ctx, t.Key.Namespace, t.Spec.Job, t.Spec.Environment)
	var e *Error
	if errors.As(err, &e) && e.Kind == KindJobNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	t.Spec.Policy = id
	return nil
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

// policyNotFound is the error of one or more ids for which there is no policy.
func policyNotFound(namespace string, ids ...string) *Error {
	e := &Error{
		Kind:     KindPolicyNotFound,
		Message:  fmt.Sprintf("there is no policy %s in namespace %q", listed(ids), namespace),
		Metadata: make(map[string]string),
	}
	e.name("policy", ids)
	return e
}

// policyDeleted is the error of one or more policies that are soft-deleted.
func policyDeleted(ids ...string) *Error {
	e := &Error{
		Kind:     KindPolicyDeleted,
		Message:  fmt.Sprintf("policy %s is deleted; undelete it to use it for new tasks or jobs or to change it", listed(ids)),
		Metadata: make(map[string]string),
	}
	e.name("policy", ids)
	return e
}
