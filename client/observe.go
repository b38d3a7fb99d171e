package client

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// Observe looks on at 1 to 100 queues: it shows attempts that are due, and from
// then on those that fall due, one after the other, without taking them. It does
// so until ctx ends, and then returns nil; a server that goes away, or is away, is
// come back to for as long as that takes. What is still due then is shown again,
// and what a worker has taken meanwhile is not: to look on is best effort.
//
// Attempts come without delivery, lease token and end of lease. Observe returns an
// error when the server calls the subscription invalid, or refuses it to this
// caller.
func (c *Client) Observe(ctx context.Context, queues []string, show func(*Attempt)) error {
	if len(queues) < 1 || len(queues) > maxQueues {
		return fmt.Errorf("from 1 to %d queues can be looked on at, not %d", maxQueues, len(queues))
	}
	var pause backoff
	for {
		began := time.Now()
		heard, err := c.observeOnce(ctx, queues, show)
		if heard || time.Since(began) >= steadyAfter {
			pause = backoff{}
		}
		var asked time.Duration
		if e := asError(err); e != nil {
			switch e.Code {
			case codes.InvalidArgument, codes.Unauthenticated, codes.PermissionDenied:
				return e
			}
			asked = e.RetryDelay
		}
		d := pause.next(asked)
		switch {
		case ctx.Err() != nil: // it was left, and did not end
		case err != nil:
			c.log.WarnContext(ctx, "subscription ended", "error", err.Error(), "retry_in", d)
		default:
			c.log.InfoContext(ctx, "server asked to subscribe anew", "retry_in", d)
		}
		if !sleep(ctx, d) {
			return nil
		}
	}
}

// observeOnce shows what one stream brings. It returns no error when the server
// asked to leave it.
func (c *Client) observeOnce(ctx context.Context, queues []string, show func(*Attempt)) (heard bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.retry.Subscribe(ctx)
	if err != nil {
		return false, err
	}
	open := &retryv1.Open{Namespace: c.namespace, Queues: queues, Observe: true}
	// What Send fails for is told by Recv.
	_ = stream.Send(&retryv1.SubscribeRequest{Message: &retryv1.SubscribeRequest_Open{Open: open}})
	for {
		m, err := stream.Recv()
		if err != nil {
			return heard, err
		}
		switch x := m.GetMessage().(type) {
		case *retryv1.SubscribeResponse_Attempt:
			heard = true
			show(attemptOf(x.Attempt))
		case *retryv1.SubscribeResponse_Drain:
			return heard, nil
		}
	}
}
