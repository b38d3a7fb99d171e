package scheduler_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
)

// flaky is a store whose replies get lost, or whose calls do not arrive.
type flaky struct {
	*memstore.Store
	// lose and miss are how many of the next mutating calls are carried out
	// without a reply, and not carried out at all.
	lose, miss atomic.Int32
}

var errAway = &scheduler.Error{Kind: scheduler.KindUnavailable, Message: "the store is away"}

func (f *flaky) fails(carryOut func()) bool {
	if f.lose.Add(-1) >= 0 {
		carryOut()
		return true
	}
	return f.miss.Add(-1) >= 0
}

func (f *flaky) Commit(ctx context.Context, changes []scheduler.Change) []scheduler.Committed {
	if f.fails(func() { f.Store.Commit(ctx, changes) }) {
		out := make([]scheduler.Committed, len(changes))
		for i := range out {
			out[i].Err = errAway
		}
		return out
	}
	return f.Store.Commit(ctx, changes)
}

func (f *flaky) Claim(ctx context.Context, claims []scheduler.Claim) []scheduler.Claimed {
	if f.fails(func() { f.Store.Claim(ctx, claims) }) {
		out := make([]scheduler.Claimed, len(claims))
		for i := range out {
			out[i].Err = errAway
		}
		return out
	}
	return f.Store.Claim(ctx, claims)
}

// inFlakyWorld is inWorld on a flaky store.
func inFlakyWorld(t *testing.T, test func(w *world, f *flaky)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &flaky{Store: memstore.New(memstore.Config{Shards: 3})}
		test(newWorld(t, f), f)
	})
}

func (w *world) within(d time.Duration) {
	ctx, cancel := context.WithTimeout(w.ctx, d)
	w.t.Cleanup(cancel)
	w.ctx = ctx
}

func TestLostReplyIsOneReport(t *testing.T) {
	inFlakyWorld(t, func(w *world, f *flaky) {
		w.within(time.Hour)
		sub := w.worker(1)
		f.lose.Store(1)
		equal(t, "duplicate", w.report(failure("a")).Duplicate, false)
		equal(t, "records", len(w.load("a").History), 1)
		d := w.next(sub)
		f.lose.Store(3)
		a := w.report(failure("", with(d)))
		equal(t, "duplicate and next attempt", []any{a.Duplicate, a.Record.Decision.NextAttempt}, []any{false, 3})
		equal(t, "records", len(w.load("a").History), 2)
		f.miss.Store(3)
		b := w.report(success("a", attempt(3)))
		equal(t, "duplicate and attempts", []any{b.Duplicate, b.Attempts}, []any{false, 3})
	})
}

// TestClaimIsAnsweredWhenItsReplicaStops stops a replica that does not know yet what a claim
// has taken.
func TestClaimIsAnsweredWhenItsReplicaStops(t *testing.T) {
	inFlakyWorld(t, func(w *world, f *flaky) {
		w.report(failure("a", by("now")))
		f.lose.Store(5)
		sub := w.worker(1)
		w.pass(100 * time.Millisecond)
		w.s.Drain()
		w.wantState("a", scheduler.StateLeased)
		w.pass(time.Second)
		w.none(sub)
		equal(t, "deliveries", w.wantState("a", scheduler.StateScheduled).Delivery, 0)
	})
}

// TestLostReplyKeepsNoCredit has outcomes be written without an answer: one is asked
// for again within its call, the other in a second one. What is due next needs
// no recheck.
func TestLostReplyKeepsNoCredit(t *testing.T) {
	inFlakyWorld(t, func(w *world, f *flaky) {
		patient, cancel := context.WithTimeout(w.ctx, time.Hour)
		defer cancel()
		sub := w.worker(1)
		for i := range 3 {
			w.report(failure(fmt.Sprint("t", i), by("now")))
		}
		w.pass(300 * time.Millisecond)
		d := w.next(sub)
		f.lose.Store(1)
		if _, err := w.s.Report(patient, success("", with(d))); err != nil {
			t.Fatal(err)
		}
		d = w.next(sub)
		f.lose.Store(1)
		_, err := w.s.Report(w.ctx, success("", with(d)))
		kindOf(t, err, scheduler.KindUnavailable)
		w.report(success("", with(d)))
		w.next(sub)
		if passed := time.Now().Second(); passed > 0 {
			t.Errorf("handed out only after %d s, when the queue had been rechecked", passed)
		}
	})
}

func TestStoreThatStaysAwayIsUnavailable(t *testing.T) {
	inFlakyWorld(t, func(w *world, f *flaky) {
		ctx, cancel := context.WithTimeout(w.ctx, 5*time.Second)
		defer cancel()
		f.miss.Store(1000)
		start := time.Now()
		_, err := w.s.Report(ctx, failure("a"))
		kindOf(t, err, scheduler.KindUnavailable)
		if took := time.Since(start); took >= 5*time.Second || took < time.Second {
			t.Errorf("it gave up after %s", took)
		}
		f.miss.Store(0)
		w.report(failure("a"))
	})
}

func TestRepeatsAreBounded(t *testing.T) {
	inFlakyWorld(t, func(w *world, f *flaky) {
		const repeats = 250 * time.Millisecond
		ctx, cancel := context.WithTimeout(w.ctx, 5*time.Second)
		defer cancel()
		f.miss.Store(1000)
		start := time.Now()
		_, err := w.s.Report(scheduler.WithRepeats(ctx, repeats), failure("a"))
		kindOf(t, err, scheduler.KindUnavailable)
		if took := time.Since(start); took > repeats || took < repeats/4 {
			t.Errorf("it gave up after %s, with %s for repeats", took, repeats)
		}
		f.miss.Store(2)
		if _, err := w.s.Report(scheduler.WithRepeats(ctx, repeats), failure("a")); err != nil {
			t.Errorf("a store that was away for a moment: %v", err)
		}
	})
}

func TestLostReplyOfAClaimLosesNothing(t *testing.T) {
	inFlakyWorld(t, func(w *world, f *flaky) {
		w.within(time.Hour)
		sub := w.worker(10)
		for i := range 5 {
			w.report(failure(fmt.Sprint("t", i)))
		}
		w.pass(59 * time.Second)
		f.lose.Store(2)
		start := time.Now()
		for range 5 {
			d := w.next(sub)
			equal(t, "delivery and expiries", []int{d.Task.Delivery, d.Task.Expiries}, []int{1, 0})
		}
		if took := time.Since(start); took > 1200*time.Millisecond {
			t.Errorf("delivered after %s", took)
		}
		w.none(sub)
		equal(t, "credit is what is left of it", func() int {
			for i := range 20 {
				w.report(failure(fmt.Sprint("more", i), by("now")))
			}
			w.pass(time.Second)
			n := 0
			for {
				if _, ok := sub.Next(); !ok {
					return n
				}
				n++
			}
		}(), 5)
	})
}

func TestLostReplyOfAClaimByIDLosesNothing(t *testing.T) {
	inFlakyWorld(t, func(w *world, f *flaky) {
		w.within(time.Hour)
		w.report(failure("a", by("now")))
		f.lose.Store(1)
		a := w.ask(scheduler.NextRequest{TaskID: "a", Lease: time.Minute})
		if a.Leased == nil || a.Leased.Task.Delivery != 1 {
			t.Fatalf("leased %+v", a.Leased)
		}
	})
}

func TestClockThatIsOffIsCorrected(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{-time.Hour, -21 * time.Millisecond, 400 * time.Millisecond, 501 * time.Millisecond, time.Hour} {
		t.Run(off.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := memstore.New(memstore.Config{NowMS: func() int64 { return time.Now().Add(off).UnixMilli() }})
				w := newWorld(t, store)
				sub := w.worker(1)
				a := w.report(failure("a"))
				now, _ := store.Now(w.ctx)
				equal(t, "decided at the store's time", a.Record.TimeMS, now)
				w.next(sub)
				now, _ = store.Now(w.ctx)
				if late := now - a.Record.Decision.NextMS; late != 0 {
					t.Errorf("delivered %d ms late by the store's clock", late)
				}
			})
		})
	}
}

func TestNegativeRetentionIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := scheduler.New(memstore.New(memstore.Config{}), scheduler.Config{FirstSuccessRetention: -1, Log: slog.Default()}); err == nil {
		t.Error("it was taken")
	}
}
