package scheduler_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
)

func (w *world) ask(r scheduler.NextRequest) scheduler.NextAnswer {
	w.t.Helper()
	r.Namespace = "ns"
	a, err := w.s.Next(w.ctx, r)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// TestNextHandsAgainOnlyWhatMayBeMade has the holder of a lease ask for it again, while the
// policy pauses and after the deadline.
func TestNextHandsAgainOnlyWhatMayBeMade(t *testing.T) {
	inWorld(t, func(w *world) {
		w.report(failure("a", by("now"), func(r *scheduler.Report) { r.Spec.DeadlineMS = time.Now().Add(2 * time.Hour).UnixMilli() }))
		ask := scheduler.NextRequest{TaskID: "a", Lease: 5 * time.Hour, Worker: "cron"}
		first := w.ask(ask).Leased.Token
		again := func() string {
			a := w.ask(ask)
			equal(t, "state", a.State, scheduler.StateLeased)
			if a.Leased == nil {
				return ""
			}
			return a.Leased.Token
		}
		equal(t, "token", again(), first)
		w.pauses("now", policy.PauseWindow{Start: "01:00", End: "01:30"})
		w.toClock(1, 10)
		equal(t, "token while the policy pauses", again(), "")
		w.toClock(1, 40)
		equal(t, "token after that", again(), first)
		w.toClock(2, 10)
		equal(t, "token after the deadline", again(), "")
	})
}

// answeredLate is a store that does not answer the next claim, which it carries out, before
// something else has happened.
type answeredLate struct {
	scheduler.Store
	meanwhile func()
}

func (a *answeredLate) Claim(ctx context.Context, claims []scheduler.Claim) []scheduler.Claimed {
	out := a.Store.Claim(ctx, claims)
	if meanwhile := a.meanwhile; meanwhile != nil {
		a.meanwhile = nil
		meanwhile()
		out[0] = scheduler.Claimed{Err: errAway}
	}
	return out
}

// TestNextOfTwoCallsIsGivenBackByNone has a second call of a worker be handed the lease
// before the first knows of it: should the first have no reader, it is not given back.
func TestNextOfTwoCallsIsGivenBackByNone(t *testing.T) {
	store := &answeredLate{}
	inWorldOn(t, func(s scheduler.Store) scheduler.Store { store.Store = s; return store }, func(w *world) {
		w.report(failure("a", by("now")))
		ask := scheduler.NextRequest{TaskID: "a", Lease: time.Minute, Worker: "cron"}
		var second scheduler.NextAnswer
		store.meanwhile = func() { second = w.ask(ask) }
		first := w.ask(ask)
		equal(t, "tokens", first.Leased.Token, second.Leased.Token)
		equal(t, "had before", []bool{first.Again, second.Again}, []bool{true, true})
	})
}

func TestNextTells(t *testing.T) {
	inWorld(t, func(w *world) {
		_, err := w.s.Next(w.ctx, scheduler.NextRequest{Namespace: "ns", TaskID: "a"})
		kindOf(t, err, scheduler.KindTaskNotFound)
		w.report(failure("a"))
		a := w.ask(scheduler.NextRequest{TaskID: "a"})
		equal(t, "state, attempt and due in", []any{a.State, a.Attempt, a.DueInMS, a.Due}, []any{scheduler.StateScheduled, 2, int64(60_000), false})
		equal(t, "last reason", a.Last.Decision.Reason, policy.ReasonRetryScheduled)
		w.pass(time.Minute)
		a = w.ask(scheduler.NextRequest{TaskID: "a"})
		equal(t, "due in and due", []any{a.DueInMS, a.Due}, []any{int64(0), true})
		w.report(success("a"))
		a = w.ask(scheduler.NextRequest{TaskID: "a", Wait: time.Hour})
		equal(t, "state", a.State, scheduler.StateSucceeded)
	})
}

func TestNextWaits(t *testing.T) {
	inWorld(t, func(w *world) {
		w.report(failure("a"))
		start := time.Now()
		a := w.ask(scheduler.NextRequest{TaskID: "a", Wait: 20 * time.Second})
		equal(t, "after the wait", []any{time.Since(start), a.Due}, []any{20 * time.Second, false})
		a = w.ask(scheduler.NextRequest{TaskID: "a", Wait: time.Hour})
		equal(t, "when it is due", []any{time.Since(start), a.Due}, []any{time.Minute, true})
	})
}

func TestNextReturnsWhenTheTaskMovesOn(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]func(w *world) *scheduler.Scheduler{
		"here":               func(w *world) *scheduler.Scheduler { return w.s },
		"at another replica": func(w *world) *scheduler.Scheduler { return w.another() },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				s := at(w)
				w.report(failure("a"))
				start := time.Now()
				go func() {
					<-time.After(10 * time.Second)
					if _, err := s.Report(w.ctx, success("a")); err != nil {
						t.Error(err)
					}
				}()
				a := w.ask(scheduler.NextRequest{TaskID: "a", Wait: 50 * time.Second})
				equal(t, "state", a.State, scheduler.StateSucceeded)
				if took := time.Since(start); took > 11*time.Second {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

func TestNextLeasesByID(t *testing.T) {
	inWorld(t, func(w *world) {
		ask := scheduler.NextRequest{TaskID: "a", Lease: 10 * time.Second, Worker: "cron"}
		w.report(failure("a", func(r *scheduler.Report) { r.Spec.Queue = "" }))
		if a := w.ask(ask); a.Leased != nil || a.Due {
			t.Fatalf("leased early: %+v", a)
		}
		ask.Wait = time.Hour
		a := w.ask(ask)
		if a.Leased == nil || a.State != scheduler.StateLeased {
			t.Fatalf("not leased: %+v", a)
		}
		equal(t, "attempt, delivery and worker", []any{a.Leased.Task.Attempt, a.Leased.Task.Delivery, a.Leased.Task.Worker}, []any{2, 1, "cron"})
		ask.Wait = 0
		equal(t, "the same again", w.ask(ask).Leased.Token, a.Leased.Token)
		other := ask
		other.Worker = "other"
		if got := w.ask(other); got.Leased != nil || got.State != scheduler.StateLeased {
			t.Errorf("two have it: %+v", got)
		}
		nameless := ask
		nameless.Worker = ""
		if got := w.ask(nameless); got.Leased != nil {
			t.Errorf("two have it: %+v", got)
		}
		w.pass(10 * time.Second)
		got := w.ask(other)
		equal(t, "delivery after the lease has expired", got.Leased.Task.Delivery, 2)
		w.refused(success("", with(*a.Leased)), scheduler.KindLeaseLost)
		w.report(success("", with(*got.Leased)))
	})
}

func TestNextLeasesFromAQueue(t *testing.T) {
	inWorld(t, func(w *world) {
		ask := scheduler.NextRequest{Queue: "q", Lease: 30 * time.Second}
		a := w.ask(ask)
		equal(t, "of an empty queue", a, scheduler.NextAnswer{})
		w.report(failure("a"))
		a = w.ask(ask)
		equal(t, "before it is due", []any{a.Leased == nil, a.Due, a.DueInMS}, []any{true, false, int64(60_000)})
		start := time.Now()
		ask.Wait = 50 * time.Second
		w.ask(ask)
		equal(t, "waited", time.Since(start), 50*time.Second)
		a = w.ask(ask)
		equal(t, "waited", time.Since(start), time.Minute)
		equal(t, "leased", a.Leased.Task.Key.ID, "a")
		ask.Wait = 0
		if a := w.ask(ask); a.Leased != nil {
			t.Errorf("two have it: %+v", a)
		}
	})
}

func TestNextTakesNoneTwice(t *testing.T) {
	inWorld(t, func(w *world) {
		for _, id := range []string{"a", "b", "c", "d", "e"} {
			w.report(failure(id, by("now")))
		}
		leased := make(chan string, 20)
		for range 20 {
			go func() {
				a, err := w.s.Next(w.ctx, scheduler.NextRequest{Namespace: "ns", Queue: "q", Lease: time.Hour, Wait: time.Second})
				if err != nil {
					t.Error(err)
				}
				if a.Leased == nil {
					leased <- ""
					return
				}
				leased <- a.Leased.Task.Key.ID
			}()
		}
		got := make(map[string]int)
		for range 20 {
			got[<-leased]++
		}
		equal(t, "leased", got, map[string]int{"a": 1, "b": 1, "c": 1, "d": 1, "e": 1, "": 15})
	})
}

func TestNextOfOneWhoHasGoneLeasesNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		ctx, cancel := context.WithTimeout(w.ctx, 10*time.Second)
		defer cancel()
		_, err := w.s.Next(ctx, scheduler.NextRequest{Namespace: "ns", Queue: "q", Lease: time.Hour, Wait: time.Hour})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("error %v", err)
		}
		w.report(failure("a", by("now")))
		w.pass(time.Minute)
		w.wantState("a", scheduler.StateScheduled)
	})
}

func TestNextJudgesTheDeadline(t *testing.T) {
	inWorld(t, func(w *world) {
		w.report(failure("a", func(r *scheduler.Report) { r.Spec.DeadlineMS = time.Now().Add(61 * time.Second).UnixMilli() }))
		w.pass(62 * time.Second)
		a := w.ask(scheduler.NextRequest{TaskID: "a", Lease: time.Minute})
		equal(t, "state", a.State, scheduler.StateDead)
		equal(t, "reason", w.wantState("a", scheduler.StateDead).DeadReason, policy.ReasonDeadline)
	})
}

func TestNextRespectsPauseWindows(t *testing.T) {
	inWorld(t, func(w *world) {
		w.pass(19*time.Hour + 58*time.Minute)
		w.report(failure("a", by("night")))
		w.pass(time.Hour)
		a := w.ask(scheduler.NextRequest{TaskID: "a", Lease: time.Minute})
		equal(t, "told", []any{a.State, a.Leased == nil, time.UnixMilli(a.TimeMS).UTC().Format(time.DateTime)},
			[]any{scheduler.StateScheduled, true, "2000-01-02 08:00:00"})
		equal(t, "delivery", w.load("a").Delivery, 0)
	})
}

// After a failover the store's clock may be behind where it was before.
func TestNextWaitsForTheStoresClock(t *testing.T) {
	t.Parallel()
	for name, pause := range map[string]time.Duration{"due": 0, "resumed": time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var off atomic.Int64
				store := &hooked{Store: memstore.New(memstore.Config{NowMS: func() int64 { return time.Now().UnixMilli() + off.Load() }})}
				w := newWorld(t, store)
				dueMS := w.report(failure("a")).Record.Decision.NextMS
				if pause > 0 {
					dueMS = time.Now().Add(pause).UnixMilli()
					if _, err := w.s.PauseQueue(w.ctx, scheduler.QueueKey{Namespace: "ns", Name: "q"}, dueMS); err != nil {
						t.Fatal(err)
					}
				}
				w.pass(time.Until(time.UnixMilli(dueMS)))
				off.Store(-5000)
				claims := 0
				store.afterClaim = func() {
					if claims++; claims > 20 {
						t.Fatal("it spins")
					}
				}
				a := w.ask(scheduler.NextRequest{TaskID: "a", Wait: time.Minute, Lease: time.Minute})
				if a.Leased == nil || w.s.NowMS() != dueMS {
					t.Errorf("at %d, of a task due at %d: %+v", w.s.NowMS(), dueMS, a)
				}
			})
		})
	}
}

func TestDrainAnswersWaitingCallers(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]scheduler.NextRequest{
		"by id":    {TaskID: "a", Wait: 50 * time.Second},
		"by queue": {Queue: "q", Lease: time.Minute, Wait: 50 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.report(failure("a"))
				go func() {
					<-time.After(time.Second)
					w.s.Drain()
				}()
				start := time.Now()
				w.ask(r)
				equal(t, "answered after", time.Since(start), time.Second)
			})
		})
	}
}
