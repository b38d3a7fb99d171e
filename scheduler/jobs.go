package scheduler

import "context"

// CreateJob keeps a new job. It returns KindInvalid with all violations,
// KindPolicyNotFound or KindPolicyDeleted for a policy that it may not refer to,
// or KindJobExists.
func (s *Scheduler) CreateJob(ctx context.Context, namespace string, job Job) (*JobRecord, error) {
	panic("unfinished")
}

// Job returns a job, or KindJobNotFound.
func (s *Scheduler) Job(ctx context.Context, namespace, id string) (*JobRecord, error) {
	panic("unfinished")
}

// Jobs returns the jobs of a namespace whose display name contains filter in any
// case, by id.
func (s *Scheduler) Jobs(ctx context.Context, namespace, filter string) ([]*JobRecord, error) {
	panic("unfinished")
}

// UpdateJob replaces a job whole. etag, when given, must be the job's, or
// KindEtagMismatch is returned.
func (s *Scheduler) UpdateJob(ctx context.Context, namespace string, job Job, etag string) (*JobRecord, error) {
	panic("unfinished")
}

// DeleteJob removes a job for good, and returns it as it was.
func (s *Scheduler) DeleteJob(ctx context.Context, namespace, id string) (*JobRecord, error) {
	panic("unfinished")
}

// Etag stands for the record as it is: it changes with every write.
func (r *JobRecord) Etag() string { panic("unfinished") }
