package scheduler

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/retryd/retryd/policy"
)

// MaxEnvironments is how many environments a job may list.
const MaxEnvironments = 1000

// Validate gives everything that is wrong with the job at once, nil when it is
// valid. Whether the policies that it refers to exist is not looked at.
func (j *Job) Validate() []policy.Violation {
	out := policy.ValidateNames(j.ID, j.DisplayName)
	reference := func(field, id string) {
		if id != "" && !policy.ValidID(id) {
			out = append(out, violation(field, "is %s; allowed: the id of a policy, or none", policy.Quote(id)))
		}
	}
	reference("policy", j.Policy)
	if n := len(j.Environments); n > MaxEnvironments {
		out = append(out, violation("environments", "has %d entries; allowed: at most %d", n, MaxEnvironments))
	}
	for _, name := range slices.Sorted(maps.Keys(j.Environments)) {
		field := "environments[" + policy.Quote(name) + "]"
		if !policy.ValidName(name) {
			out = append(out, violation(field, "is no name of an environment; allowed: %s", policy.NameRule))
		}
		reference(field+".policy", j.Environments[name])
	}
	return out
}

// CreateJob keeps a new job. It returns KindInvalid with all violations,
// KindPolicyNotFound or KindPolicyDeleted for policies that it may not refer to,
// or KindJobExists.
func (s *Scheduler) CreateJob(ctx context.Context, namespace string, job Job) (*JobRecord, error) {
	if err := checkJob(&job); err != nil {
		return nil, err
	}
	for {
		now, err := s.store.Job(ctx, namespace, job.ID)
		if err != nil {
			return nil, fmt.Errorf("read job %s: %w", job.ID, err)
		}
		if now != nil {
			return nil, &Error{
				Kind:     KindJobExists,
				Message:  fmt.Sprintf("there is a job %q in namespace %q already", job.ID, namespace),
				Metadata: map[string]string{"job": job.ID},
			}
		}
		rec, err := s.putJob(ctx, &JobRecord{Namespace: namespace, Job: job})
		if rec != nil || err != nil {
			return rec, err
		}
	}
}

// Job returns a job, or KindJobNotFound.
func (s *Scheduler) Job(ctx context.Context, namespace, id string) (*JobRecord, error) {
	rec, err := s.store.Job(ctx, namespace, id)
	if err != nil {
		return nil, fmt.Errorf("read job %s: %w", id, err)
	}
	if rec == nil {
		return nil, jobNotFound(namespace, id)
	}
	return rec, nil
}

// Jobs returns the jobs of a namespace whose display name contains filter in any
// case, by id.
func (s *Scheduler) Jobs(ctx context.Context, namespace, filter string) ([]*JobRecord, error) {
	all, _, err := s.store.Jobs(ctx, namespace)
	if err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	filter = strings.ToLower(filter)
	var out []*JobRecord
	for _, rec := range all {
		if strings.Contains(strings.ToLower(rec.Job.DisplayName), filter) {
			out = append(out, rec)
		}
	}
	return out, nil
}

// UpdateJob replaces a job whole. etag, when given, must be the job's, or
// KindEtagMismatch is returned; the other errors are those of CreateJob, with
// KindJobNotFound instead of KindJobExists.
func (s *Scheduler) UpdateJob(ctx context.Context, namespace string, job Job, etag string) (*JobRecord, error) {
	if err := checkJob(&job); err != nil {
		return nil, err
	}
	for {
		now, err := s.Job(ctx, namespace, job.ID)
		if err != nil {
			return nil, err
		}
		if etag != "" && etag != now.Etag() {
			return nil, etagMismatch("job", job.ID)
		}
		next := *now
		next.Job = job
		rec, err := s.putJob(ctx, &next)
		if rec != nil || err != nil {
			return rec, err
		}
	}
}

// DeleteJob removes a job for good, and returns it as it was. Tasks that have been
// reported with it keep their policies.
func (s *Scheduler) DeleteJob(ctx context.Context, namespace, id string) (*JobRecord, error) {
	for {
		now, err := s.Job(ctx, namespace, id)
		if err != nil {
			return nil, err
		}
		ok, err := s.store.DeleteJob(ctx, namespace, id, now.Revision)
		if err != nil {
			return nil, fmt.Errorf("delete job %s: %w", id, err)
		}
		if ok {
			return now, nil
		}
	}
}

// Etag stands for the record as it is: it changes with every write.
func (r *JobRecord) Etag() string { return etag(r.Revision, r.UpdateMS) }

// putJob writes the revision after the one that rec shows, if the job is still at
// that and none of its policies changes meanwhile; nil when one of them has.
func (s *Scheduler) putJob(ctx context.Context, rec *JobRecord) (*JobRecord, error) {
	policies, err := s.policiesOfJob(ctx, rec)
	if err != nil {
		return nil, err
	}
	nowMS, err := s.store.Now(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the store's clock: %w", err)
	}
	expect := rec.Revision
	rec.Revision, rec.UpdateMS = expect+1, nowMS
	if expect == 0 {
		rec.CreateMS = nowMS
	}
	ok, err := s.store.PutJob(ctx, rec, expect, policies)
	if err != nil {
		return nil, fmt.Errorf("write job %s: %w", rec.Job.ID, err)
	}
	if !ok {
		return nil, nil
	}
	return rec, nil
}

// policiesOfJob returns the policies that a job refers to, or says which of them it
// may not.
func (s *Scheduler) policiesOfJob(ctx context.Context, rec *JobRecord) ([]*PolicyRecord, error) {
	var found []*PolicyRecord
	var unknown, deleted []string
	for _, id := range rec.Job.Policies() {
		pol, err := s.store.Policy(ctx, rec.Namespace, id)
		switch {
		case err != nil:
			return nil, fmt.Errorf("read policy %s: %w", id, err)
		case pol == nil:
			unknown = append(unknown, id)
		case pol.DeleteMS != 0:
			deleted = append(deleted, id)
		default:
			found = append(found, pol)
		}
	}
	switch {
	case len(unknown) > 0:
		return nil, policyNotFound(rec.Namespace, unknown...)
	case len(deleted) > 0:
		return nil, policyDeleted(deleted...)
	}
	return found, nil
}

// checkJob makes the job its callee's own, and says what is wrong with it.
func checkJob(j *Job) error {
	j.Environments = maps.Clone(j.Environments)
	violations := j.Validate()
	if len(violations) == 0 {
		return nil
	}
	for i := range violations {
		violations[i].Field = "job." + violations[i].Field
	}
	return &Error{Kind: KindInvalid, Message: fmt.Sprintf("job %s is invalid", policy.Quote(j.ID)), Violations: violations}
}

func jobNotFound(namespace, id string) *Error {
	return &Error{
		Kind:     KindJobNotFound,
		Message:  fmt.Sprintf("there is no job %q in namespace %q", id, namespace),
		Metadata: map[string]string{"job": id},
	}
}
