package simulation

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing/synctest"
	"time"

	"github.com/retryd/retryd/scheduler"
)

// replica is one process of the service, and those that follow it in its place.
type replica struct {
	w      *world
	name   string
	link   *link
	s      *scheduler.Scheduler
	cancel context.CancelFunc
	done   chan error
	// life counts the times that it was killed or stopped.
	life int
	// skewMS is how far its machine's clock is off.
	skewMS *atomic.Int64
	// stopping is an orderly shutdown.
	stopping bool
}

func newReplica(w *world, number int) *replica {
	return &replica{w: w, name: fmt.Sprintf("replica %d", number), skewMS: new(atomic.Int64)}
}

func (r *replica) up() bool { return r.s != nil }

// takes says whether it takes new subscriptions.
func (r *replica) takes() bool { return r.up() && !r.stopping }

// start begins a new process.
func (r *replica) start() {
	if r.up() {
		return
	}
	w, skewMS := r.w, r.skewMS
	r.link = &link{db: w.db, net: w.net, replica: r.name}
	s, err := scheduler.New(r.link, scheduler.Config{
		Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return time.Now().Add(time.Duration(skewMS.Load()) * time.Millisecond) },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.ctx)
	r.s, r.cancel, r.done, r.stopping = s, cancel, make(chan error, 1), false
	done := r.done
	go func() { done <- s.Run(ctx) }()
	synctest.Wait()
	w.note(r.name, "starts")
}

// kill ends the process as a kill -9 does: nothing that it has begun goes on.
func (r *replica) kill() {
	if !r.up() {
		return
	}
	r.w.ledger.killed(r)
	r.link.away.Store(true)
	r.cancel()
	r.s = nil
	r.life++
	for _, k := range r.w.workers {
		if k.replica == r {
			k.cut()
		}
	}
}

// stop ends the process in an orderly way: what was claimed and not sent is given
// back first.
func (r *replica) stop() {
	if !r.takes() {
		return
	}
	r.w.note(r.name, "stops")
	r.stopping = true
	r.s.Drain()
	for _, k := range r.w.workers {
		if k.replica == r {
			k.leave()
		}
	}
	life := r.life
	r.w.after(10*time.Second, func() {
		if r.life == life {
			r.kill()
			r.w.note(r.name, "has stopped")
		}
	})
}

// anyReplica draws one that is up, nil when none is.
func (w *world) anyReplica() *replica {
	var up []*replica
	for _, r := range w.replicas {
		if r.takes() {
			up = append(up, r)
		}
	}
	if len(up) == 0 {
		return nil
	}
	return up[w.rng.IntN(len(up))]
}

// schedule draws the faults of the run.
func (w *world) schedule() {
	p := &w.plan
	some := func(n int, do func()) {
		for range n {
			w.after(w.between(0, p.span), func() {
				w.figures.Faults++
				do()
			})
		}
	}
	pick := func(do func(r *replica)) func() {
		return func() { do(w.replicas[w.rng.IntN(len(w.replicas))]) }
	}
	back := func(r *replica) { w.after(w.between(0, 20*time.Second), r.start) }
	some(p.crashes, pick(func(r *replica) {
		w.note(r.name, "is killed")
		r.kill()
		back(r)
	}))
	some(p.restarts, pick(func(r *replica) {
		r.stop()
		w.after(w.between(11*time.Second, 30*time.Second), r.start)
	}))
	some(p.outages, pick(func(r *replica) { w.outage(w.between(100*time.Millisecond, 8*time.Second), r) }))
	some(p.stores, func() { w.outage(w.between(100*time.Millisecond, 20*time.Second), w.replicas...) })
	some(p.failOvers, w.failOver)
	some(p.steps, func() {
		ms := w.between(0, 4*time.Second).Milliseconds() - 2000
		w.note("store", "its clock steps by %d ms", ms)
		w.ledger.step(ms)
	})
	some(p.skews, pick(func(r *replica) {
		ms := w.between(0, time.Minute).Milliseconds() - 30_000
		if w.chance(0.3) {
			ms /= 100
		}
		w.note(r.name, "its clock is %d ms off", ms)
		r.skewMS.Store(ms)
	}))
	some(p.stalls, func() { w.workers[w.rng.IntN(len(w.workers))].stall() })
	some(p.workers, func() { w.workers[w.rng.IntN(len(w.workers))].change() })
	some(p.operators, w.operate)
	some(p.pulls, w.pullAny)
	some(p.nights, func() {
		w.note("world", "everything is down for hours")
		for _, r := range w.replicas {
			r.kill()
		}
		for _, r := range w.replicas {
			w.after(w.between(time.Hour, 30*time.Hour), r.start)
		}
	})
}

// outage cuts replicas off from the store for a while.
func (w *world) outage(d time.Duration, replicas ...*replica) {
	for _, r := range replicas {
		if !r.up() {
			continue
		}
		link, life := r.link, r.life
		w.note(r.name, "is cut off for %s", d)
		link.away.Store(true)
		w.after(d, func() {
			if r.life == life {
				link.away.Store(false)
			}
		})
	}
}

// failOver has a replica of the store take over, which at the level of some runs had
// not got all yet.
func (w *world) failOver() {
	n := 0
	if w.plan.lossy {
		n = min(w.rng.IntN(40), len(w.db.journal)-w.ledger.base)
	}
	w.note("store", "fails over and loses %d writes", n)
	keys := w.db.failOver(n)
	w.listen()
	slices.SortFunc(keys, compareKeys)
	w.ledger.lose(slices.Compact(keys))
	w.outage(w.between(10*time.Millisecond, 2*time.Second), w.replicas...)
}
