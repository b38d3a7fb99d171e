package scheduler_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
)

func TestDeliveredTheMillisecondItIsDue(t *testing.T) {
	inWorld(t, func(w *world) {
		sub := w.worker(5)
		w.pass(123 * time.Microsecond)
		a := w.report(failure("a"))
		d := w.next(sub)
		equal(t, "delivered at", time.Now().UnixMilli(), a.Record.Decision.NextMS)
		if late := time.Since(time.UnixMilli(a.Record.Decision.NextMS)); late >= time.Millisecond {
			t.Errorf("delivered %s late", late)
		}
		equal(t, "attempt, delivery and trigger", []any{d.Task.Attempt, d.Task.Delivery, d.Task.Trigger}, []any{2, 1, scheduler.TriggerRetry})
		equal(t, "payload", string(d.Task.Spec.Payload), "hello")
		equal(t, "lease", d.Task.LeaseEndMS-time.Now().UnixMilli(), int64(30_000))
		w.none(sub)
	})
}

func TestDaysOfRetries(t *testing.T) {
	inWorld(t, func(w *world) {
		p := policy.Policy{
			ID: "days", DisplayName: "days", DefaultAction: policy.ActionRetry,
			Schedule: policy.Schedule{Delays: &policy.DelayList{Delays: []time.Duration{time.Hour, 24 * time.Hour, 72 * time.Hour}}},
		}
		if _, err := w.s.CreatePolicy(w.ctx, "ns", p); err != nil {
			t.Fatal(err)
		}
		sub := w.worker(1)
		start := time.Now()
		w.report(failure("a", by("days")))
		var after []time.Duration
		for range 3 {
			d := w.next(sub)
			after = append(after, time.Since(start))
			w.report(failure("", with(d)))
		}
		equal(t, "delivered after", after, []time.Duration{time.Hour, 25 * time.Hour, 97 * time.Hour})
		equal(t, "reason", w.wantState("a", scheduler.StateDead).DeadReason, policy.ReasonRetriesExhausted)
	})
}

func TestExpiredLeaseIsDeliveredAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		sub := w.worker(1)
		w.report(failure("a"))
		first := w.next(sub)
		start := time.Now()
		second := w.next(sub)
		equal(t, "after", time.Since(start), 30*time.Second)
		equal(t, "attempt, delivery and expiries", []int{second.Task.Attempt, second.Task.Delivery, second.Task.Expiries}, []int{2, 2, 1})
		equal(t, "retries left", second.Task.RetriesLeft, first.Task.RetriesLeft)
		a := w.report(failure("", with(second)))
		equal(t, "deliveries", a.Record.Deliveries, 2)
		third := w.next(sub)
		equal(t, "attempt, delivery and expiries", []int{third.Task.Attempt, third.Task.Delivery, third.Task.Expiries}, []int{3, 1, 0})
	})
}

func TestLeasesThatExpireTooOftenKill(t *testing.T) {
	inWorld(t, func(w *world) {
		sub := w.worker(1)
		w.report(failure("a", by("fragile")))
		w.next(sub)
		w.next(sub)
		w.pass(30 * time.Second)
		w.none(sub)
		task := w.wantState("a", scheduler.StateDead)
		equal(t, "reason, expiries and deliveries", []any{task.DeadReason, task.Expiries, task.Delivery}, []any{policy.ReasonLeasesExpired, 2, 2})
	})
}

func TestSpentLeasesKillWithoutAWorker(t *testing.T) {
	inWorld(t, func(w *world) {
		sub := w.worker(1)
		w.report(failure("a", by("fragile")))
		w.next(sub)
		d := w.next(sub)
		if err := sub.Close(w.ctx); err != nil {
			t.Fatal(err)
		}
		w.pass(29 * time.Second)
		w.wantState("a", scheduler.StateLeased)
		w.pass(61 * time.Second)
		task := w.wantState("a", scheduler.StateDead)
		equal(t, "reason and expiries", []any{task.DeadReason, task.Expiries}, []any{policy.ReasonLeasesExpired, 2})
		w.refused(success("", with(d)), scheduler.KindLeaseLost)
	})
}

func TestCreditIsNeverPassed(t *testing.T) {
	inWorld(t, func(w *world) {
		sub := w.worker(3)
		for i := range 10 {
			w.report(failure(fmt.Sprint("t", i), by("now")))
		}
		w.pass(time.Millisecond)
		var out []scheduler.Delivery
		for range 3 {
			out = append(out, w.next(sub))
		}
		w.none(sub)
		w.report(success("", with(out[0])))
		out = append(out[1:], w.next(sub))
		w.none(sub)
		sub.SetMaxInFlight(5)
		out = append(out, w.next(sub), w.next(sub))
		w.none(sub)
		sub.SetMaxInFlight(0)
		for _, d := range out {
			w.report(success("", with(d)))
		}
		w.none(sub)
		sub.SetMaxInFlight(100)
		for range 4 {
			w.next(sub)
		}
		w.none(sub)
	})
}

func TestExpiredLeaseFreesItsCredit(t *testing.T) {
	inWorld(t, func(w *world) {
		sub := w.worker(1)
		w.report(failure("a", by("now")))
		w.next(sub)
		w.report(failure("b", by("now")))
		w.none(sub)
		w.pass(30 * time.Second)
		// b has waited longer than a, whose lease has just ended.
		equal(t, "next", w.next(sub).Task.Key.ID, "b")
	})
}

func TestOutcomeAtAnotherReplicaFreesTheCreditWithinASecond(t *testing.T) {
	inWorld(t, func(w *world) {
		other := w.another()
		sub := w.worker(1)
		w.report(failure("a", by("now")))
		d := w.next(sub)
		w.report(failure("b", by("now")))
		if _, err := other.Report(w.ctx, success("", with(d))); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		equal(t, "next", w.next(sub).Task.Key.ID, "b")
		if wait := time.Since(start); wait > time.Second {
			t.Errorf("freed after %s", wait)
		}
	})
}

func TestExtensionAtAnotherReplicaKeepsTheCredit(t *testing.T) {
	inWorld(t, func(w *world) {
		other := w.another()
		sub := w.worker(1)
		w.report(failure("a", by("now")))
		d := w.next(sub)
		w.report(failure("b", by("now")))
		if got := other.Extend(w.ctx, "ns", []string{d.Token}, time.Hour)[0]; got.Err != nil {
			t.Fatal(got.Err)
		}
		w.pass(59 * time.Minute)
		w.none(sub)
		w.pass(time.Minute)
		equal(t, "next", w.next(sub).Task.Key.ID, "b")
	})
}

func TestReportAtAnotherReplicaIsDeliveredOnTime(t *testing.T) {
	inWorld(t, func(w *world) {
		other := w.another()
		sub := w.worker(1)
		w.pass(300 * time.Millisecond)
		start := time.Now()
		if _, err := other.Report(w.ctx, failure("a")); err != nil {
			t.Fatal(err)
		}
		w.next(sub)
		equal(t, "delivered after", time.Since(start), time.Minute)
	})
}

func TestBacklogStarvesNoOtherQueue(t *testing.T) {
	inWorld(t, func(w *world) {
		const backlog = 100_000
		reports := make([]scheduler.Report, 0, 1000)
		for i := range backlog {
			reports = append(reports, failure(fmt.Sprint("big", i), by("now"), func(r *scheduler.Report) { r.Spec.Queue = "big" }))
			if len(reports) == cap(reports) {
				for _, got := range w.s.ReportBatch(w.ctx, reports) {
					if got.Err != nil {
						t.Fatal(got.Err)
					}
				}
				reports = reports[:0]
			}
		}
		sub := w.worker(100, func(o *scheduler.SubscribeOptions) { o.Queues = []string{"big", "small"} })
		w.pass(time.Millisecond)
		// The worker is slow enough that the backlog outlasts the test.
		handled := 0
		handle := func(until func(scheduler.Delivery) bool) {
			for {
				d := w.next(sub)
				handled++
				if until(d) {
					return
				}
				w.report(success("", with(d)))
			}
		}
		handle(func(scheduler.Delivery) bool { return handled == 500 })
		w.report(failure("small", by("now"), func(r *scheduler.Report) { r.Spec.Queue = "small" }))
		before := handled
		handle(func(d scheduler.Delivery) bool { return d.Task.Key.ID == "small" })
		if waited := handled - before; waited > 300 {
			t.Errorf("%d of the backlog went first, want at most what was out and one turn", waited)
		}
	})
}

func TestManyWorkersRunEachTaskOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		const tasks, workers = 2_000, 8
		other := w.another()
		var mu sync.Mutex
		runs := make(map[string]int)
		done := make(chan struct{})
		var wg sync.WaitGroup
		for i := range workers {
			s := w.s
			if i%2 == 0 {
				s = other
			}
			wg.Go(func() {
				sub := s.Subscribe(scheduler.SubscribeOptions{Namespace: "ns", Queues: []string{"q"}, MaxInFlight: 16, Lease: 30 * time.Second})
				for {
					select {
					case <-done:
						return
					case <-sub.Ready():
					}
					for {
						d, ok := sub.Next()
						if !ok {
							break
						}
						mu.Lock()
						runs[d.Task.Key.ID]++
						if len(runs) == tasks {
							close(done)
						}
						mu.Unlock()
						if _, err := s.Report(w.ctx, success("", with(d))); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		for i := range tasks {
			w.report(failure(fmt.Sprint("t", i)))
		}
		wg.Wait()
		w.pass(time.Minute)
		for id, n := range runs {
			if n != 1 {
				t.Errorf("%s ran %d times", id, n)
			}
		}
		equal(t, "tasks run", len(runs), tasks)
	})
}

func TestPauseWindowAtHandOut(t *testing.T) {
	inWorld(t, func(w *world) {
		// Midnight, 2000-01-01 UTC, is inside; the policy gets its window after the
		// report.
		w.report(failure("a"))
		rec, _ := w.s.Policy(w.ctx, "ns", "minute")
		p := rec.Policy
		p.PauseWindows = []policy.PauseWindow{{Start: "20:00", End: "08:00", TimeZone: "UTC"}}
		if _, err := w.s.UpdatePolicy(w.ctx, "ns", p, ""); err != nil {
			t.Fatal(err)
		}
		sub := w.worker(1)
		d := w.next(sub)
		equal(t, "delivered at", time.Now().UTC().Format(time.DateTime), "2000-01-01 08:00:00")
		equal(t, "delivery and expiries", []int{d.Task.Delivery, d.Task.Expiries}, []int{1, 0})
	})
}

func TestLateAttemptWaitsForTheWindowsEnd(t *testing.T) {
	inWorld(t, func(w *world) {
		w.pass(19*time.Hour + 58*time.Minute)
		w.report(failure("a", by("night"))) // due at 19:59
		w.pass(3 * time.Hour)               // nobody subscribed
		d := w.next(w.worker(1))
		equal(t, "delivered at", time.Now().UTC().Format(time.DateTime), "2000-01-02 08:00:00")
		equal(t, "delivery", d.Task.Delivery, 1)
	})
}

func TestDeadlineAtHandOut(t *testing.T) {
	inWorld(t, func(w *world) {
		sub := w.worker(1)
		w.report(failure("busy", by("now")))
		w.next(sub)
		w.report(failure("a", func(r *scheduler.Report) { r.Spec.DeadlineMS = time.Now().Add(70 * time.Second).UnixMilli() }))
		sub.SetMaxInFlight(0)
		w.pass(71 * time.Second)
		sub.SetMaxInFlight(10)
		synctest.Wait()
		task := w.wantState("a", scheduler.StateDead)
		equal(t, "reason and deliveries", []any{task.DeadReason, task.Delivery}, []any{policy.ReasonDeadline, 0})
	})
}

func TestDeadlineWhereNobodyAsks(t *testing.T) {
	inWorld(t, func(w *world) {
		deadline := func(r *scheduler.Report) { r.Spec.DeadlineMS = time.Now().Add(2 * time.Minute).UnixMilli() }
		w.report(failure("scheduled", deadline))
		w.report(failure("held", by("holds"), outcome("hold"), deadline))
		w.pass(2 * time.Minute)
		w.wantState("scheduled", scheduler.StateScheduled)
		w.pass(time.Minute)
		for _, id := range []string{"scheduled", "held"} {
			equal(t, "reason of "+id, w.wantState(id, scheduler.StateDead).DeadReason, policy.ReasonDeadline)
		}
	})
}

func TestDeadLettersGoAfterTheirRetention(t *testing.T) {
	inWorld(t, func(w *world) {
		w.report(failure("a", by("never")))
		w.pass(30 * 24 * time.Hour)
		w.pass(time.Minute)
		if task := w.load("a"); task != nil {
			t.Errorf("it is still there: %+v", task)
		}
	})
}

func TestCloseGivesBackWhatNobodyTook(t *testing.T) {
	inWorld(t, func(w *world) {
		sub := w.worker(2)
		w.report(failure("a", by("now")))
		w.report(failure("b", by("now")))
		taken := w.next(sub)
		synctest.Wait()
		if err := sub.Close(w.ctx); err != nil {
			t.Fatal(err)
		}
		again := w.next(w.worker(2))
		if again.Task.Key == taken.Task.Key {
			t.Fatalf("%s was taken, and is delivered again", again.Task.Key.ID)
		}
		equal(t, "delivery and expiries", []int{again.Task.Delivery, again.Task.Expiries}, []int{1, 0})
		w.wantState(taken.Task.Key.ID, scheduler.StateLeased)
	})
}

func TestDrainHandsOutNoMore(t *testing.T) {
	inWorld(t, func(w *world) {
		sub := w.worker(1)
		w.report(failure("a", by("now")))
		d := w.next(sub)
		w.report(failure("b", by("now")))
		w.s.Drain()
		w.s.Drain()
		<-w.s.Draining()
		w.report(success("", with(d)))
		w.pass(time.Hour)
		w.none(sub)
		w.wantState("b", scheduler.StateScheduled)
	})
}
