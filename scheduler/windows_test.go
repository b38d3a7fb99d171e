package scheduler_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
)

// ways are how an attempt gets to a worker: each waits for one and returns it.
func ways() map[string]func(w *world) scheduler.Delivery {
	asking := func(r scheduler.NextRequest) func(w *world) scheduler.Delivery {
		r.Lease, r.Wait, r.Worker = 30*time.Second, time.Hour, "asks"
		return func(w *world) scheduler.Delivery {
			for range 100 {
				a := w.ask(r)
				switch {
				case a.Leased != nil:
					return *a.Leased
				case a.State == scheduler.StateLeased: // which nobody waits for
					w.pass(time.Minute)
				}
			}
			w.t.Fatal("nothing has been leased in 100 hours")
			return scheduler.Delivery{}
		}
	}
	return map[string]func(w *world) scheduler.Delivery{
		"subscribed": func(w *world) scheduler.Delivery { return w.next(w.worker(1)) },
		"by id":      asking(scheduler.NextRequest{TaskID: "a"}),
		"by queue":   asking(scheduler.NextRequest{Queue: "q"}),
	}
}

// toClock lets time pass until it is that time of the bubble's first day, in UTC.
func (w *world) toClock(hour, minute int) { w.pass(time.Until(atClock(hour, minute))) }

func atClock(hour, minute int) time.Time { return time.Date(2000, 1, 1, hour, minute, 0, 0, time.UTC) }

// pauses gives a policy of testPolicies these windows, as an operator does who finds
// out late.
func (w *world) pauses(id string, windows ...policy.PauseWindow) {
	w.t.Helper()
	p := w.policy(id).Policy
	p.PauseWindows = windows
	if _, err := w.s.UpdatePolicy(w.ctx, "ns", p, ""); err != nil {
		w.t.Fatal(err)
	}
}

func clock(t time.Time) string { return t.UTC().Format(time.DateTime) }

func clockMS(ms int64) string { return clock(time.UnixMilli(ms)) }

// However an attempt has come to be due, it is not handed out while its policy
// pauses, and nothing is seen of its having been held back.
func TestWindowsHoldBackAtHandOut(t *testing.T) {
	t.Parallel()
	window := policy.PauseWindow{Start: "01:00", End: "02:00"}
	for name, c := range map[string]struct {
		arrange func(w *world)
		want    time.Time
		trigger scheduler.Trigger
	}{
		"an attempt that is late": {
			func(w *world) {
				w.pauses("minute", window)
				w.toClock(0, 58)
				w.report(failure("a")) // due at 00:59
				w.toClock(1, 30)
			},
			atClock(2, 0), scheduler.TriggerRetry,
		},
		"an attempt that is due as the window opens": {
			func(w *world) {
				w.toClock(0, 59)
				w.report(failure("a"))
				w.pauses("minute", window)
			},
			atClock(2, 0), scheduler.TriggerRetry,
		},
		"an attempt that is due as the window closes": {
			func(w *world) {
				w.toClock(1, 59)
				w.report(failure("a"))
				w.pauses("minute", window)
			},
			atClock(2, 0), scheduler.TriggerRetry,
		},
		"a window added after the attempt was scheduled": {
			func(w *world) {
				w.toClock(1, 10)
				w.report(failure("a"))
				w.pauses("minute", window)
			},
			atClock(2, 0), scheduler.TriggerRetry,
		},
		"a window added that is open once": {
			func(w *world) {
				w.report(failure("a"))
				w.pauses("minute", policy.PauseWindow{StartTime: atClock(0, 0), EndTime: atClock(1, 23)})
			},
			atClock(1, 23), scheduler.TriggerRetry,
		},
		"windows that touch": {
			func(w *world) {
				w.toClock(1, 10)
				w.report(failure("a"))
				w.pauses("minute", window, policy.PauseWindow{Start: "02:00", End: "02:30"})
			},
			atClock(2, 30), scheduler.TriggerRetry,
		},
		"a window taken away": {
			func(w *world) {
				w.toClock(1, 10)
				w.report(failure("a"))
				w.pauses("minute", window)
				w.pauses("minute")
			},
			atClock(1, 11), scheduler.TriggerRetry,
		},
		"an attempt that an operator wants now": {
			func(w *world) {
				w.toClock(0, 59)
				w.report(failure("a"))
				w.operated(w.s.RetryNow(w.ctx, key("a")))
				w.pauses("minute", window)
				w.toClock(1, 0)
			},
			atClock(2, 0), scheduler.TriggerRetryNow,
		},
		"an attempt that an operator has rescheduled": {
			func(w *world) {
				w.report(failure("a"))
				w.operated(w.s.Reschedule(w.ctx, key("a"), atClock(1, 30).UnixMilli()))
				w.pauses("minute", window)
			},
			atClock(2, 0), scheduler.TriggerRetry,
		},
		"a replay": {
			func(w *world) {
				w.toClock(1, 0)
				w.report(failure("a", by("never")))
				w.replay("a")
				w.pauses("never", window)
			},
			atClock(2, 0), scheduler.TriggerReplay,
		},
		"the task's own time zone": {
			func(w *world) {
				w.toClock(0, 20) // 09:20 in Tokyo
				w.report(failure("a", func(r *scheduler.Report) { r.Spec.TimeZone = "Asia/Tokyo" }))
				w.pauses("minute", policy.PauseWindow{Start: "09:00", End: "10:00"})
			},
			atClock(1, 0), scheduler.TriggerRetry,
		},
		"the window's zone, not the task's": {
			func(w *world) {
				w.toClock(1, 10)
				w.report(failure("a", func(r *scheduler.Report) { r.Spec.TimeZone = "Asia/Tokyo" }))
				w.pauses("minute", policy.PauseWindow{Start: "01:00", End: "02:00", TimeZone: "UTC"})
			},
			atClock(2, 0), scheduler.TriggerRetry,
		},
		"an attempt that was given back": {
			func(w *world) {
				w.toClock(0, 50)
				w.report(failure("a", by("now")))
				d := w.ask(scheduler.NextRequest{TaskID: "a", Lease: time.Minute}).Leased
				w.pauses("now", window)
				if err := w.s.GiveBack(w.ctx, []scheduler.Delivery{*d}); err != nil {
					w.t.Fatal(err)
				}
				w.toClock(1, 10)
			},
			atClock(2, 0), scheduler.TriggerRetry,
		},
	} {
		for way, take := range ways() {
			t.Run(name+", "+way, func(t *testing.T) {
				inWorld(t, func(w *world) {
					c.arrange(w)
					d := take(w)
					equal(t, "handed out", clock(time.Now()), clock(c.want))
					equal(t, "trigger, delivery and expiries", []any{d.Task.Trigger, d.Task.Delivery, d.Task.Expiries}, []any{c.trigger, 1, 0})
				})
			})
		}
	}
}

// A lease that ends in a pause counts as expired, but the attempt waits.
func TestWindowsHoldBackAfterAnExpiredLease(t *testing.T) {
	t.Parallel()
	for way, take := range ways() {
		t.Run(way, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.pauses("minute", policy.PauseWindow{Start: "01:00", End: "02:00"})
				w.toClock(0, 58)
				w.report(failure("a"))
				w.toClock(0, 59)
				w.ask(scheduler.NextRequest{TaskID: "a", Lease: 2 * time.Minute, Worker: "dies"})
				w.wantState("a", scheduler.StateLeased)
				d := take(w)
				equal(t, "handed out", clock(time.Now()), clock(atClock(2, 0)))
				equal(t, "delivery and expiries", []int{d.Task.Delivery, d.Task.Expiries}, []int{2, 1})
			})
		})
	}
}

// The deadline binds also where a window keeps the attempt from being made before.
func TestDeadlineWithinAWindow(t *testing.T) {
	inWorld(t, func(w *world) {
		w.toClock(0, 58)
		w.report(failure("a", func(r *scheduler.Report) { r.Spec.DeadlineMS = atClock(1, 40).UnixMilli() }))
		w.pauses("minute", policy.PauseWindow{Start: "00:59", End: "02:00"})
		w.toClock(1, 30)
		sub := w.worker(1)
		w.none(sub)
		equal(t, "due", clockMS(w.load("a").DueMS), clock(atClock(2, 0)))
		w.toClock(1, 41)
		w.none(sub)
		equal(t, "reason", w.wantState("a", scheduler.StateDead).DeadReason, policy.ReasonDeadline)
	})
}

func TestSpreadAtHandOut(t *testing.T) {
	inWorld(t, func(w *world) {
		const tasks = 40
		for i := range tasks {
			w.report(failure(fmt.Sprint("t", i)))
		}
		w.pauses("minute", policy.PauseWindow{Start: "00:00", End: "00:30", Spread: time.Hour})
		sub := w.worker(tasks)
		w.toClock(0, 20)
		w.none(sub)
		putOff := make(map[string]time.Time)
		quarters := make(map[int]int)
		for i := range tasks {
			id := fmt.Sprint("t", i)
			due := time.UnixMilli(w.load(id).DueMS)
			if due.Before(atClock(0, 30)) || !due.Before(atClock(1, 30)) {
				t.Errorf("%s is put off to %s", id, clock(due))
			}
			putOff[id] = due
			quarters[due.Minute()/15]++
		}
		if len(quarters) != 4 {
			t.Errorf("by the quarter of the hour: %v", quarters)
		}
		for range tasks {
			d := w.next(sub)
			w.report(success("", with(d)))
			if id := d.Task.Key.ID; time.Since(putOff[id]).Truncate(time.Millisecond) != 0 {
				t.Errorf("%s was handed out at %s, and was due at %s", id, clock(time.Now()), clock(putOff[id]))
			}
		}
	})
}

// Whoever moves an attempt is told when it will be made.
func TestOperationsShowTheEndOfTheWindow(t *testing.T) {
	inWorld(t, func(w *world) {
		for _, id := range []string{"minute", "never"} {
			w.pauses(id, policy.PauseWindow{Start: "01:00", End: "02:00"})
		}
		w.toClock(0, 50)
		w.report(failure("a"))
		w.report(failure("dead", by("never")))
		reschedule := func(at time.Time) string {
			t.Helper()
			return clockMS(w.operated(w.s.Reschedule(w.ctx, key("a"), at.UnixMilli())).DueMS)
		}
		equal(t, "rescheduled into it", reschedule(atClock(1, 30)), clock(atClock(2, 0)))
		equal(t, "rescheduled behind it", reschedule(atClock(5, 0)), clock(atClock(5, 0)))
		w.toClock(1, 0)
		equal(t, "replayed", clockMS(w.replay("dead").DueMS), clock(atClock(2, 0)))
		task := w.operated(w.s.RetryNow(w.ctx, key("a")))
		equal(t, "retried now", []any{clockMS(task.DueMS), task.Trigger}, []any{clock(atClock(2, 0)), scheduler.TriggerRetryNow})
		if again := w.operated(w.s.RetryNow(w.ctx, key("a"))); again != task {
			t.Error("a repeat has written something")
		}
		equal(t, "rescheduled to the past", reschedule(time.UnixMilli(1)), clock(atClock(2, 0)))
	})
}

// In a spread, the time drawn anew may be later than the one that the attempt has.
func TestRetryNowNeverPutsOff(t *testing.T) {
	inWorld(t, func(w *world) {
		w.pauses("minute", policy.PauseWindow{Start: "00:00", End: "02:00", Spread: 10 * time.Hour})
		sooner, same := 0, 0
		for i := range 40 {
			id := fmt.Sprint("t", i)
			w.report(failure(id))
			before := w.load(id)
			switch after := w.operated(w.s.RetryNow(w.ctx, key(id))); {
			case after == before:
				same++
			case after.DueMS < before.DueMS && after.Trigger == scheduler.TriggerRetryNow:
				sooner++
			default:
				t.Errorf("%s was due %s, and is %s", id, clockMS(before.DueMS), clockMS(after.DueMS))
			}
		}
		if sooner == 0 || same == 0 {
			t.Errorf("%d are due sooner, %d as before", sooner, same)
		}
	})
}

func TestRescheduleIntoAWindowBeyondTheDeadline(t *testing.T) {
	inWorld(t, func(w *world) {
		w.pauses("minute", policy.PauseWindow{Start: "01:00", End: "02:00"})
		w.report(failure("a", func(r *scheduler.Report) { r.Spec.DeadlineMS = atClock(1, 45).UnixMilli() }))
		before := w.load("a")
		_, err := w.s.Reschedule(w.ctx, key("a"), atClock(1, 30).UnixMilli())
		equal(t, "violations", kindOf(t, err, scheduler.KindInvalid).Violations, []policy.Violation{{
			Field:       "time",
			Description: "2000-01-01T02:00:00.000Z, to which a pause window puts it off, is after the task's deadline, 2000-01-01T01:45:00.000Z; allowed: up to the deadline",
		}})
		if w.load("a") != before {
			t.Error("it has changed")
		}
	})
}
