package server

import (
	"context"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
)

// ReplayTasks replays many dead letters.
func (h *taskService) ReplayTasks(ctx context.Context, r *retryv1.ReplayTasksRequest) (*retryv1.ReplayTasksResponse, error) {
	got, next, err := moved(ctx, "replay", r, (*scheduler.Bulk).ValidateReplay, h.s.sched.ReplayMany)
	if err != nil {
		return nil, err
	}
	return &retryv1.ReplayTasksResponse{Moved: got.Moved, Remaining: got.Remaining, NextPageToken: next}, nil
}

// DiscardTasks gives up many held tasks or dead letters.
func (h *taskService) DiscardTasks(ctx context.Context, r *retryv1.DiscardTasksRequest) (*retryv1.DiscardTasksResponse, error) {
	got, next, err := moved(ctx, "discard", r, (*scheduler.Bulk).ValidateDiscard, h.s.sched.DiscardMany)
	if err != nil {
		return nil, err
	}
	return &retryv1.DiscardTasksResponse{Moved: got.Moved, Remaining: got.Remaining, NextPageToken: next}, nil
}

// ReleaseHeld schedules the attempts of many held tasks.
func (h *taskService) ReleaseHeld(ctx context.Context, r *retryv1.ReleaseHeldRequest) (*retryv1.ReleaseHeldResponse, error) {
	got, next, err := moved(ctx, "release", r, (*scheduler.Bulk).ValidateRelease, h.s.sched.ReleaseHeld)
	if err != nil {
		return nil, err
	}
	return &retryv1.ReleaseHeldResponse{Moved: got.Moved, Remaining: got.Remaining, NextPageToken: next}, nil
}

// moved checks a request to do something to many tasks, has move do it, and
// returns with its answer the page token to go on with.
func moved(ctx context.Context, kind string, r mover, validate func(*scheduler.Bulk) []policy.Violation, move func(context.Context, scheduler.Bulk) (scheduler.Moved, error)) (got scheduler.Moved, next string, err error) {
	var c checker
	b, list := c.bulk(kind, r, validate)
	if err := c.err(); err != nil {
		return got, "", err
	}
	if got, err = move(ctx, b); err != nil {
		return got, "", err
	}
	return got, position{got.Next, got.NextStartMS, got.UntilMS}.token(list), nil
}
