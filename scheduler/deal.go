package scheduler

import (
	"cmp"
	"math/rand/v2"
	"slices"
)

// dealt is credit on its way: a claim, and the subscription of each of its
// slots.
type dealt struct {
	claim Claim
	subs  []*Subscription
	q     *queue
	// dealtAt is when the queue and shard was dealt to before.
	dealtAt uint64
	// use is what is known of the namespace's use of its quota, nil where it has none.
	use *namespaceUse
	// flight is what it is made in, and flying whether that is under way. Where its shard is
	// kept may change meanwhile.
	flight flight
	flying bool
	// unsure says that its answer did not come the last time: it is repeated, so that what
	// it may have taken is not lost for the length of a lease. repeatMS is until when it
	// waits.
	unsure   bool
	repeatMS int64
	// unreserved says that the credit is free again that was dealt: while a server is away,
	// what others keep is not to wait for its claims. late is how many of what such a claim
	// took have found room in the quota.
	unreserved bool
	late       int64
	// taken is how many tasks the claim has taken that were not leased before.
	taken int
}

// deal takes the free credit of the subscribers and deals it, one at a time and
// round robin, over the queues and shards that have something due, at most
// maxPerTurn to each, so that a backlog in one starves no other. The claims are by their
// flights. With nothing to deal, wakeMS is when there may be.
func (d *dispatcher) deal(servers []string) (flights [][]*dealt, wakeMS int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.locate(servers)
	d.sleepMS = never
	nowMS := d.s.clock.nowMS()
	if d.stopped {
		d.answerWaiters(func(*queue) bool { return false })
		// What those may have taken is to go back.
		claims, wakeMS := d.dealUnsure(nowMS, d.seats())
		return d.board(claims), wakeMS
	}
	d.expire(nowMS)
	d.beginRound()
	open := func(q *queue) bool { return d.hasRoom(q.namespace) && q.open() }
	due, nextMS := d.agenda.due(nowMS, func(q *queue) int64 {
		if lookMS := d.lookMS(q); lookMS != never && open(q) {
			return lookMS
		}
		return never
	})
	wakeMS = min(d.out.earliestMS(), nextMS)
	d.answerWaiters(func(q *queue) bool {
		return q != nil && (q.unseen || q.claims > 0 || q.lookMS <= nowMS && open(q))
	})
	seated := d.seats()
	claims, repeatMS := d.dealUnsure(nowMS, seated)
	wakeMS = min(wakeMS, repeatMS)
	claims = append(claims, d.dealHands(d.handsOf(due, nowMS), seated)...)
	d.sleepMS = wakeMS
	return d.board(claims), wakeMS
}

// dealUnsure returns the claims that are to be repeated now, and when others are.
func (d *dispatcher) dealUnsure(nowMS int64, seated func(flight) bool) (claims []*dealt, wakeMS int64) {
	wakeMS = never
	for _, c := range d.unsure {
		switch f := d.flightOf(c.q, c.claim.Shard); {
		case c.flying || f.isFlying():
		// What is further ahead was set before the store's clock went back, when another
		// took over perhaps, and would come as much later.
		case c.repeatMS > nowMS && c.repeatMS <= nowMS+retryPause.Milliseconds():
			wakeMS = min(wakeMS, c.repeatMS)
		case seated(f):
			claims = append(claims, c)
		}
	}
	return claims, wakeMS
}

// joinLooked is join, and returns a channel that is closed once whatever was due
// for the subscription then has been given to it.
func (d *dispatcher) joinLooked(sub *Subscription) (looked <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := waiter{sub: sub, done: make(chan struct{})}
	d.waiters = append(d.waiters, w)
	d.add(sub)
	return w.done
}

type waiter struct {
	sub  *Subscription
	done chan struct{}
}

// answerWaiters answers those for whose queues there is nothing more to claim.
func (d *dispatcher) answerWaiters(busy func(*queue) bool) {
	waiting := d.waiters[:0]
	for _, w := range d.waiters {
		if slices.ContainsFunc(w.sub.queues, func(key QueueKey) bool { return busy(d.queues[key]) }) && !w.sub.closed {
			waiting = append(waiting, w)
			continue
		}
		close(w.done)
	}
	clear(d.waiters[len(waiting):])
	d.waiters = waiting
}

// hand is what one queue and shard is dealt in a turn.
type hand struct {
	q     *queue
	shard int
	// dealtAt is when it was dealt to before.
	dealtAt uint64
	// turn is how many hands of its queue are dealt to before, namespaceTurn how many of
	// its namespace.
	turn, namespaceTurn int
	// picks are whose credit it is, in the order in which it is used: so the few
	// that may be due are spread over the subscriptions like the many.
	picks []*Subscription
}

func (d *dispatcher) dealHands(hands []*hand, seated func(flight) bool) []*dealt {
	if len(hands) == 0 {
		return nil
	}
	takeTurns(hands)
	// Those that have no seat are the first when a flight has landed.
	hands = slices.DeleteFunc(hands, func(h *hand) bool { return !seated(d.flightOf(h.q, h.shard)) })
	hands = d.bound(hands)
	d.partition(hands, func() { d.dealOut(hands) })
	// Few are not to wait until many are handed out.
	slices.SortStableFunc(hands, func(a, b *hand) int { return cmp.Compare(len(a.picks), len(b.picks)) })
	var claims []*dealt
	for _, h := range hands {
		if len(h.picks) > 0 {
			sh := &h.q.shards[h.shard]
			sh.notedMS, sh.repaused = 0, false
			sh.claim = h.claim(d.s.replica)
			h.q.claims++
			claims = append(claims, sh.claim)
		}
	}
	return claims
}

// maxPassedBy is how many attempts of a namespace's queues and shards without a backlog may
// be dealt before one with a backlog has its turn. After that backlogs have a part of the
// credit of which they make up for as many, however little of it is free at a time: a share
// for every maxPassedBy.
const maxPassedBy = 200

// passedBy are the backlogs whose turn it is though single attempts would take all credit:
// of each namespace the one that has waited longest.
func passedBy(hands []*hand) []*hand {
	var longest []*hand
	for _, h := range hands {
		if !h.isBacklog() || h.q.namespace.passed <= maxPassedBy {
			continue
		}
		i := slices.IndexFunc(longest, func(o *hand) bool { return o.q.namespace == h.q.namespace })
		switch {
		case i < 0:
			longest = append(longest, h)
		case h.dealtAt < longest[i].dealtAt:
			longest[i] = h
		}
	}
	return longest
}

// dealOut deals to hands for as long as there is credit.
func (d *dispatcher) dealOut(hands []*hand) {
	for _, h := range passedBy(hands) {
		d.give(h, h.share())
	}
	// What may be a single attempt comes before a backlog, of which the little that there
	// is credit for is taken in few claims.
	for _, h := range hands {
		if len(h.picks) == 0 && !h.isBacklog() {
			d.give(h, 1)
		}
	}
	playing := slices.Clone(hands)
	for len(playing) > 0 {
		still := playing[:0]
		for _, h := range playing {
			if d.give(h, h.share()) {
				still = append(still, h)
			}
		}
		playing = still
	}
}

// takeTurns puts hands in the order in which they are dealt to: each queue's
// first, then each one's second, and so on; and whoever was dealt to longest ago
// comes first. Of namespaces each has one in its turn, whatever queues it has. When
// credit is short, a queue that is seldom due does not wait
// behind those that always are, in however many shards these have something due.
func takeTurns(hands []*hand) {
	slices.SortStableFunc(hands, func(a, b *hand) int { return cmp.Compare(a.dealtAt, b.dealtAt) })
	turns := make(map[*queue]int)
	last := make(map[*queue]uint64)
	for _, h := range hands {
		h.turn = turns[h.q]
		turns[h.q]++
		if last[h.q] == 0 {
			last[h.q] = h.q.lastDealt()
		}
	}
	slices.SortStableFunc(hands, func(a, b *hand) int {
		return cmp.Or(cmp.Compare(a.turn, b.turn), cmp.Compare(last[a.q], last[b.q]))
	})
	takeNamespaceTurns(hands)
}

// give deals up to n more to a hand, and says whether it may be dealt to again.
func (d *dispatcher) give(h *hand, n int) bool {
	for range n {
		if len(h.picks) == maxPerTurn || h.q.namespace.room == 0 || h.q.namespace.part == 0 || d.roundLeft == 0 {
			return false
		}
		sub := h.q.pick()
		if sub == nil {
			return false
		}
		h.picks = append(h.picks, sub)
		sub.reserved++
		d.dealings++
		h.q.shards[h.shard].dealtAt = d.dealings
		d.gave(h.q.namespace)
		h.q.namespace.passes(h)
	}
	return true
}

// share is how much is dealt at once. What is to be handed out of a backlog is
// cheapest in few large claims, while credit for a single attempt must not lie
// with those that have no more.
func (h *hand) share() int {
	if h.isBacklog() {
		return backlogShare
	}
	return 1
}

// isBacklog says whether more was due after the last claim than it took.
func (h *hand) isBacklog() bool { return h.q.shards[h.shard].backlog }

const backlogShare = 32

// claim is what the hand has been dealt as a claim: a slot for each run of picks
// of the same subscription.
func (h *hand) claim(replica string) *dealt {
	c := &dealt{q: h.q, dealtAt: h.dealtAt, use: h.q.namespace.use, claim: Claim{
		ID: rand.Uint64(), Replica: replica, Queue: h.q.key, Shard: h.shard, Nonces: nonces(len(h.picks)),
	}}
	for i, sub := range h.picks {
		if i == 0 || sub != h.picks[i-1] {
			c.subs = append(c.subs, sub)
			c.claim.Slots = append(c.claim.Slots, Slot{LeaseMS: sub.opts.Lease.Milliseconds(), Worker: sub.opts.Worker})
		}
		c.claim.Slots[len(c.claim.Slots)-1].Count++
	}
	return c
}

// free is the subscription's credit that nothing is out or on its way for, and 0 while it
// has not taken what it was given.
func (sub *Subscription) free() int {
	if sub.isLoaded() {
		return 0
	}
	return sub.maxInFlight - sub.out - sub.reserved
}

func nonces(n int) []uint64 {
	out := make([]uint64, n)
	for i := range out {
		out[i] = rand.Uint64()
	}
	return out
}
