package server

import (
	"context"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server/wire"
)

// jobService keeps jobs. It embeds the Unsafe type, so that a new RPC breaks the
// build and not the caller.
type jobService struct {
	retryv1.UnsafeJobServiceServer
	s *Server
}

// CreateJob keeps a new job.
func (h *jobService) CreateJob(ctx context.Context, r *retryv1.CreateJobRequest) (*retryv1.CreateJobResponse, error) {
	var c checker
	namespace := c.namespace(r.GetNamespace())
	j := c.job(r.GetJob())
	if err := c.err(); err != nil {
		return nil, err
	}
	rec, err := h.s.sched.CreateJob(ctx, namespace, j)
	if err != nil {
		return nil, err
	}
	return &retryv1.CreateJobResponse{Job: wire.JobRecord(rec)}, nil
}

// GetJob answers one job.
func (h *jobService) GetJob(ctx context.Context, r *retryv1.GetJobRequest) (*retryv1.GetJobResponse, error) {
	namespace, err := resourceName(r)
	if err != nil {
		return nil, err
	}
	rec, err := h.s.sched.Job(ctx, namespace, r.GetId())
	if err != nil {
		return nil, err
	}
	return &retryv1.GetJobResponse{Job: wire.JobRecord(rec)}, nil
}

// ListJobs answers a page of jobs.
func (h *jobService) ListJobs(ctx context.Context, r *retryv1.ListJobsRequest) (*retryv1.ListJobsResponse, error) {
	list, size, after, err := resourcePage("jobs", r)
	if err != nil {
		return nil, err
	}
	all, err := h.s.sched.Jobs(ctx, list.namespace, r.GetFilter())
	if err != nil {
		return nil, err
	}
	resp := &retryv1.ListJobsResponse{TotalSize: int32(len(all))}
	resp.Jobs, resp.NextPageToken = resources(list, all, size, after, jobID, wire.JobRecord)
	return resp, nil
}

func jobID(rec *scheduler.JobRecord) string { return rec.Job.ID }

// UpdateJob replaces a job.
func (h *jobService) UpdateJob(ctx context.Context, r *retryv1.UpdateJobRequest) (*retryv1.UpdateJobResponse, error) {
	var c checker
	namespace := c.namespace(r.GetNamespace())
	j := c.job(r.GetJob())
	if err := c.err(); err != nil {
		return nil, err
	}
	rec, err := h.s.sched.UpdateJob(ctx, namespace, j, r.GetJob().GetEtag())
	if err != nil {
		return nil, err
	}
	return &retryv1.UpdateJobResponse{Job: wire.JobRecord(rec)}, nil
}

// DeleteJob removes a job for good.
func (h *jobService) DeleteJob(ctx context.Context, r *retryv1.DeleteJobRequest) (*retryv1.DeleteJobResponse, error) {
	namespace, err := resourceName(r)
	if err != nil {
		return nil, err
	}
	rec, err := h.s.sched.DeleteJob(ctx, namespace, r.GetId())
	if err != nil {
		return nil, err
	}
	return &retryv1.DeleteJobResponse{Job: wire.JobRecord(rec)}, nil
}

// job reads a job that is required and names all that is wrong with it.
func (c *checker) job(j *retryv1.Job) scheduler.Job {
	if j == nil {
		c.add("job", "is missing")
		return scheduler.Job{}
	}
	defer c.within("job.")()
	out := wire.Job(j)
	c.merge(nil, out.Validate())
	return out
}
