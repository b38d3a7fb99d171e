package server

import (
	"context"

	"google.golang.org/protobuf/proto"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server/wire"
)

// taskService shows tasks to operators and lets them step in. It embeds the
// Unsafe type, so that a new RPC breaks the build and not the caller.
type taskService struct {
	retryv1.UnsafeTaskServiceServer
	s *Server
}

// GetTask answers one task with all that is kept of it.
func (h *taskService) GetTask(ctx context.Context, r *retryv1.GetTaskRequest) (*retryv1.GetTaskResponse, error) {
	t, err := operated(ctx, r, h.s.sched.Task)
	if err != nil {
		return nil, err
	}
	return &retryv1.GetTaskResponse{Task: t}, nil
}

// CancelTask ends a task that is under way.
func (h *taskService) CancelTask(ctx context.Context, r *retryv1.CancelTaskRequest) (*retryv1.CancelTaskResponse, error) {
	t, err := operated(ctx, r, h.s.sched.Cancel)
	if err != nil {
		return nil, err
	}
	return &retryv1.CancelTaskResponse{Task: t}, nil
}

// RetryNow makes a task's attempt due.
func (h *taskService) RetryNow(ctx context.Context, r *retryv1.RetryNowRequest) (*retryv1.RetryNowResponse, error) {
	t, err := operated(ctx, r, h.s.sched.RetryNow)
	if err != nil {
		return nil, err
	}
	return &retryv1.RetryNowResponse{Task: t}, nil
}

// Reschedule makes a task's attempt due at another time.
func (h *taskService) Reschedule(ctx context.Context, r *retryv1.RescheduleRequest) (*retryv1.RescheduleResponse, error) {
	var c checker
	key := c.taskKey(r)
	timeMS := c.moment("time", r.GetTime())
	if err := c.err(); err != nil {
		return nil, err
	}
	t, err := h.s.sched.Reschedule(ctx, key, timeMS)
	if err != nil {
		return nil, err
	}
	return &retryv1.RescheduleResponse{Task: wire.Task(t)}, nil
}

// ReplayTask schedules a dead letter anew.
func (h *taskService) ReplayTask(ctx context.Context, r *retryv1.ReplayTaskRequest) (*retryv1.ReplayTaskResponse, error) {
	t, err := operated(ctx, r, h.s.sched.Replay)
	if err != nil {
		return nil, err
	}
	return &retryv1.ReplayTaskResponse{Task: t}, nil
}

// DiscardTask gives a task up.
func (h *taskService) DiscardTask(ctx context.Context, r *retryv1.DiscardTaskRequest) (*retryv1.DiscardTaskResponse, error) {
	t, err := operated(ctx, r, h.s.sched.Discard)
	if err != nil {
		return nil, err
	}
	return &retryv1.DiscardTaskResponse{Task: t}, nil
}

// operated checks a request that says no more than which task, and returns what
// operate makes of it.
func operated(ctx context.Context, r taskName, operate func(context.Context, scheduler.TaskKey) (*scheduler.Task, error)) (*retryv1.Task, error) {
	var c checker
	key := c.taskKey(r)
	if err := c.err(); err != nil {
		return nil, err
	}
	t, err := operate(ctx, key)
	if err != nil {
		return nil, err
	}
	return wire.Task(t), nil
}

// ListTasks answers a page of tasks.
func (h *taskService) ListTasks(ctx context.Context, r *retryv1.ListTasksRequest) (*retryv1.ListTasksResponse, error) {
	var c checker
	f, list := c.tasks("tasks", r)
	size := c.pageSize(r.GetPageSize())
	at := c.position(list, r.GetPageToken())
	c.also(f.Validate())
	if err := c.err(); err != nil {
		return nil, err
	}
	page, err := h.s.sched.Tasks(ctx, list.namespace, f, at.cursor, size)
	if err != nil {
		return nil, err
	}
	resp := &retryv1.ListTasksResponse{NextPageToken: position{cursor: page.Next}.token(list)}
	bytes := 0
	for i, t := range page.Tasks {
		m := wire.ListedTask(t)
		bytes += proto.Size(m)
		if i > 0 && bytes > maxPageBytes {
			resp.NextPageToken = position{cursor: page.Ends[i-1]}.token(list)
			break
		}
		resp.Tasks = append(resp.Tasks, m)
	}
	return resp, nil
}
