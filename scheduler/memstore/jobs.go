package memstore

import (
	"cmp"
	"context"
	"slices"

	"github.com/retryd/retryd/scheduler"
)

// Job returns a job, nil when there is none.
func (s *Store) Job(_ context.Context, namespace, id string) (*scheduler.JobRecord, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.jobs[namespace][id], nil
}

// RecentJob returns a job, nil when there is none.
func (s *Store) RecentJob(ctx context.Context, namespace, id string) (*scheduler.JobRecord, error) {
	return s.Job(ctx, namespace, id)
}

// PutJob writes a job if it and the policies are still at the revisions expected.
func (s *Store) PutJob(_ context.Context, rec *scheduler.JobRecord, expect int64, policies []*scheduler.PolicyRecord) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.jobRevision(rec.Namespace, rec.Job.ID) != expect {
		return false, nil
	}
	for _, p := range policies {
		if now := s.policies[p.Namespace][p.Policy.ID]; now == nil || now.Revision != p.Revision {
			return false, nil
		}
	}
	if s.jobs[rec.Namespace] == nil {
		s.jobs[rec.Namespace] = make(map[string]*scheduler.JobRecord)
	}
	kept := *rec
	s.jobs[rec.Namespace][rec.Job.ID] = &kept
	s.jobsMarks[rec.Namespace]++
	return true, nil
}

// DeleteJob removes a job if it is still at the revision expected.
func (s *Store) DeleteJob(_ context.Context, namespace, id string, expect int64) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.jobs[namespace][id] == nil || s.jobRevision(namespace, id) != expect {
		return false, nil
	}
	delete(s.jobs[namespace], id)
	s.jobsMarks[namespace]++
	return true, nil
}

// Jobs returns a namespace's jobs by id.
func (s *Store) Jobs(_ context.Context, namespace string) ([]*scheduler.JobRecord, scheduler.JobsMark, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*scheduler.JobRecord, 0, len(s.jobs[namespace]))
	for _, rec := range s.jobs[namespace] {
		out = append(out, rec)
	}
	slices.SortFunc(out, func(a, b *scheduler.JobRecord) int { return cmp.Compare(a.Job.ID, b.Job.ID) })
	return out, s.jobsMarks[namespace], nil
}

func (s *Store) jobRevision(namespace, id string) int64 {
	if rec := s.jobs[namespace][id]; rec != nil {
		return rec.Revision
	}
	return 0
}
