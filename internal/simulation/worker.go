package simulation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/retryd/retryd/scheduler"
)

// worker takes attempts from a subscription.
type worker struct {
	w    *world
	name string
	opts scheduler.SubscribeOptions

	replica *replica
	sub     *scheduler.Subscription
	// stalled is until when it reads nothing; pace is how long it takes, at most, from
	// one read to the next.
	stalled time.Time
	pace    time.Duration
	// gone says that it is dead: another takes its place.
	gone bool
}

func newWorker(w *world, number int) *worker {
	k := &worker{w: w, name: fmt.Sprintf("worker %d", number)}
	k.opts = scheduler.SubscribeOptions{
		Namespace: namespaces[number%2], Worker: k.name,
		MaxInFlight: 1 + w.rng.IntN(4), Lease: w.between(2*time.Second, 12*time.Second).Truncate(time.Millisecond),
	}
	if w.chance(0.4) {
		k.pace = time.Second
	}
	first := w.rng.IntN(len(queues))
	for i := range 1 + w.rng.IntN(len(queues)) {
		k.opts.Queues = append(k.opts.Queues, queues[(first+i)%len(queues)])
	}
	k.connectSoon()
	return k
}

func (k *worker) connectSoon() {
	k.w.after(k.w.between(50*time.Millisecond, 2*time.Second), k.connect)
}

// connect subscribes at some replica.
func (k *worker) connect() {
	if k.sub != nil || k.gone {
		return
	}
	r := k.w.anyReplica()
	if r == nil {
		k.connectSoon()
		return
	}
	k.w.note(k.name, "subscribes at %s", r.name)
	k.replica, k.sub = r, r.s.Subscribe(k.opts)
}

// cut is the end of its stream by the end of the replica.
func (k *worker) cut() {
	k.replica, k.sub = nil, nil
	k.connectSoon()
}

// leave ends its stream, so that the replica gives back what it has not sent.
func (k *worker) leave() {
	if k.sub == nil {
		return
	}
	sub := k.sub
	k.w.ask(k.replica, 10*time.Second, func(ctx context.Context, _ *scheduler.Scheduler) {
		// What could not be given back shows in the store.
		_ = sub.Close(ctx)
	}, func(bool) {})
	k.cut()
}

// take takes what waits, and says whether anything did.
func (k *worker) take() (took bool) {
	if k.sub == nil || time.Now().Before(k.stalled) {
		return false
	}
	for {
		d, ok := k.sub.Next()
		if !ok {
			return took
		}
		took = true
		if h := k.w.ledger.handedOut(k.name, k.replica, d, false); h != nil {
			k.w.work(h)
		}
		if k.pace > 0 && !k.w.healed {
			k.rest(k.w.between(0, k.pace))
			return took
		}
	}
}

func (k *worker) stall() {
	d := k.w.between(2*time.Second, 30*time.Second)
	k.w.note(k.name, "reads nothing for %s", d)
	k.rest(d)
}

// rest has it read nothing for a while, and then again.
func (k *worker) rest(d time.Duration) {
	if until := time.Now().Add(d); until.After(k.stalled) {
		k.stalled = until
		k.w.after(d, func() {})
	}
}

// change has it die, move to another replica, or want more or less.
func (k *worker) change() {
	if k.sub == nil {
		return
	}
	w := k.w
	switch w.rng.IntN(3) {
	case 0:
		w.note(k.name, "dies")
		for _, h := range w.ledger.out(k.name) {
			h.abandoned = true
		}
		k.leave()
	case 1:
		w.note(k.name, "moves")
		k.leave()
	default:
		n := w.rng.IntN(6)
		w.note(k.name, "wants %d at a time", n)
		k.opts.MaxInFlight = n
		k.sub.SetMaxInFlight(n)
		w.giveBack(k.replica, k.sub.Surplus()...)
		if n == 0 {
			w.after(w.between(time.Second, 20*time.Second), func() {
				if k.opts.MaxInFlight = 2; k.sub != nil {
					k.sub.SetMaxInFlight(2)
				}
			})
		}
	}
}

// work draws what becomes of an attempt that has been handed out.
func (w *world) work(h *handout) {
	if w.healed {
		w.after(w.between(time.Millisecond, 200*time.Millisecond), func() { w.settleHandout(h, true) })
		return
	}
	lease := time.Duration(h.task.LeaseMS) * time.Millisecond
	within := func(least, most float64) time.Duration {
		return w.between(time.Duration(least*float64(lease)), time.Duration(most*float64(lease)))
	}
	switch x := w.rng.Float64(); {
	case x < 0.08:
		w.note(h.holder, "will say nothing of attempt %d of %s", h.task.Attempt, h.task.Key.ID)
		h.abandoned = true
	case x < 0.16:
		w.after(within(0, 1.2), func() { w.release(h) })
	case x < 0.30:
		// Too late, perhaps.
		if w.chance(0.5) {
			w.after(within(0.3, 1.1), func() { w.extend(h) })
		}
		w.after(within(0.9, 2.5), func() { w.settleHandout(h, w.chance(0.3)) })
	default:
		w.after(within(0, 0.7), func() { w.settleHandout(h, w.chance(0.35)) })
	}
}

// settleHandout reports what became of an attempt, by any replica, perhaps more than
// once.
func (w *world) settleHandout(h *handout, success bool) {
	if h.abandoned {
		return
	}
	h.said++
	rep := &report{tag: fmt.Sprintf("%s/%s/w%d.%d", h.task.Key.Namespace, h.task.Key.ID, h.number, h.said), from: h.holder, handout: h}
	rep.r = scheduler.Report{Namespace: h.task.Key.Namespace, Token: h.token}
	if w.chance(0.3) {
		rep.r.ID, rep.r.Attempt = h.task.Key.ID, h.task.Attempt
	}
	rep.says(w, success)
	if w.healed || w.chance(0.8) {
		w.sendSoon(rep)
	} else {
		// With something else in one call.
		b := w.books[w.rng.IntN(len(w.books))]
		w.send(tries, rep, b.report(false, 1+w.rng.IntN(3)))
	}
	if w.healed {
		return
	}
	for range w.rng.IntN(3) {
		if w.chance(0.4) {
			w.after(w.between(0, 15*time.Second), func() { w.sendSoon(rep) })
		}
	}
	// Something else on the same attempt, which it is too late for.
	if w.chance(0.2) && h.said == 1 {
		w.after(w.between(0, 30*time.Second), func() { w.settleHandout(h, w.chance(0.5)) })
	}
}

// release hands an attempt back.
func (w *world) release(h *handout) {
	r := w.anyReplica()
	if r == nil || h.abandoned {
		return
	}
	delay := w.between(0, 5*time.Second).Truncate(time.Millisecond)
	var err error
	w.ask(r, 3*time.Second, func(ctx context.Context, s *scheduler.Scheduler) {
		err = s.Release(ctx, h.task.Key.Namespace, h.token, delay)
	}, func(lost bool) {
		if lost {
			return
		}
		w.note(h.holder, "releases attempt %d of %s: %v", h.task.Attempt, h.task.Key.ID, err)
		w.ledger.leaseAnswered(h, err)
		if err == nil && w.chance(0.3) {
			// It may come back once more, and after that it is stale.
			w.after(w.between(0, 10*time.Second), func() { w.settleHandout(h, false) })
		}
	})
}

// extend has a lease end later.
func (w *world) extend(h *handout) {
	r := w.anyReplica()
	if r == nil || h.abandoned {
		return
	}
	var d time.Duration
	if w.chance(0.5) {
		d = w.between(time.Second, 20*time.Second).Truncate(time.Millisecond)
	}
	var got scheduler.Extended
	w.ask(r, 3*time.Second, func(ctx context.Context, s *scheduler.Scheduler) {
		got = s.Extend(ctx, h.task.Key.Namespace, []string{h.token}, d)[0]
	}, func(lost bool) {
		if lost {
			return
		}
		w.note(h.holder, "extends attempt %d of %s: %v", h.task.Attempt, h.task.Key.ID, got.Err)
		w.ledger.leaseAnswered(h, got.Err)
		if got.Err == nil {
			w.ledger.extended(h, got.LeaseEndMS)
		}
	})
}

// isKind says whether an error is of that kind.
func isKind(err error, kind scheduler.Kind) bool {
	var e *scheduler.Error
	return errors.As(err, &e) && e.Kind == kind
}
