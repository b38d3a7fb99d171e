package server

import (
	"context"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server/wire"
)

// groupService tells the progress of groups. It embeds the Unsafe type, so that a
// new RPC breaks the build and not the caller.
type groupService struct {
	retryv1.UnsafeGroupServiceServer
	s *Server
}

// GetGroup answers the counts of a group.
func (h *groupService) GetGroup(ctx context.Context, r *retryv1.GetGroupRequest) (*retryv1.GetGroupResponse, error) {
	key, err := groupKey(r)
	if err != nil {
		return nil, err
	}
	count, err := h.s.sched.Group(ctx, key)
	if err != nil {
		return nil, err
	}
	return &retryv1.GetGroupResponse{Group: wire.Group(key.Name, count)}, nil
}

// DeleteGroup forgets the counts of a group.
func (h *groupService) DeleteGroup(ctx context.Context, r *retryv1.DeleteGroupRequest) (*retryv1.DeleteGroupResponse, error) {
	key, err := groupKey(r)
	if err != nil {
		return nil, err
	}
	if err := h.s.sched.DeleteGroup(ctx, key); err != nil {
		return nil, err
	}
	return &retryv1.DeleteGroupResponse{}, nil
}

// groupKey checks a request that names one group.
func groupKey(r interface {
	GetNamespace() string
	GetGroup() string
},
) (scheduler.GroupKey, error) {
	var c checker
	key := scheduler.GroupKey{Namespace: c.namespace(r.GetNamespace()), Name: r.GetGroup()}
	c.name("group", key.Name)
	return key, c.err()
}
