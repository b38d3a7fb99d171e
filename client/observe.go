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
// come back to for as long as that takes. What fell due meanwhile is shown then,
// unless a worker has taken it: to look on is best effort. It may show an attempt
// twice when there are more than 10,000.
//
// Attempts come without delivery, lease token and end of lease. Observe returns an
// error when the server calls the subscription invalid, or refuses it to this
// caller.
func (c *Client) Observe(ctx context.Context, queues []string, show func(*Attempt)) error {
	if len(queues) < 1 || len(queues) > maxQueues {
		return fmt.Errorf("from 1 to %d queues can be looked on at, not %d", maxQueues, len(queues))
	}
	var pause backoff
	shown := sightings{known: make(map[sighting]bool)}
	for {
		began := time.Now()
		shown.began = began
		heard, err := c.observeOnce(ctx, queues, func(a *Attempt) {
			if shown.isNew(a) {
				show(a)
			}
		})
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
			c.log.WarnContext(ctx, "subscription ended", "error", err, "retry_in_ms", d.Milliseconds())
		default:
			c.log.InfoContext(ctx, "server asked to subscribe anew", "retry_in_ms", d.Milliseconds())
		}
		if !sleep(ctx, d) {
			return nil
		}
	}
}

// maxSightings is how many attempts an observer remembers.
const maxSightings = 10_000

// catchUp is how long a new stream is taken to show what is due already.
const catchUp = 5 * time.Second

// sightings are the attempts that an observer was shown. A stream begins with all
// that is due, which those before have shown for the most part: servers ask to
// subscribe anew every half hour or so. What comes again later has fallen due again.
type sightings struct {
	began time.Time // the stream
	known map[sighting]bool
	order []sighting
}

type sighting struct {
	taskID             string
	generation, number int
	due                time.Time
}

func (s *sightings) isNew(a *Attempt) bool {
	key := sighting{a.TaskID, a.Generation, a.Number, a.DueTime}
	if s.known[key] {
		return time.Since(s.began) > catchUp
	}
	s.known[key] = true
	s.order = append(s.order, key)
	if len(s.order) > maxSightings {
		delete(s.known, s.order[0])
		s.order = s.order[1:]
	}
	return true
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
