package simulation

import (
	"time"

	"github.com/retryd/retryd/scheduler"
)

const (
	// drainLimit is how long everything may take to come to its end, once the faults
	// are over; the policies have nothing due so late.
	drainLimit = 20 * time.Minute
	// drainGrace is how long after the faults something may still be late.
	drainGrace = 40 * time.Second
	// drainLate is how late it may be after that.
	drainLate = 4 * time.Second
)

// drain ends the faults, has workers there for everything, and wants all to come to
// its end by itself.
func (w *world) drain() {
	if w.problem != "" {
		return
	}
	w.note("world", "the faults are over")
	w.healed = true
	for _, r := range w.replicas {
		if !r.up() {
			r.start()
		}
		r.link.away.Store(false)
	}
	for i, ns := range namespaces {
		k := newWorker(w, len(w.workers))
		k.opts.Namespace, k.opts.Queues, k.opts.MaxInFlight = ns, queues, 100
		w.workers = append(w.workers, k)
		w.tidy(i)
	}
	for _, k := range w.workers {
		k.stalled = time.Time{}
	}
	healed := time.Now()
	w.until(healed.Add(drainLimit), func() bool {
		if time.Since(healed) > drainGrace {
			w.late()
		}
		return w.drained()
	})
	if w.problem == "" && !w.drained() {
		for _, acc := range w.ledger.order {
			if t := acc.now; t != nil && underWay(t) {
				w.wrong("I8", "%s/%s is still %s", acc.key.Namespace, acc.key.ID, t.State)
			}
		}
	}
	w.ledger.looks = lookAtAll - 1
	w.ledger.look()
}

// tidy does what an operator does after an outage: it resumes what was paused, and
// releases what is held.
func (w *world) tidy(namespace int) {
	ns := namespaces[namespace]
	r := w.anyReplica()
	if r != nil {
		for _, name := range queues {
			if q := (scheduler.QueueKey{Namespace: ns, Name: name}); w.ledger.pausedNow(q, w.db.nowMS()) {
				w.resume(r, q)
			}
		}
		for _, acc := range w.ledger.order {
			if t := acc.now; t != nil && t.State == scheduler.StateHeld && acc.key.Namespace == ns {
				w.releaseHeld(r, ns)
				break
			}
		}
	}
	w.after(5*time.Second, func() { w.tidy(namespace) })
}

func underWay(t *scheduler.Task) bool {
	return t.State == scheduler.StateScheduled || t.State == scheduler.StateLeased || t.State == scheduler.StateHeld
}

// drained says whether nothing is under way any more.
func (w *world) drained() bool {
	for _, acc := range w.ledger.order {
		if acc.now != nil && underWay(acc.now) {
			return false
		}
	}
	return true
}

// late wants what is due to be handed out at once, now that nothing is in the way.
func (w *world) late() {
	nowMS := w.db.nowMS()
	for _, acc := range w.ledger.order {
		t := acc.now
		if t == nil || t.Spec.Queue == "" || w.ledger.pausedNow(t.Queue(), nowMS) {
			continue
		}
		if lookMS, ok := t.LookMS(); ok && nowMS-lookMS > drainLate.Milliseconds() {
			w.wrong("I8", "%s/%s is %s and %d ms late, and nothing is in the way", acc.key.Namespace, acc.key.ID, t.State, nowMS-lookMS)
		}
	}
}
