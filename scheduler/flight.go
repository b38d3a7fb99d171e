package scheduler

import "context"

// maxFlights is for how many namespaces claims are on their way at once: fewer than a
// store has connections.
const maxFlights = 8

// fly has the claims of a namespace made and what they take handed out, while the
// dispatcher goes on with the others: a round of a backlog takes the store longer than
// a single attempt of another namespace may wait. Until it has landed the namespace is
// dealt nothing more.
func (d *dispatcher) fly(ctx context.Context, deal []*dealt) {
	n := deal[0].q.namespace
	d.mu.Lock()
	n.flying = true
	alone := len(d.namespaces) == 1
	d.mu.Unlock()
	if alone {
		d.carry(ctx, n, deal)
		return
	}
	d.flights <- struct{}{}
	d.others.Go(func() {
		defer signal(d.wake)
		d.carry(ctx, n, deal)
		<-d.flights
	})
}

func (d *dispatcher) carry(ctx context.Context, n *namespaceTurn, deal []*dealt) {
	failed := d.hand(ctx, deal)
	d.tell(ctx, failed)
	d.mu.Lock()
	defer d.mu.Unlock()
	n.flying = false
	if failed != nil {
		n.repeatMS = d.s.clock.nowMS() + retryPause.Milliseconds()
	}
}

// wakeFor wakes the dispatcher for a queue in which something has changed. What is in
// flight is looked at when it has landed.
func (d *dispatcher) wakeFor(q *queue) {
	if q == nil || !q.namespace.flying {
		signal(d.wake)
	}
}
