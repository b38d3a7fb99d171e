package scheduler_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
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

func (u *unconfirming) PutPolicy(ctx context.Context, rec *scheduler.PolicyRecord, expect int64) (bool, error) {
	return u.put(u.Store.PutPolicy(ctx, rec, expect))
}

func (u *unconfirming) PutPolicyUnlessJobs(ctx context.Context, rec *scheduler.PolicyRecord, expect int64, mark scheduler.JobsMark) (bool, error) {
	return u.put(u.Store.PutPolicyUnlessJobs(ctx, rec, expect, mark))
}

func (u *unconfirming) put(ok bool, err error) (bool, error) {
	if err == nil && u.short.Load() {
		err = errShort
	}
	return ok, err
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

// TestUnconfirmedReportsOfOneBatch has reports of a task that come behind one that
// has looked at it, or has written it, and is not confirmed.
func TestUnconfirmedReportsOfOneBatch(t *testing.T) {
	inShortWorld(t, func(w *world, u *unconfirming) {
		r := failure("a", keyed("k"))
		u.short.Store(true)
		for _, got := range w.s.ReportBatch(w.ctx, []scheduler.Report{r, r}) {
			kindOf(t, got.Err, scheduler.KindUnconfirmed)
		}
		other := w.another()
		behind := []scheduler.Report{success("a", attempt(9)), r}
		kindOf(t, other.ReportBatch(w.ctx, behind)[1].Err, scheduler.KindUnconfirmed)
		u.short.Store(false)
		for _, got := range []scheduler.Reported{other.ReportBatch(w.ctx, behind)[1], w.s.ReportBatch(w.ctx, behind)[1]} {
			equal(t, "error and duplicate", []any{got.Err, got.Answer.Duplicate}, []any{nil, true})
		}
	})
}

// TestUnconfirmedLeaseOfALostAnswerIsNotTold loses the answer to the claim: that it
// was carried out is only read.
func TestUnconfirmedLeaseOfALostAnswerIsNotTold(t *testing.T) {
	u, f := new(unconfirming), new(flaky)
	wrap := func(s scheduler.Store) scheduler.Store {
		f.Store, _ = s.(*memstore.Store)
		u.Store = f
		return u
	}
	inWorldOn(t, wrap, func(w *world) {
		w.report(failure("a"))
		w.pass(time.Hour)
		r := scheduler.NextRequest{Namespace: "ns", TaskID: "a", Lease: time.Minute, Worker: "me"}
		u.short.Store(true)
		f.lose.Store(1)
		_, err := w.s.Next(w.ctx, r)
		kindOf(t, err, scheduler.KindUnconfirmed)
		w.wantState("a", scheduler.StateScheduled)
		u.short.Store(false)
		f.lose.Store(1)
		a, err := w.s.Next(w.ctx, r)
		if err != nil || a.Leased == nil {
			t.Fatalf("%+v, %v", a, err)
		}
		equal(t, "delivery and expiries", []int{a.Leased.Task.Delivery, a.Leased.Task.Expiries}, []int{1, 0})
	})
}

// TestUnconfirmedMovesAreTold wants no answer that counts them as passed over.
func TestUnconfirmedMovesAreTold(t *testing.T) {
	inShortWorld(t, func(w *world, u *unconfirming) {
		w.deadLetters(3)
		u.short.Store(true)
		_, err := w.s.ReplayMany(w.ctx, scheduler.Bulk{Namespace: "ns"})
		kindOf(t, err, scheduler.KindUnconfirmed)
		u.short.Store(false)
		w.replayed(3)
	})
}

// TestPoliciesAreConfirmed repeats calls that find done what they ask for, by a call
// that was not confirmed.
func TestPoliciesAreConfirmed(t *testing.T) {
	inShortWorld(t, func(w *world, u *unconfirming) {
		for i, change := range []func() (*scheduler.PolicyRecord, error){
			func() (*scheduler.PolicyRecord, error) { return w.s.DeletePolicy(w.ctx, "ns", "minute", "") },
			func() (*scheduler.PolicyRecord, error) { return w.s.UndeletePolicy(w.ctx, "ns", "minute") },
		} {
			u.short.Store(true)
			for range 2 {
				_, err := change()
				kindOf(t, err, scheduler.KindUnconfirmed)
			}
			u.short.Store(false)
			rec, err := change()
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "revision", rec.Revision, int64(2+i))
		}
	})
}
