package server

import (
	"context"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server/wire"
)

// queueService shows and pauses queues. It embeds the Unsafe type, so that a new
// RPC breaks the build and not the caller.
type queueService struct {
	retryv1.UnsafeQueueServiceServer
	s *Server
}

// ListQueues answers a page of queues. What a queue takes is bounded, so that no
// page has to end early.
func (h *queueService) ListQueues(ctx context.Context, r *retryv1.ListQueuesRequest) (*retryv1.ListQueuesResponse, error) {
	var c checker
	list := listing{kind: "queues", namespace: c.namespace(r.GetNamespace())}
	size, after := c.page(list, r.GetPageSize(), r.GetPageToken())
	if err := c.err(); err != nil {
		return nil, err
	}
	var page []scheduler.QueueView
	more := true
	// Queues that were forgotten between being found and being counted leave a gap,
	// and at the worst nothing to go on from.
	for more && len(page) == 0 {
		var err error
		if page, more, err = h.s.sched.Queues(ctx, list.namespace, after, size); err != nil {
			return nil, err
		}
	}
	use := h.s.sched.QuotaUse(ctx, list.namespace)
	resp := &retryv1.ListQueuesResponse{Quotas: wire.Quotas(&use)}
	for i := range page {
		resp.Queues = append(resp.Queues, wire.Queue(&page[i]))
	}
	if n := len(page); more && n > 0 {
		resp.NextPageToken = list.token(page[n-1].Key.Name)
	}
	return resp, nil
}

// GetQueue answers one queue, or the caller-driven tasks.
func (h *queueService) GetQueue(ctx context.Context, r *retryv1.GetQueueRequest) (*retryv1.GetQueueResponse, error) {
	var c checker
	key := scheduler.QueueKey{Namespace: c.namespace(r.GetNamespace()), Name: r.GetQueue()}
	c.optionalName("queue", key.Name)
	if err := c.err(); err != nil {
		return nil, err
	}
	q, err := h.s.sched.Queue(ctx, key)
	if err != nil {
		return nil, err
	}
	return &retryv1.GetQueueResponse{Queue: wire.Queue(&q)}, nil
}

// PauseQueue stops the handing out of a queue's attempts.
func (h *queueService) PauseQueue(ctx context.Context, r *retryv1.PauseQueueRequest) (*retryv1.PauseQueueResponse, error) {
	var c checker
	key := scheduler.QueueKey{Namespace: c.namespace(r.GetNamespace()), Name: r.GetQueue()}
	c.name("queue", key.Name)
	c.time("until", r.GetUntil())
	if err := c.err(); err != nil {
		return nil, err
	}
	q, err := h.s.sched.PauseQueue(ctx, key, wire.MS(r.GetUntil()))
	if err != nil {
		return nil, err
	}
	return &retryv1.PauseQueueResponse{Queue: wire.Queue(&q)}, nil
}

// ResumeQueue ends a queue's pause.
func (h *queueService) ResumeQueue(ctx context.Context, r *retryv1.ResumeQueueRequest) (*retryv1.ResumeQueueResponse, error) {
	var c checker
	key := scheduler.QueueKey{Namespace: c.namespace(r.GetNamespace()), Name: r.GetQueue()}
	c.name("queue", key.Name)
	if err := c.err(); err != nil {
		return nil, err
	}
	q, err := h.s.sched.ResumeQueue(ctx, key)
	if err != nil {
		return nil, err
	}
	return &retryv1.ResumeQueueResponse{Queue: wire.Queue(&q)}, nil
}
