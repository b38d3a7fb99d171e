package scheduler

import (
	"context"
	"errors"
	"slices"
	"time"
)

// retryPause is how long the dispatcher waits before it repeats a claim that the
// store did not answer.
const retryPause = 50 * time.Millisecond

// hand claims what was dealt and gives it to the subscriptions. It returns the error of
// what the store did not answer.
func (d *dispatcher) hand(ctx context.Context, deal []*dealt) error {
	claims := make([]Claim, len(deal))
	for i, c := range deal {
		claims[i] = c.claim
	}
	var failed error
	var tasks []*Task
	var of []*dealt
	var unconfirmed []Delivery
	for i, got := range d.s.store.Claim(ctx, claims) {
		d.s.observeClaim(&got)
		if IsUnconfirmed(got.Err) && len(got.Tasks) > 0 {
			// Their leases may be lost yet, and others given. To keep them until that is
			// known would let them expire, and count against tasks that nobody had.
			unconfirmed = append(unconfirmed, undelivered(got.Tasks)...)
			failed = got.Err
			// What is given back is due. It waits a moment, as if its queue were paused, or
			// it would be claimed and given back without end.
			got = Claimed{NowMS: got.NowMS, Paused: true, NextMS: got.NowMS + retryPause.Milliseconds()}
		}
		d.take(deal[i], got)
		if got.Err != nil {
			failed = got.Err
			continue
		}
		for _, t := range got.Tasks {
			tasks, of = append(tasks, t), append(of, deal[i])
		}
	}
	d.deliver(ctx, tasks, of)
	d.giveBack(ctx, unconfirmed)
	for _, c := range deal {
		d.settleDeal(c)
	}
	return failed
}

// tell logs that claims have begun to fail, and that they no longer do: an outage
// is told twice, however long it lasts.
func (d *dispatcher) tell(ctx context.Context, failed error) {
	d.mu.Lock()
	failing := failed != nil || d.failing && len(d.unsure) > 0
	told := failing == d.failing
	d.failing = failing
	d.mu.Unlock()
	switch {
	case told:
	case failing:
		d.s.log.WarnContext(ctx, "due attempts cannot be claimed", "error", failed, "cause", errors.Unwrap(failed))
	default:
		d.s.log.InfoContext(ctx, "due attempts can be claimed again")
	}
}

// subOf returns the subscription of a task that the claim took. Its nonce tells
// the place: an answer may lack tasks that were taken with it.
func (c *dealt) subOf(t *Task) *Subscription {
	n := slices.Index(c.claim.Nonces, t.Fence.Nonce)
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
	defer d.agenda.moved(c.q)
	sh := &c.q.shards[c.claim.Shard]
	repeated := c.unsure
	if got.Err != nil {
		c.claim.Repeats++
		if !repeated {
			c.unsure = true
			d.unsure = append(d.unsure, c)
		}
		return
	}
	c.taken = len(got.Tasks) - len(got.Expired)
	sh.claim = nil
	if repeated {
		c.unsure = false
		d.unsure = remove(d.unsure, c)
	}
	if len(got.Tasks) == 0 {
		// What there was has been taken before, and only the word of it came late: this
		// was not its turn.
		sh.dealtAt = c.dealtAt
	}
	if len(got.Tasks) == 0 && got.NextMS > got.NowMS && got.NextMS <= d.s.clock.nowMS() {
		// Our clock runs ahead of the store's: nothing is early, but asking again
		// at once would only spin.
		d.s.clock.correct(got.NowMS)
	} else {
		d.s.clock.heard(got.NowMS)
	}
	sh.pausedMS = 0
	switch {
	case got.Paused && sh.repaused:
		// It may have been resumed since.
		sh.headMS, sh.repaused = 1, false
		return
	case got.Paused && got.NextMS == 0:
		sh.pausedMS = never
	case got.Paused:
		sh.pausedMS = got.NextMS
	}
	sh.headMS = earlier(got.NextMS, sh.open(sh.notedMS))
	sh.backlog = len(got.Tasks) > 0 && sh.headMS != 0 && sh.headMS <= got.NowMS
	if len(got.Tasks) == 0 && !repeated && sh.headMS != 0 && sh.headMS <= got.NowMS {
		// A claim that was not a repeat took nothing of what is due, which this
		// version then cannot read: asking again at once would only spin. The recheck
		// brings it up again.
		sh.headMS = earlier(got.NowMS+fallbackInterval.Milliseconds(), sh.notedMS)
	}
}

// settleDeal ends the reservation of a deal whose claim has been made, and the deal when
// that was answered.
func (d *dispatcher) settleDeal(c *dealt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c.unreserve()
	if c.unsure {
		return
	}
	if c.use != nil {
		c.use.leases.added.Add(int64(c.taken))
		c.use.leases.reserved.Add(-c.late)
	}
	c.q.claims--
	d.dropIfIdle(c.q)
}

// unreserve frees the credit that was dealt, and the room of the quota.
func (c *dealt) unreserve() {
	if c.unreserved {
		return
	}
	c.unreserved = true
	for i, sub := range c.subs {
		sub.reserved -= c.claim.Slots[i].Count
		if c.use != nil {
			c.use.leases.reserved.Add(int64(-c.claim.Slots[i].Count))
		}
	}
}

// deliver gives claimed tasks to the subscriptions that they were dealt. What may not be
// handed out now is put back, and what belongs to a subscription that has ended meanwhile,
// or given its credit to others, is given back.
func (d *dispatcher) deliver(ctx context.Context, tasks []*Task, of []*dealt) {
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
		if !d.lend(t, of[i], delivery) {
			orphans = append(orphans, delivery)
		}
	}
	d.giveBack(ctx, orphans)
}

// lend counts a lease against its subscription's credit and hands it over. It
// is false when the subscription has ended, or has no more credit for it, and once
// nothing is handed out any more.
func (d *dispatcher) lend(t *Task, c *dealt, delivery Delivery) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	sub := c.subOf(t)
	if d.stopped || sub.closed || c.unreserved && !c.findRoom(sub) {
		return false
	}
	key := t.Queue()
	q := d.queues[key]
	if q != nil {
		key = q.key
	}
	d.out.add(t, sub, key)
	d.dealings++
	sub.givenAt = d.dealings
	if q != nil {
		for _, o := range q.observers {
			o.claimed(t)
		}
	}
	sub.push(delivery)
	return true
}

// findRoom says whether there is still credit and room in the quota for one that a claim
// took whose answer came late.
func (c *dealt) findRoom(sub *Subscription) bool {
	if sub.free() <= 0 {
		return false
	}
	if c.use != nil {
		if !c.use.leases.reserve(1) {
			return false
		}
		c.late++
	}
	return true
}
