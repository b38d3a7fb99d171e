package scheduler_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
)

func key(id string) scheduler.TaskKey { return scheduler.TaskKey{Namespace: "ns", ID: id} }

// operated is a task that an operation must have succeeded on.
func (w *world) operated(t *scheduler.Task, err error) *scheduler.Task {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	return t
}

func (w *world) replay(id string) *scheduler.Task {
	w.t.Helper()
	return w.operated(w.s.Replay(w.ctx, key(id)))
}

// reach brings a task of that id into a state.
func (w *world) reach(id string, state scheduler.State) {
	w.t.Helper()
	switch state {
	case scheduler.StateUnknown:
		return
	case scheduler.StateScheduled:
		w.report(failure(id))
	case scheduler.StateLeased:
		w.report(failure(id, by("now")))
		if a := w.ask(scheduler.NextRequest{TaskID: id, Lease: time.Minute}); a.Leased == nil {
			w.t.Fatal("it is not leased")
		}
	case scheduler.StateHeld:
		w.report(failure(id, by("holds"), outcome("hold")))
	case scheduler.StateDead:
		w.report(failure(id, by("never")))
	case scheduler.StateSucceeded:
		w.report(success(id))
	case scheduler.StateCancelled:
		w.report(failure(id))
		w.operated(w.s.Cancel(w.ctx, key(id)))
	case scheduler.StateDiscarded:
		w.report(failure(id, by("never")))
		w.operated(w.s.Discard(w.ctx, key(id)))
	}
	w.wantState(id, state)
}

func TestOperationsInEveryState(t *testing.T) {
	t.Parallel()
	const (
		scheduled, leased, held, dead   = scheduler.StateScheduled, scheduler.StateLeased, scheduler.StateHeld, scheduler.StateDead
		completed, cancelled, discarded = scheduler.StateSucceeded, scheduler.StateCancelled, scheduler.StateDiscarded
	)
	type operation = func(*scheduler.Scheduler, context.Context, scheduler.TaskKey) (*scheduler.Task, error)
	for name, o := range map[string]struct {
		call operation
		// to is what it makes of the states that it takes, takes how it says so.
		to    map[scheduler.State]scheduler.State
		takes string
		// same are the states that it leaves as they are.
		same []scheduler.State
	}{
		"Task": {
			call: (*scheduler.Scheduler).Task,
			same: []scheduler.State{scheduled, leased, held, dead, completed, cancelled, discarded},
		},
		"Cancel": {
			call:  (*scheduler.Scheduler).Cancel,
			to:    map[scheduler.State]scheduler.State{scheduled: cancelled, leased: cancelled, held: cancelled},
			same:  []scheduler.State{cancelled},
			takes: "only a SCHEDULED, LEASED or HELD task can be cancelled",
		},
		"RetryNow": {
			call:  (*scheduler.Scheduler).RetryNow,
			to:    map[scheduler.State]scheduler.State{scheduled: scheduled},
			takes: "only a SCHEDULED task can be retried now",
		},
		"Reschedule": {
			call: func(s *scheduler.Scheduler, ctx context.Context, key scheduler.TaskKey) (*scheduler.Task, error) {
				return s.Reschedule(ctx, key, time.Now().Add(time.Hour).UnixMilli())
			},
			to:    map[scheduler.State]scheduler.State{scheduled: scheduled},
			takes: "only a SCHEDULED task can be rescheduled",
		},
		"Replay": {
			call:  (*scheduler.Scheduler).Replay,
			to:    map[scheduler.State]scheduler.State{dead: scheduled},
			takes: "only a DEAD task can be replayed",
		},
		"Discard": {
			call:  (*scheduler.Scheduler).Discard,
			to:    map[scheduler.State]scheduler.State{held: discarded, dead: discarded},
			same:  []scheduler.State{discarded},
			takes: "only a HELD or DEAD task can be discarded",
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				_, err := o.call(w.s, w.ctx, key("nobody"))
				equal(t, "metadata", kindOf(t, err, scheduler.KindTaskNotFound).Metadata, map[string]string{"task_id": "nobody"})
				same := make(map[scheduler.State]bool)
				for _, state := range o.same {
					same[state] = true
				}
				for state := scheduled; state <= discarded; state++ {
					id := strings.ToLower(state.String())
					w.reach(id, state)
					before := w.load(id)
					got, err := o.call(w.s, w.ctx, key(id))
					after := w.load(id)
					switch want, takes := o.to[state]; {
					case takes:
						if err != nil {
							t.Fatalf("%s: %v", state, err)
						}
						equal(t, "from "+state.String(), got.State, want)
						if got != after || after == before {
							t.Errorf("%s: it says %+v, and is %+v", state, got, after)
						}
					case same[state]:
						if err != nil || got != before || after != before {
							t.Errorf("%s: %v, it has changed:\nfrom %+v\n  to %+v", state, err, before, after)
						}
					default:
						e := kindOf(t, err, scheduler.KindWrongState)
						equal(t, "metadata", e.Metadata, map[string]string{"task_id": id, "state": state.String()})
						equal(t, "message", err.Error(), `task "`+id+`" is `+state.String()+"; "+o.takes)
						if after != before {
							t.Errorf("%s: it has changed:\nfrom %+v\n  to %+v", state, before, after)
						}
					}
				}
			})
		})
	}
}

func TestTaskIsToldAsItIs(t *testing.T) {
	inWorld(t, func(w *world) {
		w.report(failure("late", func(r *scheduler.Report) { r.Spec.DeadlineMS = time.Now().Add(61 * time.Second).UnixMilli() }))
		w.report(failure("held", by("holds"), outcome("hold"), func(r *scheduler.Report) {
			r.Spec.DeadlineMS = time.Now().Add(61 * time.Second).UnixMilli()
		}))
		w.pass(61*time.Second + time.Millisecond)
		for _, id := range []string{"late", "held"} {
			task := w.operated(w.s.Task(w.ctx, key(id)))
			equal(t, id, []any{task.State, task.DeadReason}, []any{scheduler.StateDead, policy.ReasonDeadline})
		}
	})
}

func TestEndedByAnOperatorIsForgottenAsThePolicySays(t *testing.T) {
	inWorld(t, func(w *world) {
		p := policy.Policy{ID: "short", DisplayName: "short", DefaultAction: policy.ActionDeadLetter, Retention: time.Hour}
		if _, err := w.s.CreatePolicy(w.ctx, "ns", p); err != nil {
			t.Fatal(err)
		}
		w.report(failure("a", by("short"), func(r *scheduler.Report) {
			r.Failure.Message, r.Spec.Attributes = "no luck", map[string]string{"k": "v"}
		}))
		task := w.operated(w.s.Discard(w.ctx, key("a")))
		nowMS := time.Now().UnixMilli()
		equal(t, "ended and forgotten", []int64{task.EndMS, task.ExpireMS}, []int64{nowMS, nowMS + 3_600_000})
		if task.Spec.Payload != nil || task.Spec.Attributes != nil || task.History[0].Failure.Message != "" {
			t.Errorf("it has kept what it was for: %+v", task)
		}
		equal(t, "dead reason and fingerprint", []any{task.DeadReason, task.Fingerprint}, []any{policy.ReasonUnspecified, scheduler.Fingerprint(0)})
		w.pass(time.Hour)
		_, err := w.s.Task(w.ctx, key("a"))
		kindOf(t, err, scheduler.KindTaskNotFound)
	})
}

func TestCancelledLeaseIsLost(t *testing.T) {
	inWorld(t, func(w *world) {
		sub := w.worker(1)
		w.report(failure("a", by("now")))
		w.report(failure("b", by("now")))
		d := w.next(sub)
		id, other := d.Task.Key.ID, "b"
		if id == "b" {
			other = "a"
		}
		w.none(sub)
		task := w.operated(w.s.Cancel(w.ctx, key(id)))
		equal(t, "lease and worker", []any{task.LeaseEndMS, task.Worker}, []any{int64(0), ""})
		equal(t, "its credit is free for", w.next(sub).Task.Key.ID, other)
		w.refused(success("", with(d)), scheduler.KindLeaseLost)
		w.refused(failure("", with(d)), scheduler.KindLeaseLost)
		kindOf(t, w.s.Extend(w.ctx, "ns", []string{d.Token}, 0)[0].Err, scheduler.KindLeaseLost)
		kindOf(t, w.s.Release(w.ctx, "ns", d.Token, 0), scheduler.KindLeaseLost)
		if err := w.s.GiveBack(w.ctx, []scheduler.Delivery{d}); err != nil {
			t.Error(err)
		}
		if now := w.load(id); now.Version != task.Version {
			t.Errorf("it has changed: %+v", now)
		}
		equal(t, "state", w.refused(failure(id), scheduler.KindWrongState).Metadata["state"], "CANCELLED")
		w.refused(success(id), scheduler.KindWrongState)
	})
}

func TestLeaseCancelledElsewhereFreesItsCredit(t *testing.T) {
	inWorld(t, func(w *world) {
		other := w.another()
		sub := w.worker(1)
		w.report(failure("a", by("now")))
		d := w.next(sub)
		w.operated(other.Cancel(w.ctx, d.Task.Key))
		w.refused(success("", with(d)), scheduler.KindLeaseLost)
		w.report(failure("b", by("now")))
		start := time.Now()
		w.next(sub)
		if took := time.Since(start); took > time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

func TestCancelledTaskIsNotHandedOut(t *testing.T) {
	inWorld(t, func(w *world) {
		sub := w.worker(5)
		w.report(failure("a"))
		w.operated(w.s.Cancel(w.ctx, key("a")))
		w.pass(time.Hour)
		w.none(sub)
	})
}

func TestCancelEndsTheWaitForTheNextAttempt(t *testing.T) {
	inWorld(t, func(w *world) {
		w.report(failure("a"))
		start := time.Now()
		go func() {
			<-time.After(10 * time.Second)
			if _, err := w.s.Cancel(w.ctx, key("a")); err != nil {
				t.Error(err)
			}
		}()
		a := w.ask(scheduler.NextRequest{TaskID: "a", Wait: 50 * time.Second})
		equal(t, "state and wait", []any{a.State, time.Since(start)}, []any{scheduler.StateCancelled, 10 * time.Second})
	})
}

func TestRetryNow(t *testing.T) {
	inWorld(t, func(w *world) {
		sub := w.worker(1)
		w.report(failure("a"))
		w.pass(10 * time.Second)
		start := time.Now()
		w.operated(w.s.RetryNow(w.ctx, key("a")))
		d := w.next(sub)
		equal(t, "after", time.Since(start), time.Duration(0))
		equal(t, "attempt, trigger and retries left", []any{d.Task.Attempt, d.Task.Trigger, d.Task.RetriesLeft}, []any{2, scheduler.TriggerRetryNow, 2})
		a := w.report(failure("", with(d)))
		equal(t, "trigger", a.Record.Trigger, scheduler.TriggerRetryNow)
		task := w.load("a")
		equal(t, "next attempt, trigger and delay", []any{task.Attempt, task.Trigger, a.Record.Decision.DelayMS}, []any{3, scheduler.TriggerRetry, int64(60_000)})

		sub.SetMaxInFlight(0)
		w.pass(2 * time.Minute)
		due := w.load("a")
		if got := w.operated(w.s.RetryNow(w.ctx, key("a"))); got != due {
			t.Errorf("what is due has changed:\nfrom %+v\n  to %+v", due, got)
		}
	})
}

// A resend burns no retry: but once an operator has made the attempt due, a failure
// without a number may be of it.
func TestRetryNowMakesTheAttemptReportable(t *testing.T) {
	inWorld(t, func(w *world) {
		first := w.report(failure("a"))
		w.sameAnswer(first, w.report(failure("a")))
		w.operated(w.s.RetryNow(w.ctx, key("a")))
		equal(t, "next attempt", w.report(failure("a")).Record.Decision.NextAttempt, 3)
	})
}

func TestReschedule(t *testing.T) {
	inWorld(t, func(w *world) {
		sub := w.worker(1)
		start := time.Now()
		deadline := start.Add(3 * time.Hour)
		w.report(failure("a", func(r *scheduler.Report) { r.Spec.DeadlineMS = deadline.UnixMilli() }))
		task := w.operated(w.s.Reschedule(w.ctx, key("a"), start.Add(2*time.Hour).UnixMilli()))
		equal(t, "due", task.DueMS, start.Add(2*time.Hour).UnixMilli())
		if again := w.operated(w.s.Reschedule(w.ctx, key("a"), task.DueMS)); again != task {
			t.Error("the same time again has written something")
		}
		_, err := w.s.Reschedule(w.ctx, key("a"), deadline.UnixMilli()+1)
		e := kindOf(t, err, scheduler.KindInvalid)
		equal(t, "violations", e.Violations, []policy.Violation{{
			Field: "time", Description: "2000-01-01T03:00:00.001Z is after the task's deadline, 2000-01-01T03:00:00.000Z; allowed: up to the deadline",
		}})
		w.operated(w.s.Reschedule(w.ctx, key("a"), deadline.UnixMilli()))
		w.operated(w.s.Reschedule(w.ctx, key("a"), start.Add(time.Hour).UnixMilli()))
		d := w.next(sub)
		equal(t, "delivered after", time.Since(start), time.Hour)
		equal(t, "attempt, trigger and retries left", []any{d.Task.Attempt, d.Task.Trigger, d.Task.RetriesLeft}, []any{2, scheduler.TriggerRetry, 2})
		w.report(failure("", with(d)))
		w.operated(w.s.Reschedule(w.ctx, key("a"), 1)) // long past
		equal(t, "delivered after", func() time.Duration { w.next(sub); return time.Since(start) }(), time.Hour)
	})
}

func TestRescheduleOfAReplayedTaskKnowsNoDeadline(t *testing.T) {
	inWorld(t, func(w *world) {
		deadline := time.Now().Add(time.Hour)
		w.report(failure("a", by("never"), func(r *scheduler.Report) { r.Spec.DeadlineMS = deadline.UnixMilli() }))
		w.replay("a")
		w.operated(w.s.Reschedule(w.ctx, key("a"), deadline.Add(time.Hour).UnixMilli()))
		sub := w.worker(1)
		w.next(sub)
		equal(t, "delivered", time.Now().UTC(), deadline.Add(time.Hour).UTC())
	})
}

func TestLostReplyIsOneOperation(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		from scheduler.State
		call func(w *world) (*scheduler.Task, error)
		want scheduler.State
	}{
		"cancel":     {scheduler.StateScheduled, func(w *world) (*scheduler.Task, error) { return w.s.Cancel(w.ctx, key("a")) }, scheduler.StateCancelled},
		"retry now":  {scheduler.StateScheduled, func(w *world) (*scheduler.Task, error) { return w.s.RetryNow(w.ctx, key("a")) }, scheduler.StateScheduled},
		"reschedule": {scheduler.StateScheduled, func(w *world) (*scheduler.Task, error) { return w.s.Reschedule(w.ctx, key("a"), 1) }, scheduler.StateScheduled},
		"replay":     {scheduler.StateDead, func(w *world) (*scheduler.Task, error) { return w.s.Replay(w.ctx, key("a")) }, scheduler.StateScheduled},
		"discard":    {scheduler.StateDead, func(w *world) (*scheduler.Task, error) { return w.s.Discard(w.ctx, key("a")) }, scheduler.StateDiscarded},
	} {
		t.Run(name, func(t *testing.T) {
			inFlakyWorld(t, func(w *world, f *flaky) {
				w.within(time.Minute)
				w.reach("a", c.from)
				before := w.load("a")
				f.lose.Store(1)
				task := w.operated(c.call(w))
				equal(t, "state", task.State, c.want)
				if c.want == scheduler.StateScheduled && c.from == scheduler.StateDead {
					equal(t, "generation", task.Generation, before.Generation+1)
				}
				if now := w.load("a"); now != task {
					t.Errorf("it says %+v, and is %+v", task, now)
				}
			})
		})
	}
}

func TestOperationsFromManyAtOnceHaveOneEffect(t *testing.T) {
	inWorld(t, func(w *world) {
		other := w.another()
		w.report(failure("a", by("never")))
		replayed := make(chan error, 20)
		for i := range 20 {
			s := w.s
			if i%2 == 0 {
				s = other
			}
			go func() {
				_, err := s.Replay(w.ctx, key("a"))
				replayed <- err
			}()
		}
		done := 0
		for range 20 {
			if err := <-replayed; err == nil {
				done++
			} else {
				kindOf(t, err, scheduler.KindWrongState)
			}
		}
		equal(t, "replays and generation", []int{done, w.load("a").Generation}, []int{1, 2})
	})
}
