package client

import (
	"context"
	"time"

	"google.golang.org/protobuf/proto"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// MaxAhead is how far ahead of the time [Client.ReplayAll] and [Client.ReleaseAll]
// schedule at a rate, but for the up to 1,000 tasks of one call: what is scheduled
// can only be called back task by task.
const MaxAhead = 10 * time.Second

// finishTimeout is how long the call that is under way when a run is cut short may
// still take.
const finishTimeout = 5 * time.Second

// maxScheduled bounds what moveAll reckons with: a hundred years.
const maxScheduled = 100 * 365 * 24 * time.Hour

// Progress is how far a run over many tasks has come.
type Progress struct {
	// Moved is how many tasks the run has moved so far, or counted.
	Moved int64
	// Remaining is how many there are still to be looked at. Where the filter has
	// other fields than queue, state, condition and fingerprint, not all of them
	// may match.
	Remaining int64
}

// ReplayAll replays all dead letters that a request asks for, at its rate: call by
// call, until none is left or ctx ends. It runs no further ahead than MaxAhead, so
// at a rate it takes about as long as the attempts do. With validate_only it
// counts them instead. progress, when not nil, is told after every call; what was
// reached in the end is returned, with an error too.
//
// When ctx ends, the call that is under way is still finished, for up to 5 s, so
// that what is returned is what was moved. No one owns the run: when it is cut
// short, another finds what is left.
func (c *Client) ReplayAll(ctx context.Context, req *retryv1.ReplayTasksRequest, progress func(Progress)) (Progress, error) {
	req = proto.CloneOf(req)
	return moveAll(ctx, req, progress, func(ctx context.Context, token string) (moved, error) {
		req.PageToken = token
		return c.tasks.ReplayTasks(ctx, req)
	})
}

// ReleaseAll releases all held tasks that a request asks for, at its rate, as
// ReplayAll replays dead letters.
func (c *Client) ReleaseAll(ctx context.Context, req *retryv1.ReleaseHeldRequest, progress func(Progress)) (Progress, error) {
	req = proto.CloneOf(req)
	return moveAll(ctx, req, progress, func(ctx context.Context, token string) (moved, error) {
		req.PageToken = token
		return c.tasks.ReleaseHeld(ctx, req)
	})
}

// DiscardAll gives up all held tasks or dead letters that a request asks for, call
// by call, as ReplayAll replays dead letters. There is no way back.
func (c *Client) DiscardAll(ctx context.Context, req *retryv1.DiscardTasksRequest, progress func(Progress)) (Progress, error) {
	req = proto.CloneOf(req)
	return moveAll(ctx, req, progress, func(ctx context.Context, token string) (moved, error) {
		req.PageToken = token
		return c.tasks.DiscardTasks(ctx, req)
	})
}

// moved is the answer to one call.
type moved interface {
	GetMoved() int64
	GetRemaining() int64
	GetNextPageToken() string
}

// moveAll makes calls until none is left to make.
func moveAll(
	ctx context.Context,
	req interface {
		GetValidateOnly() bool
		GetPageToken() string
	},
	progress func(Progress), call func(ctx context.Context, token string) (moved, error),
) (p Progress, err error) {
	var rate float64
	if r, ok := req.(interface{ GetRate() float64 }); ok && !req.GetValidateOnly() {
		rate = r.GetRate()
	}
	began := time.Now()
	calls, done := finishing(ctx)
	defer done()
	for token := req.GetPageToken(); ; {
		if err := ctx.Err(); err != nil {
			return p, err
		}
		resp, err := call(calls, token)
		if err != nil {
			return p, err
		}
		p.Moved += resp.GetMoved()
		p.Remaining = resp.GetRemaining()
		if progress != nil {
			progress(p)
		}
		if token = resp.GetNextPageToken(); token == "" {
			return p, nil
		}
		if rate > 0 {
			// As seconds, which the lowest rate can make too many for a Duration.
			scheduled := time.Duration(min(float64(p.Moved)/rate, maxScheduled.Seconds()) * float64(time.Second))
			if !sleep(ctx, time.Until(began.Add(scheduled-MaxAhead))) {
				return p, ctx.Err()
			}
		}
	}
}

// finishing is a context for calls that are finished when ctx ends, within
// finishTimeout.
func finishing(ctx context.Context) (calls context.Context, done func()) {
	calls, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		sleep(calls, finishTimeout)
		cancel()
	})
	return calls, func() {
		stop()
		cancel()
	}
}
