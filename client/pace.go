package client

import (
	"context"
	"math/rand/v2"
	"time"
)

// pace is how long to wait between the tries of one call, and when to give up.
type pace struct {
	budget   time.Duration
	deadline time.Time
	bounded  bool

	backoff backoff
	began   time.Time
}

// wait waits before the next try, at least for what the server asked. It says
// false, and does not wait, when the next try would come too late: the caller
// then gets the error at hand instead of one about time. The budget counts from
// the first failure, since a call may rightly wait long for an attempt.
func (p *pace) wait(ctx context.Context, atLeast time.Duration) bool {
	now := time.Now()
	if p.began.IsZero() {
		p.began = now
	}
	d := p.backoff.next(atLeast)
	next := now.Add(d)
	if ctx.Err() != nil || next.Sub(p.began) > p.budget || p.bounded && next.After(p.deadline) {
		return false
	}
	return sleep(ctx, d)
}

const (
	backoffBase = 100 * time.Millisecond
	backoffMax  = 10 * time.Second
)

// backoff is a pause that doubles from try to try. Half of it is drawn, so that
// clients that lost the same server do not come back together.
type backoff struct {
	tries int
}

// next is the pause before the next try: no less than what the server asked for,
// to which a draw is added for the same reason.
func (b *backoff) next(atLeast time.Duration) time.Duration {
	d := min(backoffMax, backoffBase<<min(b.tries, 16))
	b.tries++
	least := max(d/2, atLeast)
	return least + rand.N(max(d/2, least/4))
}

// sleep waits for d and says true, or says false when ctx ends before.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
