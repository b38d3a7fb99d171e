package scheduler_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/retryd/retryd/scheduler"
)

// unconfirming is a store that confirms what it tells, as long as it is not short of
// replicas, and nothing that it was not asked to confirm.
type unconfirming struct {
	scheduler.Store
	short atomic.Bool
}

var errShort = &scheduler.Error{Kind: scheduler.KindUnconfirmed, Message: "too few replicas", RetryDelay: time.Second}

func (u *unconfirming) Load(ctx context.Context, keys []scheduler.TaskKey) []scheduler.Loaded {
	out := u.Store.Load(ctx, keys)
	for i := range out {
		out[i].Unconfirmed = true
	}
	return out
}

func (u *unconfirming) Confirm(ctx context.Context, keys []scheduler.TaskKey) []scheduler.Loaded {
	out := u.Store.Load(ctx, keys)
	for i := range out {
		if u.short.Load() {
			out[i] = scheduler.Loaded{Err: errShort}
		}
	}
	return out
}

func (u *unconfirming) Commit(ctx context.Context, changes []scheduler.Change) []scheduler.Committed {
	out := u.Store.Commit(ctx, changes)
	for i := range out {
		if u.short.Load() && out[i].Status != scheduler.CommitSkewed {
			out[i].Err = errShort
		}
	}
	return out
}

func (u *unconfirming) Claim(ctx context.Context, claims []scheduler.Claim) []scheduler.Claimed {
	out := u.Store.Claim(ctx, claims)
	for i := range out {
		if u.short.Load() && len(out[i].Tasks) > 0 {
			out[i].Err = errShort
		}
	}
	return out
}

func inShortWorld(t *testing.T, test func(w *world, u *unconfirming)) {
	t.Helper()
	u := new(unconfirming)
	inWorldOn(t, func(s scheduler.Store) scheduler.Store { u.Store = s; return u }, func(w *world) { test(w, u) })
}

// TestAnswersAreConfirmed repeats reports whose first answer was not confirmed: by a
// caller who takes the task for new, by one who does not, and by a worker, here and at
// another replica, which does not know the lease.
func TestAnswersAreConfirmed(t *testing.T) {
	inShortWorld(t, func(w *world, u *unconfirming) {
		other := w.another()
		d := w.leaseOf("leased")
		for name, r := range map[string]scheduler.Report{
			"new":      failure("a", keyed("k")),
			"known":    failure("b", attempt(1)),
			"leased":   failure("", with(d)),
			"finished": success("c"),
		} {
			u.short.Store(true)
			_, err := w.s.Report(w.ctx, r)
			kindOf(t, err, scheduler.KindUnconfirmed)
			if name == "known" {
				bare(&r)
			}
			for _, s := range []*scheduler.Scheduler{w.s, other} {
				_, err := s.Report(w.ctx, r)
				kindOf(t, err, scheduler.KindUnconfirmed)
			}
			u.short.Store(false)
			here := w.report(r)
			there, err := other.Report(w.ctx, r)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			equal(t, name+": duplicate", []bool{here.Duplicate, there.Duplicate}, []bool{true, true})
			w.sameAnswer(here, there)
		}
		equal(t, "records", []int{len(w.load("a").History), len(w.load("b").History), len(w.load("c").History)}, []int{1, 1, 1})
	})
}

// leaseOf reports a task and leases its next attempt.
func (w *world) leaseOf(id string) scheduler.Delivery {
	w.t.Helper()
	w.report(failure(id))
	a, err := w.s.Next(w.ctx, scheduler.NextRequest{Namespace: "ns", TaskID: id, Lease: time.Hour, Wait: time.Hour})
	if err != nil || a.Leased == nil {
		w.t.Fatalf("lease of %s: %+v, %v", id, a, err)
	}
	return *a.Leased
}

// TestUnconfirmedClaimIsNotHandedOut wants attempts to come once they are confirmed,
// and what was claimed before to count for nothing.
func TestUnconfirmedClaimIsNotHandedOut(t *testing.T) {
	inShortWorld(t, func(w *world, u *unconfirming) {
		sub := w.worker(10)
		for _, id := range []string{"a", "b", "c"} {
			w.report(failure(id))
		}
		u.short.Store(true)
		w.pass(time.Hour)
		w.none(sub)
		began := time.Now()
		u.short.Store(false)
		for range 3 {
			d := w.next(sub)
			equal(t, "delivery and expiries", []int{d.Task.Delivery, d.Task.Expiries}, []int{1, 0})
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("they came %s late", took)
		}
	})
}

// TestUnconfirmedLeaseIsNotTold is the same for a caller who asks for one task.
func TestUnconfirmedLeaseIsNotTold(t *testing.T) {
	inShortWorld(t, func(w *world, u *unconfirming) {
		w.report(failure("a"))
		w.pass(time.Hour)
		r := scheduler.NextRequest{Namespace: "ns", TaskID: "a", Lease: time.Minute, Worker: "me"}
		u.short.Store(true)
		_, err := w.s.Next(w.ctx, r)
		kindOf(t, err, scheduler.KindUnconfirmed)
		w.wantState("a", scheduler.StateScheduled)
		u.short.Store(false)
		a, err := w.s.Next(w.ctx, r)
		if err != nil || a.Leased == nil {
			t.Fatalf("%+v, %v", a, err)
		}
		equal(t, "delivery and expiries", []int{a.Leased.Task.Delivery, a.Leased.Task.Expiries}, []int{1, 0})
	})
}
