package scheduler

import (
	"context"
	"maps"
	"slices"

	"github.com/retryd/retryd/policy"
)

// PolicyRecord is a policy as it is kept.
type PolicyRecord struct {
	Namespace string
	// Policy is normalized.
	Policy policy.Policy
	// Revision starts at 1 and rises by one with every write.
	Revision           int64
	CreateMS, UpdateMS int64
	// DeleteMS is when the policy was soft-deleted, 0 while it is not.
	DeleteMS int64
}

// PolicyStore keeps policies. They are few, and read far more than written.
type PolicyStore interface {
	// Policy returns a policy, soft-deleted ones too, or nil.
	Policy(ctx context.Context, namespace, id string) (*PolicyRecord, error)

	// RecentPolicy is Policy for judging reports, which takes no round trip in the
	// usual case: what it returns was so at some moment of the last second, or, while
	// the node that keeps the policies is away, of the last minute. A policy that is
	// new is always found.
	RecentPolicy(ctx context.Context, namespace, id string) (*PolicyRecord, error)

	// PutPolicy writes rec if the policy's revision is still expect (0: there is
	// none), and says whether it did.
	PutPolicy(ctx context.Context, rec *PolicyRecord, expect int64) (bool, error)

	// Policies returns all policies of a namespace, soft-deleted ones too, by id.
	Policies(ctx context.Context, namespace string) ([]*PolicyRecord, error)

	// PutPolicyUnlessJobs is PutPolicy, but writes only if no job of the namespace
	// was written or deleted since mark was given.
	PutPolicyUnlessJobs(ctx context.Context, rec *PolicyRecord, expect int64, mark JobsMark) (bool, error)
}

// Job is a named use of policies: one for each environment that has its own, and
// one for all others.
type Job struct {
	ID, DisplayName string
	// Policy is empty where the job has none of its own.
	Policy string
	// Environments holds the policy of each environment listed, empty where it
	// takes the job's.
	Environments map[string]string
}

// PolicyFor returns the id of the policy for an environment, empty for none.
func (j *Job) PolicyFor(environment string) string {
	if id := j.Environments[environment]; id != "" {
		return id
	}
	return j.Policy
}

// Policies returns the ids of all policies that the job refers to, each once, in
// order.
func (j *Job) Policies() []string {
	ids := slices.Collect(maps.Values(j.Environments))
	ids = append(ids, j.Policy)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if ids[0] == "" {
		ids = ids[1:]
	}
	return ids
}

// JobRecord is a job as it is kept.
type JobRecord struct {
	Namespace string
	Job       Job
	// Revision starts at 1 and rises by one with every write.
	Revision           int64
	CreateMS, UpdateMS int64
}

// JobsMark stands for the state of all of a namespace's jobs: it changes with
// every write of one.
type JobsMark int64

// JobStore keeps jobs. They are few, and read far more than written.
type JobStore interface {
	// Job returns a job, or nil.
	Job(ctx context.Context, namespace, id string) (*JobRecord, error)

	// RecentJob is to Job what RecentPolicy is to Policy.
	RecentJob(ctx context.Context, namespace, id string) (*JobRecord, error)

	// PutJob writes rec if the job's revision is still expect (0: there is none) and
	// all the policies given are at the revisions that they show, and says whether it
	// did.
	PutJob(ctx context.Context, rec *JobRecord, expect int64, policies []*PolicyRecord) (bool, error)

	// DeleteJob removes a job if its revision is still expect, and says whether it
	// did.
	DeleteJob(ctx context.Context, namespace, id string, expect int64) (bool, error)

	// Jobs returns all jobs of a namespace by id, and the mark of that state.
	Jobs(ctx context.Context, namespace string) ([]*JobRecord, JobsMark, error)
}
