package redisstore

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
)

// storedPolicy is a policy as it is kept: its revision, a blank, and this as
// JSON. The names in it are stored, and so are those of [policy.Policy]; the
// golden file holds them.
type storedPolicy struct {
	Format   int           `json:"format"`
	CreateMS int64         `json:"create_ms"`
	UpdateMS int64         `json:"update_ms"`
	DeleteMS int64         `json:"delete_ms,omitempty"`
	Policy   policy.Policy `json:"policy"`
}

const policyFormat = 1

func encodePolicy(rec *scheduler.PolicyRecord) (string, error) {
	return encodeResource("policy", rec.Policy.ID, rec.Revision, storedPolicy{policyFormat, rec.CreateMS, rec.UpdateMS, rec.DeleteMS, rec.Policy})
}

func decodePolicy(namespace, kept string) (*scheduler.PolicyRecord, error) {
	var p storedPolicy
	revision, err := decodeResource("policy", kept, &p)
	if err != nil {
		return nil, err
	}
	if p.Format != policyFormat {
		return nil, otherFormat("policy", p.Policy.ID, p.Format, policyFormat)
	}
	return &scheduler.PolicyRecord{
		Namespace: namespace, Policy: p.Policy, Revision: revision, CreateMS: p.CreateMS, UpdateMS: p.UpdateMS, DeleteMS: p.DeleteMS,
	}, nil
}

// Policy returns a policy as it is now, nil when there is none.
func (s *Store) Policy(ctx context.Context, namespace, id string) (*scheduler.PolicyRecord, error) {
	kept, err := s.client.HGet(ctx, s.keys.policies(namespace), id).Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, s.failure("read policy", err)
	}
	return decodePolicy(namespace, kept)
}

// RecentPolicy returns a policy as it was at some moment of the last second, nil
// when there is none.
func (s *Store) RecentPolicy(ctx context.Context, namespace, id string) (*scheduler.PolicyRecord, error) {
	return s.recentPolicies.read(ctx, namespace, id, s.Policy)
}

// PutPolicy writes a policy if it is still at the revision expected.
func (s *Store) PutPolicy(ctx context.Context, rec *scheduler.PolicyRecord, expect int64) (bool, error) {
	return s.writePolicy(ctx, rec, expect, "")
}

// PutPolicyUnlessJobs writes a policy if it is still at the revision expected and
// no job has been written since mark.
func (s *Store) PutPolicyUnlessJobs(ctx context.Context, rec *scheduler.PolicyRecord, expect int64, mark scheduler.JobsMark) (bool, error) {
	return s.writePolicy(ctx, rec, expect, strconv.FormatInt(int64(mark), 10))
}

func (s *Store) writePolicy(ctx context.Context, rec *scheduler.PolicyRecord, expect int64, mark string) (bool, error) {
	kept, err := encodePolicy(rec)
	if err != nil {
		return false, err
	}
	c := s.putCall(rec.Namespace, intoPolicies, rec.Policy.ID, expect, kept, mark)
	s.run(ctx, c)
	// Whatever came of it, this replica reads what is there before it judges by it.
	s.recentPolicies.changed(rec.Namespace, rec.Policy.ID)
	return c.yes(), c.err
}

// Into which of its keys lua/put.lua writes.
const (
	intoPolicies = "1"
	intoJobs     = "2"
)

// putCall writes what is kept of a policy or a job, empty for nothing, if it is at
// the revision expected and the jobs have the mark, unless that is empty.
func (s *Store) putCall(namespace, into, id string, expect int64, kept, mark string) *call {
	return &call{
		script: s.scripts.put,
		keys:   []string{s.keys.policies(namespace), s.keys.jobs(namespace)},
		args:   []any{into, id, strconv.FormatInt(expect, 10), kept, mark},
	}
}

// Policies returns a namespace's policies by id.
func (s *Store) Policies(ctx context.Context, namespace string) ([]*scheduler.PolicyRecord, error) {
	kept, err := s.client.HGetAll(ctx, s.keys.policies(namespace)).Result()
	if err != nil {
		return nil, s.failure("list policies", err)
	}
	out := make([]*scheduler.PolicyRecord, 0, len(kept))
	for _, text := range kept {
		rec, err := decodePolicy(namespace, text)
		if err != nil {
			return nil, err
		}
		out = append(out, rec)
	}
	slices.SortFunc(out, func(a, b *scheduler.PolicyRecord) int { return strings.Compare(a.Policy.ID, b.Policy.ID) })
	return out, nil
}
