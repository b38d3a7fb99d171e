package client

import (
	"context"
	"iter"

	"google.golang.org/protobuf/proto"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// AllTasks goes through the live tasks that a request asks for, without payload
// and attempts, page by page as they are wanted. An error ends it, with a nil task.
// The request is left as it is; its page size and page token say how large the
// pages are and where to begin.
func (c *Client) AllTasks(ctx context.Context, req *retryv1.ListTasksRequest) iter.Seq2[*retryv1.Task, error] {
	req = proto.CloneOf(req)
	return all(req.GetPageToken(), func(token string) ([]*retryv1.Task, string, error) {
		req.PageToken = token
		resp, err := c.tasks.ListTasks(ctx, req)
		return resp.GetTasks(), resp.GetNextPageToken(), err
	})
}

// AllDeadLetterGroups goes through the groups of dead letters that a request asks
// for, as AllTasks does through tasks: the largest first.
func (c *Client) AllDeadLetterGroups(ctx context.Context, req *retryv1.ListDeadLetterGroupsRequest) iter.Seq2[*retryv1.DeadLetterGroup, error] {
	req = proto.CloneOf(req)
	return all(req.GetPageToken(), func(token string) ([]*retryv1.DeadLetterGroup, string, error) {
		req.PageToken = token
		resp, err := c.tasks.ListDeadLetterGroups(ctx, req)
		return resp.GetGroups(), resp.GetNextPageToken(), err
	})
}

// AllQueues goes through the queues that a request asks for, as AllTasks does
// through tasks: by name.
func (c *Client) AllQueues(ctx context.Context, req *retryv1.ListQueuesRequest) iter.Seq2[*retryv1.Queue, error] {
	req = proto.CloneOf(req)
	return all(req.GetPageToken(), func(token string) ([]*retryv1.Queue, string, error) {
		req.PageToken = token
		resp, err := c.queues.ListQueues(ctx, req)
		return resp.GetQueues(), resp.GetNextPageToken(), err
	})
}

// AllJobs goes through the jobs that a request asks for, as AllTasks does through
// tasks: by id.
func (c *Client) AllJobs(ctx context.Context, req *retryv1.ListJobsRequest) iter.Seq2[*retryv1.Job, error] {
	req = proto.CloneOf(req)
	return all(req.GetPageToken(), func(token string) ([]*retryv1.Job, string, error) {
		req.PageToken = token
		resp, err := c.jobs.ListJobs(ctx, req)
		return resp.GetJobs(), resp.GetNextPageToken(), err
	})
}

// AllPolicies goes through the policies that a request asks for, as AllTasks does
// through tasks: by id.
func (c *Client) AllPolicies(ctx context.Context, req *retryv1.ListPoliciesRequest) iter.Seq2[*retryv1.Policy, error] {
	req = proto.CloneOf(req)
	return all(req.GetPageToken(), func(token string) ([]*retryv1.Policy, string, error) {
		req.PageToken = token
		resp, err := c.policies.ListPolicies(ctx, req)
		return resp.GetPolicies(), resp.GetNextPageToken(), err
	})
}

// all goes through the pages from first on, which may be empty though more follow.
func all[T any](first string, page func(token string) (items []*T, next string, err error)) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		for token := first; ; {
			items, next, err := page(token)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			token = next
		}
	}
}
