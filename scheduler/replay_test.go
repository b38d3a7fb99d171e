package scheduler_test

import (
	"testing"
	"time"

	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
)

// counted is what a generation counts of a task.
func counted(t *scheduler.Task) []any {
	return []any{t.State, t.Generation, t.Attempt, t.FirstAttempt, t.Trigger, t.RetriesLeft, t.Delivery, t.Expiries}
}

func TestReplayStartsANewGeneration(t *testing.T) {
	inWorld(t, func(w *world) {
		sub := w.worker(1)
		for i := range 4 {
			w.report(failure("a", attempt(i+1)))
		}
		dead := w.wantState("a", scheduler.StateDead)
		w.pass(time.Hour)
		task := w.replay("a")
		equal(t, "counted", counted(task), []any{scheduler.StateScheduled, 2, 5, 5, scheduler.TriggerReplay, 3, 0, 0})
		equal(t, "due", task.DueMS, time.Now().UnixMilli())
		equal(t, "kept", []any{len(task.History), task.Spec, task.Fence}, []any{4, dead.Spec, dead.Fence})
		equal(t, "of its death", []any{task.DeadReason, task.Fingerprint, task.EndMS, task.ExpireMS}, []any{policy.ReasonUnspecified, scheduler.Fingerprint(0), int64(0), int64(0)})
		equal(t, "of its generation", []any{task.FirstFailureMS, task.RuleRetries, task.LastDelayMS, task.LastDateMS}, []any{int64(0), []policy.RuleRetries(nil), int64(0), int64(0)})

		start := time.Now()
		for i := range 4 {
			d := w.next(sub)
			equal(t, "attempt and generation", []int{d.Task.Attempt, d.Task.Generation}, []int{5 + i, 2})
			a := w.report(failure("", with(d)))
			wantTrigger := scheduler.TriggerRetry
			if i == 0 {
				wantTrigger = scheduler.TriggerReplay
			}
			equal(t, "generation and trigger", []any{a.Record.Generation, a.Record.Trigger}, []any{2, wantTrigger})
		}
		equal(t, "its retries took", time.Since(start), 3*time.Minute)
		task = w.wantState("a", scheduler.StateDead)
		equal(t, "reason, records and first failure", []any{task.DeadReason, len(task.History), task.FirstFailureMS}, []any{policy.ReasonRetriesExhausted, 8, start.UnixMilli()})
		w.replay("a")
		equal(t, "attempts", w.report(success("", with(w.next(sub)))).Attempts, 9)
	})
}

func TestGenerationsCountRulesAndTimeAfresh(t *testing.T) {
	inWorld(t, func(w *world) {
		p := w.policy("minute").Policy
		p.ID, p.MaxElapsed = "rules", 10*time.Minute
		p.Rules = []policy.Rule{{Name: "busy", Match: policy.Match{Outcomes: []string{"busy"}}, Action: policy.ActionRetry, MaxRetries: 1}}
		if _, err := w.s.CreatePolicy(w.ctx, "ns", p); err != nil {
			t.Fatal(err)
		}
		for generation := range 3 {
			first := w.report(failure("a", by("rules"), outcome("busy"), attempt(2*generation+1)))
			equal(t, "first", first.Record.Decision.Reason, policy.ReasonRetryScheduled)
			second := w.report(failure("a", by("rules"), outcome("busy"), attempt(2*generation+2)))
			equal(t, "second", second.Record.Decision.Reason, policy.ReasonRuleRetriesExhausted)
			w.pass(time.Hour) // more than may elapse
			w.replay("a")
		}
	})
}

func TestReplayKnowsNoDeadline(t *testing.T) {
	inWorld(t, func(w *world) {
		w.report(failure("a", func(r *scheduler.Report) { r.Spec.DeadlineMS = time.Now().Add(2 * time.Minute).UnixMilli() }))
		w.pass(10 * time.Minute)
		equal(t, "reason", w.wantState("a", scheduler.StateDead).DeadReason, policy.ReasonDeadline)
		task := w.replay("a")
		// Attempt 2 was never made.
		equal(t, "counted", counted(task), []any{scheduler.StateScheduled, 2, 2, 2, scheduler.TriggerReplay, 3, 0, 0})
		sub := w.worker(1)
		a := w.report(failure("", with(w.next(sub))))
		equal(t, "reason and next attempt", []any{a.Record.Decision.Reason, a.Record.Decision.NextAttempt}, []any{policy.ReasonRetryScheduled, 3})
		w.pass(30 * time.Second)
		w.wantState("a", scheduler.StateScheduled)
	})
}

// A task whose deadline has passed is told to be dead before anybody has written it,
// and so it is replayed.
func TestReplayOfATaskThatIsLateToDie(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]func(*scheduler.Report){
		"scheduled": by("minute"),
		"held":      func(r *scheduler.Report) { by("holds")(r); outcome("hold")(r) },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.report(failure("a", first, func(r *scheduler.Report) { r.Spec.DeadlineMS = time.Now().Add(61 * time.Second).UnixMilli() }))
				w.pass(61*time.Second + time.Millisecond)
				equal(t, "counted", counted(w.replay("a")), []any{scheduler.StateScheduled, 2, 2, 2, scheduler.TriggerReplay, 3, 0, 0})
			})
		})
	}
}

// The attempt that was held has failed: that its deadline then ended the task does
// not make it the one in turn again.
func TestDeadlineOfAHeldTaskKeepsItsNumbers(t *testing.T) {
	inWorld(t, func(w *world) {
		held := w.report(failure("a", by("holds"), outcome("hold"), func(r *scheduler.Report) { r.Spec.DeadlineMS = time.Now().Add(time.Minute).UnixMilli() }))
		w.pass(5 * time.Minute)
		w.wantState("a", scheduler.StateDead)
		w.sameAnswer(held, w.report(failure("a", bare, attempt(1))))
		w.refused(failure("a", bare), scheduler.KindWrongState)
		w.refused(failure("a", bare, attempt(2)), scheduler.KindWrongState)
		w.refused(failure("a", bare, attempt(3)), scheduler.KindOutOfOrder)
		w.replay("a")
		a := w.report(failure("a", bare, attempt(2)))
		equal(t, "duplicate and generation", []any{a.Duplicate, a.Record.Generation}, []any{false, 2})
	})
}

func TestReplayAfterExpiredLeases(t *testing.T) {
	inWorld(t, func(w *world) {
		sub := w.worker(1)
		w.report(failure("a", by("fragile")))
		w.next(sub)
		stale := w.next(sub)
		w.pass(30 * time.Second)
		w.none(sub)
		dead := w.wantState("a", scheduler.StateDead)
		equal(t, "counted", counted(dead), []any{scheduler.StateDead, 1, 2, 1, scheduler.TriggerRetry, 0, 2, 2})
		// Its attempt 2 has not been reported, and is made again.
		task := w.replay("a")
		equal(t, "counted", counted(task), []any{scheduler.StateScheduled, 2, 2, 2, scheduler.TriggerReplay, 3, 0, 0})
		w.refused(success("", with(stale)), scheduler.KindLeaseLost)
		d := w.next(sub)
		equal(t, "attempt, delivery and expiries", []int{d.Task.Attempt, d.Task.Delivery, d.Task.Expiries}, []int{2, 1, 0})
		if d.Task.Fence.Number <= stale.Task.Fence.Number {
			t.Errorf("fence %d after %d", d.Task.Fence.Number, stale.Task.Fence.Number)
		}
		w.refused(failure("", with(stale)), scheduler.KindLeaseLost)
		kindOf(t, w.s.Extend(w.ctx, "ns", []string{stale.Token}, 0)[0].Err, scheduler.KindLeaseLost)
		kindOf(t, w.s.Release(w.ctx, "ns", stale.Token, 0), scheduler.KindLeaseLost)
		again := w.next(sub) // leases expire as often as in the first generation
		equal(t, "delivery", again.Task.Delivery, 2)
		w.pass(30 * time.Second)
		w.none(sub)
		equal(t, "reason", w.wantState("a", scheduler.StateDead).DeadReason, policy.ReasonLeasesExpired)
	})
}

func TestDuplicatesAcrossGenerations(t *testing.T) {
	inWorld(t, func(w *world) {
		sub := w.worker(1)
		first := w.report(failure("a", by("never"), keyed("send")))
		w.replay("a")
		w.sameAnswer(first, w.report(failure("a", by("never"), keyed("send"))))
		w.sameAnswer(first, w.report(failure("a", by("never"), keyed("send"), attempt(1))))
		w.sameAnswer(first, w.report(failure("a", bare, attempt(1), keyed("new"))))
		w.refused(failure("a", by("never"), keyed("send"), outcome("other")), scheduler.KindKeyReused)
		w.wantState("a", scheduler.StateScheduled)

		d := w.next(sub)
		second := w.report(failure("", with(d)))
		equal(t, "attempt and reason", []any{second.Record.Attempt, second.Record.Decision.Reason}, []any{2, policy.ReasonRetriesExhausted})
		w.sameAnswer(second, w.report(failure("", with(d))))
		w.sameAnswer(first, w.report(failure("a", by("never"), keyed("send"), attempt(1))))
		w.report(success("a", bare))
		w.sameAnswer(first, w.report(failure("a", by("never"), keyed("send"))))
		w.sameAnswer(second, w.report(failure("", with(d))))
	})
}

// A replay that is not due yet takes no failure without a number: nobody can have
// made it.
func TestReplayPutOffTakesNoResend(t *testing.T) {
	inWorld(t, func(w *world) {
		first := w.report(failure("a", by("never")))
		w.replay("a")
		w.operated(w.s.Reschedule(w.ctx, key("a"), time.Now().Add(time.Hour).UnixMilli()))
		w.sameAnswer(first, w.report(failure("a", bare)))
		equal(t, "attempt", w.report(failure("a", bare, attempt(2))).Record.Attempt, 2)
	})
}
