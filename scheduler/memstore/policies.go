package memstore

import (
	"cmp"
	"context"
	"slices"

	"github.com/retryd/retryd/scheduler"
)

// Policy returns a policy, nil when there is none.
func (s *Store) Policy(_ context.Context, namespace, id string) (*scheduler.PolicyRecord, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.policies[namespace][id], nil
}

// RecentPolicy returns a policy, nil when there is none.
func (s *Store) RecentPolicy(ctx context.Context, namespace, id string) (*scheduler.PolicyRecord, error) {
	return s.Policy(ctx, namespace, id)
}

// PutPolicy writes a policy if it is still at the revision expected.
func (s *Store) PutPolicy(_ context.Context, rec *scheduler.PolicyRecord, expect int64) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.putPolicy(rec, expect), nil
}

// PutPolicyUnlessJobs writes a policy if no job has been written since mark.
func (s *Store) PutPolicyUnlessJobs(_ context.Context, rec *scheduler.PolicyRecord, expect int64, mark scheduler.JobsMark) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.jobsMarks[rec.Namespace] != mark {
		return false, nil
	}
	return s.putPolicy(rec, expect), nil
}

func (s *Store) putPolicy(rec *scheduler.PolicyRecord, expect int64) bool {
	var revision int64
	if now := s.policies[rec.Namespace][rec.Policy.ID]; now != nil {
		revision = now.Revision
	}
	if revision != expect {
		return false
	}
	if s.policies[rec.Namespace] == nil {
		s.policies[rec.Namespace] = make(map[string]*scheduler.PolicyRecord)
	}
	kept := *rec
	s.policies[rec.Namespace][rec.Policy.ID] = &kept
	return true
}

// Policies returns a namespace's policies by id.
func (s *Store) Policies(_ context.Context, namespace string) ([]*scheduler.PolicyRecord, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*scheduler.PolicyRecord, 0, len(s.policies[namespace]))
	for _, rec := range s.policies[namespace] {
		out = append(out, rec)
	}
	slices.SortFunc(out, func(a, b *scheduler.PolicyRecord) int { return cmp.Compare(a.Policy.ID, b.Policy.ID) })
	return out, nil
}
