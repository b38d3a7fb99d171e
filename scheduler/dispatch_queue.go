package scheduler

import (
	"container/heap"
	"slices"
)

// queue is what the dispatcher knows of a queue that somebody has subscribed
// to.
type queue struct {
	key       QueueKey
	namespace *namespaceTurn
	subs      []*Subscription
	observers []*onlooker
	// shards is nil as long as nothing has been known to be in any of them, as in most
	// queues of somebody who names them by the thousand.
	shards []queueShard
	// claims are those on their way, unsure ones included.
	claims int
	// unseen says that nothing is known of it.
	unseen bool
	// lookMS is when it must next be looked at, never when nothing is known to be in
	// it, and place where the agenda has it.
	lookMS int64
	place  int
}

// queueShard is a queue's part in one shard.
type queueShard struct {
	// headMS is when it must next be looked at; 0 means that nothing is known to
	// be in it.
	headMS int64
	// notedMS is the earliest that has been noted since the claim under way was
	// dealt, which its answer may not know of; 0 means nothing.
	notedMS int64
	// pausedMS is until when the last claim has found the queue paused, never for
	// good, 0 when it has not: what is noted can be claimed no earlier. It counts until
	// the next recheck, since another replica may resume the queue. repaused says that
	// this one has paused or resumed it since the claim under way was dealt.
	pausedMS int64
	repaused bool
	// backlog is whether more was due after the last claim than it took.
	backlog bool
	// dealtAt is the number of the dealing that was the last for it.
	dealtAt uint64
	// claim is the one that has not been answered yet.
	claim *dealt
}

// queueOf returns the queue of that key, made when it is not there. Nothing is
// known of a new one, so that all of it is looked at.
func (d *dispatcher) queueOf(key QueueKey) *queue {
	q := d.queues[key]
	if q == nil {
		q = &queue{key: key, unseen: true, lookMS: never}
		q.namespace = d.namespaceOf(key.Namespace)
		q.namespace.queues++
		d.unseen = append(d.unseen, key)
		d.queues[key] = q
		heap.Push(&d.agenda, q)
	}
	return q
}

// shardOf returns what is known of a queue's part in a shard, to be changed.
func (d *dispatcher) shardOf(q *queue, shard int) *queueShard {
	if q.shards == nil {
		q.shards = make([]queueShard, d.s.shards)
	}
	return &q.shards[shard]
}

// dropIfIdle forgets a queue that nobody wants anything of. It stays while a claim is
// on its way, whose answer is for it, and not for one that takes its place.
func (d *dispatcher) dropIfIdle(q *queue) {
	if len(q.subs) > 0 || len(q.observers) > 0 || q.claims > 0 {
		return
	}
	delete(d.queues, q.key)
	if q.namespace.queues--; q.namespace.queues == 0 {
		delete(d.namespaces, q.key.Namespace)
	}
	heap.Remove(&d.agenda, q.place)
}

// earliestMS is when the first of those of its shards that count must be looked at, and
// of whose last claim the answer is known.
func (q *queue) earliestMS(counts func(shard int) bool) int64 {
	lookMS := never
	if q.unseen {
		return lookMS
	}
	for i := range q.shards {
		if sh := &q.shards[i]; sh.headMS != 0 && (sh.claim == nil || !sh.claim.unsure) && counts(i) {
			lookMS = min(lookMS, sh.headMS)
		}
	}
	return lookMS
}

// lastDealt is the number of the dealing that was the queue's last.
func (q *queue) lastDealt() uint64 {
	var last uint64
	for i := range q.shards {
		last = max(last, q.shards[i].dealtAt)
	}
	return last
}

// open says whether any subscription has free credit.
func (q *queue) open() bool {
	return slices.ContainsFunc(q.subs, func(sub *Subscription) bool { return sub.free() > 0 })
}

// pick returns the subscription with the most free credit, of several the one
// that has waited longest for an attempt, nil when none has any.
func (q *queue) pick() *Subscription {
	var best *Subscription
	for _, sub := range q.subs {
		if n := sub.free(); n > 0 && (best == nil || n > best.free() || (n == best.free() && sub.givenAt < best.givenAt)) {
			best = sub
		}
	}
	return best
}
