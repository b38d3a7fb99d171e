package scheduler

import (
	"context"
	"slices"
)

// maxFlights is for how many namespaces claims are on their way to a server of the store at
// once: fewer than there are connections to it.
const maxFlights = 8

// flight is the claims that are made together: those of a namespace at one of the store's
// servers. Until it has landed the namespace is dealt nothing more there. So neither does a
// single attempt wait for what takes the store longer, a round of another namespace's
// backlog, nor one at a server that is well for one that does not answer.
type flight struct {
	namespace *namespaceTurn
	server    string
}

// flightOf is the flight that what is claimed of a queue and shard belongs to.
func (d *dispatcher) flightOf(q *queue, shard int) flight {
	return flight{q.namespace, d.serverOf(shard)}
}

// locate takes note of which servers the store has what is kept in each shard at.
func (d *dispatcher) locate(servers []string) {
	if d.servers != nil && slices.Equal(servers, d.servers) {
		return
	}
	d.servers = servers
	all := slices.Sorted(slices.Values(servers))
	d.serverCount = max(1, len(slices.Compact(all)))
}

func (d *dispatcher) serverOf(shard int) string {
	if shard >= len(d.servers) {
		return ""
	}
	return d.servers[shard]
}

// isFlying says whether claims of the flight are on their way.
func (f flight) isFlying() bool { return f.namespace.flying[f.server] }

// isAway says whether claims for the namespace are on their way to all servers.
func (d *dispatcher) isAway(n *namespaceTurn) bool { return len(n.flying) >= d.serverCount }

// lookMS is when the queue must next be looked at, but for where claims are on their way.
func (d *dispatcher) lookMS(q *queue) int64 {
	switch {
	case len(q.namespace.flying) == 0:
		return q.lookMS
	case d.isAway(q.namespace):
		return never
	}
	return q.earliestMS(func(shard int) bool { return d.mayDeal(q, shard) })
}

// mayDeal says whether a queue and shard may be dealt to: not while a claim of it has not
// been answered, or the flight that it would go with is on its way.
func (d *dispatcher) mayDeal(q *queue, shard int) bool {
	return q.shards[shard].claim == nil && !d.flightOf(q, shard).isFlying()
}

// seats says of flights, one after the other, whether there is room for them at their
// servers.
func (d *dispatcher) seats() func(flight) bool {
	taken := make(map[flight]bool)
	atServer := make(map[string]int)
	return func(f flight) bool {
		if taken[f] {
			return true
		}
		if d.flights[f.server]+atServer[f.server] >= maxFlights {
			return false
		}
		taken[f] = true
		atServer[f.server]++
		return true
	}
}

// board notes that claims are on their way, and returns them by their flights, the one with
// the fewest first: it takes off before the others.
func (d *dispatcher) board(deal []*dealt) [][]*dealt {
	place := make(map[flight]int)
	var parts [][]*dealt
	for _, c := range deal {
		c.flight, c.flying = d.flightOf(c.q, c.claim.Shard), true
		at, ok := place[c.flight]
		if !ok {
			at = len(parts)
			place[c.flight] = at
			parts = append(parts, nil)
			if c.flight.namespace.flying == nil {
				c.flight.namespace.flying = make(map[string]bool)
			}
			c.flight.namespace.flying[c.flight.server] = true
			d.flights[c.flight.server]++
		}
		parts[at] = append(parts[at], c)
	}
	slices.SortStableFunc(parts, func(a, b []*dealt) int { return len(a) - len(b) })
	return parts
}

// fly has the claims of a flight made and what they take handed out, while the dispatcher
// goes on with the others.
func (d *dispatcher) fly(ctx context.Context, deal []*dealt) {
	d.mu.Lock()
	alone := len(d.namespaces) == 1 && d.serverCount == 1
	d.mu.Unlock()
	if alone {
		d.carry(ctx, deal)
		return
	}
	d.others.Go(func() {
		defer signal(d.wake)
		d.carry(ctx, deal)
	})
}

func (d *dispatcher) carry(ctx context.Context, deal []*dealt) {
	f := deal[0].flight
	failed := d.hand(ctx, deal)
	d.tell(ctx, failed)
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(f.namespace.flying, f.server)
	if d.flights[f.server]--; d.flights[f.server] == 0 {
		delete(d.flights, f.server)
	}
	repeatMS := d.s.clock.nowMS() + retryPause.Milliseconds()
	for _, c := range deal {
		c.flying, c.repeatMS = false, repeatMS
	}
}

// wakeFor wakes the dispatcher for a queue in which something has changed. What is in
// flight is looked at when it has landed.
func (d *dispatcher) wakeFor(q *queue) {
	if q == nil || !d.isAway(q.namespace) {
		signal(d.wake)
	}
}
