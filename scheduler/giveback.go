package scheduler

import (
	"context"
	"time"
)

// returnRepeats is for how long what the store does not answer is asked again at once.
const returnRepeats = 500 * time.Millisecond

// giveBack gives back what was claimed and is not handed out. What the store does not answer
// for is tried again beside the loop until it does: it would wait for the end of its lease,
// and that count as an expiry, though nobody had it.
func (d *dispatcher) giveBack(ctx context.Context, deliveries []Delivery) {
	if len(deliveries) == 0 {
		return
	}
	var unanswered []Delivery
	var failed error
	for i, err := range d.s.giveBack(ctx, deliveries) {
		switch {
		case isUnanswered(err):
			unanswered = append(unanswered, deliveries[i])
		case err != nil:
			failed = err
		}
	}
	if failed != nil {
		d.s.log.WarnContext(ctx, "attempts that were not handed out could not be given back; their leases will expire", "error", failed)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.returnLater(unanswered)
}

// returnLater has deliveries given back beside the loop. Callers hold mu.
func (d *dispatcher) returnLater(deliveries []Delivery) {
	for _, delivery := range deliveries {
		server := d.serverOf(ShardOf(delivery.Task.Key, d.s.shards))
		d.returns[server] = append(d.returns[server], delivery)
	}
	if len(deliveries) > 0 {
		signal(d.wake)
	}
}

// expire frees the credit of leases that have ended. What still waits for its worker
// then is not sent any more, since another may get it: it goes back, and its expiry
// counts for nothing. Callers hold mu.
func (d *dispatcher) expire(nowMS int64) { d.returnLater(d.out.expire(nowMS)) }

// startReturn gives back what is to be, but for servers at which the last time still lasts:
// before it is claimed again, or its expiry would count.
func (d *dispatcher) startReturn(ctx context.Context) {
	d.mu.Lock()
	servers := make([]string, 0, len(d.returns))
	for server := range d.returns {
		servers = append(servers, server)
	}
	d.mu.Unlock()
	for _, server := range servers {
		busy := d.returning[server]
		if busy == nil {
			busy = make(chan struct{}, 1)
			d.returning[server] = busy
		}
		d.beside(ctx, busy, func(ctx context.Context) { d.returnTo(ctx, server) })
	}
}

func (d *dispatcher) returnTo(ctx context.Context, server string) {
	d.mu.Lock()
	deliveries := d.returns[server]
	delete(d.returns, server)
	d.mu.Unlock()
	d.giveBack(WithRepeats(ctx, returnRepeats), deliveries)
}
