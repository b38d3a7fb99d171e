package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/retryd/retryd/policy"
)

// CreatePolicy keeps a new policy. It returns KindInvalid with all violations,
// or KindPolicyExists, for a soft-deleted policy too.
func (s *Scheduler) CreatePolicy(ctx context.Context, namespace string, p policy.Policy) (*PolicyRecord, error) {
	p, err := s.checkPolicy(p)
	if err != nil {
		return nil, err
	}
	nowMS, err := s.store.Now(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the store's clock: %w", err)
	}
	rec := &PolicyRecord{Namespace: namespace, Policy: p, Revision: 1, CreateMS: nowMS, UpdateMS: nowMS}
	ok, err := s.store.PutPolicy(ctx, rec, 0)
	if err != nil {
		return nil, fmt.Errorf("write policy %s: %w", p.ID, err)
	}
	if !ok {
		return nil, &Error{
			Kind:     KindPolicyExists,
			Message:  fmt.Sprintf("there is a policy %q in namespace %q already (a deleted one can be undeleted)", p.ID, namespace),
			Metadata: map[string]string{"policy": p.ID},
		}
	}
	return rec, nil
}

// Policy returns a policy, a soft-deleted one too, or KindPolicyNotFound.
func (s *Scheduler) Policy(ctx context.Context, namespace, id string) (*PolicyRecord, error) {
	rec, err := s.store.Policy(ctx, namespace, id)
	if err != nil {
		return nil, fmt.Errorf("read policy %s: %w", id, err)
	}
	if rec == nil {
		return nil, policyNotFound(namespace, id)
	}
	return rec, nil
}

// Policies returns the policies of a namespace whose display name contains
// filter in any case, by id, without the soft-deleted ones.
func (s *Scheduler) Policies(ctx context.Context, namespace, filter string) ([]*PolicyRecord, error) {
	all, err := s.store.Policies(ctx, namespace)
	if err != nil {
		return nil, fmt.Errorf("list policies: %w", err)
	}
	filter = strings.ToLower(filter)
	var out []*PolicyRecord
	for _, rec := range all {
		if rec.DeleteMS == 0 && strings.Contains(strings.ToLower(rec.Policy.DisplayName), filter) {
			out = append(out, rec)
		}
	}
	return out, nil
}

// UpdatePolicy replaces a policy whole. etag, when given, must be the policy's,
// or KindEtagMismatch is returned.
func (s *Scheduler) UpdatePolicy(ctx context.Context, namespace string, p policy.Policy, etag string) (*PolicyRecord, error) {
	p, err := s.checkPolicy(p)
	if err != nil {
		return nil, err
	}
	return s.changePolicy(ctx, namespace, p.ID, etag, s.store.PutPolicy, func(rec *PolicyRecord, _ int64) error {
		if rec.DeleteMS != 0 {
			return policyDeleted(p.ID)
		}
		rec.Policy = p
		return nil
	})
}

// DeletePolicy hides a policy from lists and new work; tasks under way keep it.
// One that is deleted already is left as it is, so that a repeat without etag
// succeeds. While a job refers to it, KindPolicyInUse is returned.
func (s *Scheduler) DeletePolicy(ctx context.Context, namespace, id, etag string) (*PolicyRecord, error) {
	var unused JobsMark
	put := func(ctx context.Context, rec *PolicyRecord, expect int64) (bool, error) {
		// No job that was written since may refer to a policy that is gone.
		return s.store.PutPolicyUnlessJobs(ctx, rec, expect, unused)
	}
	return s.changePolicy(ctx, namespace, id, etag, put, func(rec *PolicyRecord, nowMS int64) error {
		if rec.DeleteMS != 0 {
			return errUnchanged
		}
		var err error
		if unused, err = s.unusedSince(ctx, namespace, id); err != nil {
			return err
		}
		rec.DeleteMS = nowMS
		return nil
	})
}

// unusedSince returns the mark of a state of the namespace's jobs in which none of
// them refers to a policy, or says which do.
func (s *Scheduler) unusedSince(ctx context.Context, namespace, id string) (JobsMark, error) {
	jobs, mark, err := s.store.Jobs(ctx, namespace)
	if err != nil {
		return 0, fmt.Errorf("list jobs: %w", err)
	}
	var users []string
	for _, rec := range jobs {
		if slices.Contains(rec.Job.Policies(), id) {
			users = append(users, rec.Job.ID)
		}
	}
	if len(users) == 0 {
		return mark, nil
	}
	e := &Error{
		Kind:     KindPolicyInUse,
		Message:  fmt.Sprintf("policy %q is in use by job %s; change or delete what refers to it first", id, listed(users)),
		Metadata: map[string]string{"policy": id},
	}
	e.name("jobs", users)
	return 0, e
}

// UndeletePolicy takes a deletion back. A policy that is not deleted is left as
// it is, so that a repeat succeeds.
func (s *Scheduler) UndeletePolicy(ctx context.Context, namespace, id string) (*PolicyRecord, error) {
	return s.changePolicy(ctx, namespace, id, "", s.store.PutPolicy, func(rec *PolicyRecord, _ int64) error {
		if rec.DeleteMS == 0 {
			return errUnchanged
		}
		rec.DeleteMS = 0
		return nil
	})
}

// errUnchanged is what a change returns that leaves the policy as it is.
var errUnchanged = errors.New("nothing to change")

// putPolicy is the store's way to write a policy; see [PolicyStore].
type putPolicy func(ctx context.Context, rec *PolicyRecord, expect int64) (bool, error)

// changePolicy writes what change makes of a policy, on its newest revision.
func (s *Scheduler) changePolicy(ctx context.Context, namespace, id, etag string, put putPolicy, change func(rec *PolicyRecord, nowMS int64) error) (*PolicyRecord, error) {
	for {
		now, err := s.Policy(ctx, namespace, id)
		if err != nil {
			return nil, err
		}
		if etag != "" && etag != now.Etag() {
			return nil, etagMismatch("policy", id)
		}
		nowMS, err := s.store.Now(ctx)
		if err != nil {
			return nil, fmt.Errorf("read the store's clock: %w", err)
		}
		next := *now
		write := put
		switch err := change(&next, nowMS); {
		case errors.Is(err, errUnchanged):
			// It may have been written by a call that was told that it is not confirmed.
			// Written once more, as it is, it is confirmed with this one.
			next, write = *now, s.store.PutPolicy
		case err != nil:
			return nil, err
		default:
			next.Revision++
			next.UpdateMS = nowMS
		}
		ok, err := write(ctx, &next, now.Revision)
		if err != nil {
			return nil, fmt.Errorf("write policy %s: %w", id, err)
		}
		if ok {
			return &next, nil
		}
	}
}

// Etag stands for the record as it is: it changes with every write.
func (r *PolicyRecord) Etag() string { return etag(r.Revision, r.UpdateMS) }

func etag(revision, updateMS int64) string {
	return fmt.Sprintf("%x-%x", revision, mix(uint64(updateMS)))
}

// checkPolicy returns p with its defaults made explicit, or what is wrong with
// it.
func (s *Scheduler) checkPolicy(p policy.Policy) (policy.Policy, error) {
	p = p.Normalize()
	violations := p.Validate(s.clock.nowMS())
	if len(violations) == 0 {
		return p, nil
	}
	for i := range violations {
		violations[i].Field = "policy." + violations[i].Field
	}
	return p, &Error{Kind: KindInvalid, Message: fmt.Sprintf("policy %q is invalid", p.ID), Violations: violations}
}
