package scheduler

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"
)

// retryPause is how long the dispatcher waits before it repeats a claim that the
// store did not answer.
const retryPause = 50 * time.Millisecond

// dealt is credit on its way: a claim, and the subscription of each of its
// slots.
type dealt struct {
	claim Claim
	subs  []*Subscription
	q     *queue
}

// deal takes the free credit of the subscribers and deals it, one at a time and
// round robin, over the queues and shards that have something due, at most
// maxPerTurn to each, so that a backlog in one starves no other. With nothing to
// deal, wakeMS is when there may be.
func (d *dispatcher) deal() (claims []*dealt, wakeMS int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sleepMS = never
	if d.stopped {
		d.answerWaiters(func(*queue) bool { return false })
		return nil, never
	}
	nowMS := d.s.clock.nowMS()
	d.out.expire(nowMS)
	wakeMS = d.out.earliestMS()
	var hands []*hand
	busy := make(map[*queue]bool)
	for i := range d.order {
		// Another queue is first each time: a fixed order would favour it when
		// credit is short.
		q := d.order[(d.turn+i)%len(d.order)]
		open := q.free() != nil
		for shard := range q.shards {
			sh := &q.shards[shard]
			switch {
			case sh.unsure != nil:
				claims = append(claims, sh.unsure)
				busy[q] = true
			case sh.headMS == 0 || !open:
			case sh.headMS <= nowMS:
				hands = append(hands, &hand{q: q, shard: shard})
				busy[q] = true
			default:
				wakeMS = min(wakeMS, sh.headMS)
			}
		}
	}
	d.answerWaiters(func(q *queue) bool { return busy[q] })
	d.turn++
	claims = append(claims, d.dealHands(hands)...)
	d.sleepMS = wakeMS
	return claims, wakeMS
}

// looked returns a channel that is closed once whatever was due for the
// subscription when it was made has been given to it.
func (d *dispatcher) looked(sub *Subscription) <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := waiter{sub: sub, done: make(chan struct{})}
	d.waiters = append(d.waiters, w)
	signal(d.wake)
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
	count map[*Subscription]int
	subs  []*Subscription
	total int
}

func (d *dispatcher) dealHands(hands []*hand) []*dealt {
	if len(hands) == 0 {
		return nil
	}
	playing := append([]*hand(nil), hands...)
	for len(playing) > 0 {
		still := playing[:0]
		for _, h := range playing {
			sub := h.q.free()
			if sub == nil || h.total == maxPerTurn {
				continue
			}
			if h.count == nil {
				h.count = make(map[*Subscription]int)
			}
			if h.count[sub] == 0 {
				h.subs = append(h.subs, sub)
			}
			h.count[sub]++
			h.total++
			sub.reserved++
			still = append(still, h)
		}
		playing = still
	}
	var claims []*dealt
	for _, h := range hands {
		if h.total == 0 {
			continue
		}
		c := &dealt{q: h.q, subs: h.subs, claim: Claim{
			ID: rand.Uint64(), Replica: d.s.replica, Queue: h.q.key, Shard: h.shard, Nonces: nonces(h.total),
		}}
		for _, sub := range h.subs {
			c.claim.Slots = append(c.claim.Slots, Slot{Count: h.count[sub], LeaseMS: sub.opts.Lease.Milliseconds(), Worker: sub.opts.Worker})
		}
		h.q.shards[h.shard].notedMS = 0
		claims = append(claims, c)
	}
	return claims
}

// free returns the subscription with the most free credit, nil when none has
// any.
func (q *queue) free() *Subscription {
	var best *Subscription
	most := 0
	for _, sub := range q.subs {
		if n := sub.maxInFlight - sub.out - sub.reserved; n > most {
			best, most = sub, n
		}
	}
	return best
}

// hand claims what was dealt and gives it to the subscriptions. It is false when
// the store did not answer some of it.
func (d *dispatcher) hand(ctx context.Context, deal []*dealt) bool {
	claims := make([]Claim, len(deal))
	for i, c := range deal {
		claims[i] = c.claim
	}
	ok := true
	var tasks []*Task
	var subs []*Subscription
	for i, got := range d.s.store.Claim(ctx, claims) {
		d.take(deal[i], got)
		if got.Err != nil {
			ok = false
			d.s.log.WarnContext(ctx, "cannot claim due attempts", "queue", deal[i].claim.Queue.Name, "error", got.Err)
			continue
		}
		for n, t := range got.Tasks {
			tasks, subs = append(tasks, t), append(subs, deal[i].subOf(n))
		}
	}
	d.deliver(ctx, tasks, subs)
	for _, c := range deal {
		d.settleDeal(c)
	}
	return ok
}

// subOf returns the subscription of the claim's n-th task.
func (c *dealt) subOf(n int) *Subscription {
	for i, slot := range c.claim.Slots {
		if n < slot.Count {
			return c.subs[i]
		}
		n -= slot.Count
	}
	return c.subs[len(c.subs)-1]
}

// take notes what a claim has told of its queue and shard.
func (d *dispatcher) take(c *dealt, got Claimed) {
	d.mu.Lock()
	defer d.mu.Unlock()
	sh := &c.q.shards[c.claim.Shard]
	if got.Err != nil {
		sh.unsure = c
		return
	}
	sh.unsure = nil
	if len(got.Tasks) == 0 && got.NextMS > got.NowMS && got.NextMS <= d.s.clock.nowMS() {
		// Our clock runs ahead of the store's: nothing is early, but asking again
		// at once would only spin.
		d.s.clock.correct(got.NowMS)
	} else {
		d.s.clock.heard(got.NowMS)
	}
	sh.headMS = earlier(got.NextMS, sh.notedMS)
}

// settleDeal ends the reservation of a deal whose claim has been answered.
func (d *dispatcher) settleDeal(c *dealt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.q.shards[c.claim.Shard].unsure == c {
		return
	}
	for i, sub := range c.subs {
		sub.reserved -= c.claim.Slots[i].Count
	}
	d.dropIfIdle(c.q)
}

// deliver gives claimed tasks to their subscriptions. What may not be handed out
// now is put back, and what belongs to a subscription that has ended meanwhile
// is given back.
func (d *dispatcher) deliver(ctx context.Context, tasks []*Task, subs []*Subscription) {
	if len(tasks) == 0 {
		return
	}
	var orphans []Delivery
	for i, ok := range d.s.admit(ctx, tasks) {
		if !ok {
			continue
		}
		t := tasks[i]
		delivery := Delivery{Task: t, Token: t.Lease(d.s.shards).String()}
		if !d.lend(t, subs[i], delivery) {
			orphans = append(orphans, delivery)
		}
	}
	if err := d.s.GiveBack(ctx, orphans); err != nil {
		d.s.log.WarnContext(ctx, "attempts of a subscription that has ended could not be given back; their leases will expire", "error", err)
	}
}

// lend counts a lease against its subscription's credit and hands it over. It
// is false when the subscription has ended.
func (d *dispatcher) lend(t *Task, sub *Subscription, delivery Delivery) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if sub.closed {
		return false
	}
	d.out.add(t, sub)
	if q := d.queues[t.Queue()]; q != nil {
		for _, o := range q.observers {
			o.claimed(t)
		}
	}
	sub.push(delivery)
	return true
}

func nonces(n int) []uint64 {
	out := make([]uint64, n)
	for i := range out {
		out[i] = rand.Uint64()
	}
	return out
}
