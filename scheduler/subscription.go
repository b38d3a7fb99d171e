package scheduler

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Delivery is one hand-out of an attempt: the task as it was leased, and the
// token of its lease.
type Delivery struct {
	Task *Task
	// Token is empty for an observer.
	Token string
}

// SubscribeOptions say what a worker takes. They have been checked.
type SubscribeOptions struct {
	Namespace string
	Queues    []string
	// MaxInFlight is how many attempts the worker may have out at a time.
	MaxInFlight int
	// Lease is the length of each lease.
	Lease  time.Duration
	Worker string
}

// Subscription is a worker's: it gets due attempts of its queues, never more
// than its credit at a time. An attempt counts until its lease is settled,
// released or over.
type Subscription struct {
	s      *Scheduler
	opts   SubscribeOptions
	queues []QueueKey
	ready  chan struct{}

	// Guarded by the dispatcher's mutex: the credit, the leases out (those
	// waiting among them) and those that a claim under way may yet bring. givenAt
	// is the dispatcher's count of dealings when it last got an attempt.
	maxInFlight, out, reserved int
	givenAt                    uint64
	closed                     bool

	mu      sync.Mutex
	waiting []Delivery
	// load is how many bytes what waits carries. It changes with the dispatcher's.
	load atomic.Int64
}

const (
	// maxLoad is how many bytes may wait for a worker before it is given no more, and
	// maxLoads for all of them before none is given more that has any left, and maxLoadsAll
	// before none is at all: a worker may have credit for thousands of attempts, and read none
	// of them. What is on its way already comes on top.
	maxLoad     = 2 << 20
	maxLoads    = 32 << 20
	maxLoadsAll = 96 << 20
)

// isLoaded says whether so much waits to be taken that nothing more is claimed for it.
func (sub *Subscription) isLoaded() bool {
	load, all := sub.load.Load(), sub.s.dispatcher.load.Load()
	return load > maxLoad || all > maxLoads && load > 0 || all > maxLoadsAll
}

// carries adds what a delivery carries to what waits, or takes it away.
func (sub *Subscription) carries(d Delivery, sign int64) {
	bytes := sign * d.Task.Spec.Bytes()
	all := sub.s.dispatcher.load.Add(bytes)
	was := sub.load.Add(bytes) - bytes
	if sign < 0 && (was > maxLoad || all-bytes > maxLoads) {
		// More may be claimed now.
		signal(sub.s.dispatcher.wake)
	}
}

// Subscribe starts handing out. The caller takes deliveries with Next whenever
// Ready says so, and must call Close.
func (s *Scheduler) Subscribe(opts SubscribeOptions) *Subscription {
	sub := s.newSubscription(opts)
	s.dispatcher.join(sub)
	return sub
}

func (s *Scheduler) newSubscription(opts SubscribeOptions) *Subscription {
	sub := &Subscription{s: s, opts: opts, ready: make(chan struct{}, 1), maxInFlight: opts.MaxInFlight}
	for _, q := range opts.Queues {
		sub.queues = append(sub.queues, QueueKey{opts.Namespace, q})
	}
	return sub
}

// unload takes away what deliveries carry that wait no more.
func (sub *Subscription) unload(gone []Delivery) {
	for _, d := range gone {
		sub.carries(d, -1)
	}
}

// Ready is signalled when deliveries may be waiting.
func (sub *Subscription) Ready() <-chan struct{} { return sub.ready }

// Next takes the delivery that has waited longest, of those whose leases have not
// ended and whose tasks have not been settled while they waited; ok is false when
// none waits, or when those taken before use up the credit, which may have been
// lowered since more was claimed: what waits is Surplus then. From here on it counts
// as handed out, whatever becomes of it, unless it is given back.
func (sub *Subscription) Next() (d Delivery, ok bool) {
	if d, ok = sub.take(); ok {
		sub.s.observeHandOut(d.Task)
	}
	return d, ok
}

func (sub *Subscription) take() (d Delivery, ok bool) {
	sub.s.dispatcher.mu.Lock()
	defer sub.s.dispatcher.mu.Unlock()
	sub.s.dispatcher.expire(sub.s.clock.nowMS())
	sub.mu.Lock()
	defer sub.mu.Unlock()
	switch n := len(sub.waiting); {
	case n == 0:
		return Delivery{}, false
	case sub.out-n >= sub.maxInFlight:
		signal(sub.ready)
		return Delivery{}, false
	}
	d = sub.waiting[0]
	sub.waiting[0] = Delivery{}
	sub.waiting = sub.waiting[1:]
	sub.carries(d, -1)
	sub.s.dispatcher.out.take(d.Task.Key, d.Task.Fence)
	if len(sub.waiting) > 0 {
		signal(sub.ready)
	}
	return d, true
}

// Surplus takes the deliveries that wait beyond the credit, since it was lowered
// after they were claimed. They are to be given back.
func (sub *Subscription) Surplus() []Delivery {
	sub.s.dispatcher.mu.Lock()
	defer sub.s.dispatcher.mu.Unlock()
	sub.mu.Lock()
	defer sub.mu.Unlock()
	n := min(sub.out-sub.maxInFlight, len(sub.waiting))
	if n <= 0 {
		return nil
	}
	kept := len(sub.waiting) - n
	surplus := slices.Clone(sub.waiting[kept:])
	clear(sub.waiting[kept:])
	sub.waiting = sub.waiting[:kept]
	sub.unload(surplus)
	return surplus
}

// SetMaxInFlight changes the credit; 0 means to hand out no more. Lowered, it may
// leave a Surplus.
func (sub *Subscription) SetMaxInFlight(n int) { sub.s.dispatcher.setCredit(sub, n) }

// Close ends the subscription. Deliveries that nobody has taken are given back;
// those taken stay leased.
func (sub *Subscription) Close(ctx context.Context) error {
	sub.s.dispatcher.leave(sub)
	sub.mu.Lock()
	waiting := sub.waiting
	sub.waiting = nil
	sub.unload(waiting)
	sub.mu.Unlock()
	return sub.s.GiveBack(ctx, waiting)
}

// withdraw takes a delivery back that nobody has taken.
func (sub *Subscription) withdraw(key TaskKey, fence Fence) (d Delivery, ok bool) {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	for i, d := range sub.waiting {
		if d.Task.Key == key && d.Task.Fence == fence {
			sub.waiting = slices.Delete(sub.waiting, i, i+1)
			sub.carries(d, -1)
			return d, true
		}
	}
	return Delivery{}, false
}

func (sub *Subscription) push(d Delivery) {
	sub.mu.Lock()
	sub.waiting = append(sub.waiting, d)
	sub.carries(d, 1)
	sub.mu.Unlock()
	signal(sub.ready)
}

// signal wakes the one who waits on c, now or when it next does.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
