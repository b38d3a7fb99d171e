package scheduler

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// dispatcher hands due attempts of the queues that this replica's workers have
// subscribed to. It knows when the next one falls due in each queue and shard,
// sleeps exactly until then, and is woken early by a report of its own or by a
// hint from another replica. It never polls for work; once a second it asks the
// store whether it has missed anything.
type dispatcher struct {
	s    *Scheduler
	wake chan struct{}
	// rechecking is full while a recheck is under way, looking while queues are looked
	// at, and of returning what is of a server of the store while attempts go back to it.
	// The map is the loop's alone.
	rechecking, looking chan struct{}
	returning           map[string]chan struct{}
	// others are all who work beside the loop.
	others sync.WaitGroup

	// load is how many bytes the deliveries carry that wait for all subscriptions.
	load atomic.Int64

	mu sync.Mutex
	// hintsMissed is whether hints may have been since the last recheck began.
	hintsMissed bool
	// failing is whether the last claim failed.
	failing bool
	queues  map[QueueKey]*queue
	// agenda holds the same queues.
	agenda agenda
	// namespaces are those that the queues are in.
	namespaces map[string]*namespaceTurn
	// servers are the store's, by shard, and serverCount is how many they are. flights is
	// for how many namespaces claims are on their way to each.
	servers     []string
	serverCount int
	flights     map[string]int
	// unseen are those of them that nothing is known of, and newcomers the observers that
	// have been told nothing of theirs.
	unseen    []QueueKey
	newcomers []*onlooker
	// unsure are the claims that are to be repeated.
	unsure []*dealt
	// round counts the rounds in which is dealt, dealings what has been dealt.
	round, dealings uint64
	// roundLeft is how much more may be dealt in the round under way.
	roundLeft int
	// waiters want to know when their subscriptions have been looked at.
	waiters []waiter
	out     outLeases
	// subs are all subscriptions there are.
	subs map[*Subscription]struct{}
	// returns are what is to be given back, by the server that has it.
	returns map[string][]Delivery
	stopped bool
	// sleepMS is when the loop will wake by itself: anything earlier has to wake
	// it.
	sleepMS int64
}

const (
	// maxPerTurn bounds what one claim takes, and so how long a script runs and
	// how long other queues wait.
	maxPerTurn = 100
	// fallbackInterval is how often the dispatcher asks the store what it should
	// have been told.
	fallbackInterval = time.Second
	// never is later than every due time.
	never = int64(1<<63 - 1)
)

func newDispatcher(s *Scheduler) *dispatcher {
	return &dispatcher{
		s:    s,
		wake: make(chan struct{}, 1),

		rechecking: make(chan struct{}, 1),
		looking:    make(chan struct{}, 1),
		returning:  make(map[string]chan struct{}),
		returns:    make(map[string][]Delivery),

		serverCount: 1,
		flights:     make(map[string]int),

		queues: make(map[QueueKey]*queue),
		subs:   make(map[*Subscription]struct{}),
		out:    outLeases{of: make(map[TaskKey]*outLease)},

		namespaces: make(map[string]*namespaceTurn),
	}
}

// run hands out until ctx ends.
func (d *dispatcher) run(ctx context.Context) error {
	defer d.others.Wait()
	fallback := time.NewTicker(fallbackInterval)
	defer fallback.Stop()
	// It begins at once. A timer of 0 s would do, but two of them in one synctest bubble end
	// the race detector: golang/go#78156.
	signal(d.wake)
	timer := time.NewTimer(fallbackInterval)
	defer timer.Stop()
	for {
		recheck := false
		select {
		case <-ctx.Done():
			return nil
		case <-fallback.C:
			recheck = true
		case <-timer.C:
		case <-d.wake:
		}
		// What else has come meanwhile belongs to the same turn.
		select {
		case <-fallback.C:
			recheck = true
		default:
		}
		select {
		case <-d.wake:
		default:
		}
		if recheck || d.missesHints() {
			d.startRecheck(ctx)
		}
		if pause := d.runOnce(ctx); pause > 0 {
			timer.Reset(pause)
		} else {
			signal(d.wake)
		}
	}
}

// runOnce has all claimed and delivered that is due and that there is credit for, and
// returns how long to sleep.
func (d *dispatcher) runOnce(ctx context.Context) time.Duration {
	for ctx.Err() == nil {
		d.startLook(ctx)
		flights, wakeMS := d.deal(d.s.store.Servers(ctx))
		d.startReturn(ctx)
		if len(flights) == 0 {
			if wakeMS == never {
				return fallbackInterval
			}
			return max(0, d.s.clock.until(wakeMS))
		}
		for _, deal := range flights {
			d.fly(ctx, deal)
		}
	}
	return 0
}

// join adds a subscription.
func (d *dispatcher) join(sub *Subscription) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.add(sub)
}

func (d *dispatcher) add(sub *Subscription) {
	for _, key := range sub.queues {
		q := d.queueOf(key)
		q.subs = append(q.subs, sub)
	}
	d.subs[sub] = struct{}{}
	signal(d.wake)
}

// leave removes a subscription; its leases stay.
func (d *dispatcher) leave(sub *Subscription) {
	d.mu.Lock()
	defer d.mu.Unlock()
	sub.closed = true
	delete(d.subs, sub)
	for _, key := range sub.queues {
		if q := d.queues[key]; q != nil {
			q.subs = remove(q.subs, sub)
			d.dropIfIdle(q)
		}
	}
}

func remove[T comparable](list []T, x T) []T {
	if i := slices.Index(list, x); i >= 0 {
		return slices.Delete(list, i, i+1)
	}
	return list
}

func (d *dispatcher) setCredit(sub *Subscription, n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	sub.maxInFlight = n
	signal(d.wake)
}

// stop ends the handing out; what is out can still be settled.
func (d *dispatcher) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopped = true
}

// moved takes note of a task's change that this replica has written, or finds when it looks:
// another has made it then, or this one in a call that the store has not answered. Without
// that a credit would be missing, or what is due not known, until the next recheck.
func (d *dispatcher) moved(before, after *Task) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if before != nil && before.State == StateLeased {
		if after != nil && after.State == StateLeased && after.Fence == before.Fence {
			d.out.extend(after.Key, after.Fence, after.LeaseEndMS)
		} else if d.out.free(before.Key, before.Fence) {
			d.wakeFor(d.queues[before.Queue()])
		}
	}
	if after == nil {
		return
	}
	if lookMS, ok := after.LookMS(); ok {
		d.note(Hint{Queue: after.Queue(), Shard: ShardOf(after.Key, d.s.shards), DueMS: lookMS})
	}
}

// hinted takes note of another replica's change.
func (d *dispatcher) hinted(h Hint) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.note(h)
}

// missed takes note that hints may have been lost.
func (d *dispatcher) missed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hintsMissed = true
	signal(d.wake)
}

func (d *dispatcher) missesHints() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.hintsMissed
}

func (d *dispatcher) note(h Hint) {
	q := d.queues[h.Queue]
	if q == nil || h.Shard >= d.s.shards {
		return
	}
	for _, o := range q.observers {
		o.note(h)
	}
	sh := d.shardOf(q, h.Shard)
	sh.notedMS = earlier(sh.notedMS, h.DueMS)
	headMS := earlier(sh.headMS, sh.open(h.DueMS))
	if headMS == sh.headMS {
		return
	}
	sh.headMS = headMS
	d.agenda.moved(q)
	if headMS < d.sleepMS {
		d.wakeFor(q)
	}
}

// open is when something that falls due at dueMS can be claimed; 0 is never.
func (sh *queueShard) open(dueMS int64) int64 {
	switch {
	case dueMS == 0 || sh.pausedMS == never:
		return 0
	default:
		return max(dueMS, sh.pausedMS)
	}
}

// repaused takes note of a queue that this replica has paused or resumed: the next
// claim tells how it stands with it.
func (d *dispatcher) repaused(key QueueKey) {
	d.mu.Lock()
	defer d.mu.Unlock()
	q := d.queues[key]
	if q == nil {
		return
	}
	for shard := range d.s.shards {
		sh := d.shardOf(q, shard)
		sh.pausedMS, sh.repaused, sh.headMS = 0, true, 1
	}
	d.agenda.moved(q)
	signal(d.wake)
}

// earlier returns the earlier of two moments, of which 0 is none.
func earlier(a, b int64) int64 {
	if a == 0 || (b != 0 && b < a) {
		return b
	}
	return a
}
