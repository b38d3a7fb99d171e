package scheduler_test

import (
	"testing"
	"time"

	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
)

// released is a held task that is released now.
func (w *world) released(id string) *scheduler.Task {
	w.t.Helper()
	return w.operated(w.s.ReleaseOne(w.ctx, w.load(id), time.Now().UnixMilli()))
}

func TestReleaseSchedulesTheNextAttempt(t *testing.T) {
	inWorld(t, func(w *world) {
		first := w.report(failure("a", by("holds")))
		w.pass(time.Minute)
		w.report(failure("a", by("holds"), outcome("hold")))
		before := w.wantState("a", scheduler.StateHeld)
		equal(t, "retries left at its hold", before.RetriesLeft, 2)
		w.pass(time.Hour)
		task := w.released("a")
		equal(t, "counted", counted(task), []any{scheduler.StateScheduled, 1, 3, 1, scheduler.TriggerRelease, 1, 0, 0})
		equal(t, "due and first failure", []int64{task.DueMS, task.FirstFailureMS}, []int64{time.Now().UnixMilli(), first.Record.TimeMS})
		equal(t, "of its hold", []any{task.HoldCondition, task.HoldMS}, []any{"", int64(0)})
		sub := w.worker(1)
		a := w.report(failure("", with(w.next(sub))))
		equal(t, "trigger, generation and next attempt", []any{a.Record.Trigger, a.Record.Generation, a.Record.Decision.NextAttempt}, []any{scheduler.TriggerRelease, 1, 4})
	})
}

func TestReleaseGoesBeyondTheRetries(t *testing.T) {
	inWorld(t, func(w *world) {
		for i := range 4 {
			w.report(failure("a", by("holds"), outcome("hold"), attempt(i+1)))
			task := w.released("a")
			equal(t, "attempt and retries left", []int{task.Attempt, task.RetriesLeft}, []int{i + 2, max(2-i, 0)})
		}
		a := w.report(failure("a", by("holds"), attempt(5)))
		equal(t, "reason", a.Record.Decision.Reason, policy.ReasonRetriesExhausted)
	})
}

func TestReleaseWaitsForTheWindowsEnd(t *testing.T) {
	inWorld(t, func(w *world) {
		w.report(failure("paused", by("holds"), outcome("hold")))
		w.pauses("holds", policy.PauseWindow{Start: "00:00", End: "01:00"})
		equal(t, "due", clockMS(w.released("paused").DueMS), clock(atClock(1, 0)))
	})
}

// A task whose deadline has passed is not released, but dead, whoever finds it out.
func TestReleaseOfATaskThatIsLateToDie(t *testing.T) {
	inWorld(t, func(w *world) {
		w.report(failure("a", by("holds"), outcome("hold"), func(r *scheduler.Report) { r.Spec.DeadlineMS = time.Now().Add(time.Second).UnixMilli() }))
		held := w.load("a")
		w.pass(time.Second + time.Millisecond)
		_, err := w.s.ReleaseOne(w.ctx, held, time.Now().UnixMilli())
		equal(t, "state", kindOf(t, err, scheduler.KindWrongState).Metadata["state"], "DEAD")
		equal(t, "reason", w.wantState("a", scheduler.StateDead).DeadReason, policy.ReasonDeadline)
		_, err = w.s.ReleaseOne(w.ctx, held, time.Now().UnixMilli())
		kindOf(t, err, scheduler.KindWrongState)
	})
}

func TestReleaseOfAnOldBelief(t *testing.T) {
	inWorld(t, func(w *world) {
		w.report(failure("a", by("holds"), outcome("hold")))
		held := w.load("a")
		task := w.released("a")
		_, err := w.s.ReleaseOne(w.ctx, held, time.Now().UnixMilli())
		e := kindOf(t, err, scheduler.KindWrongState)
		equal(t, "metadata", e.Metadata, map[string]string{"task_id": "a", "state": "SCHEDULED"})
		equal(t, "message", err.Error(), `task "a" is SCHEDULED; only a HELD task can be released`)
		if w.load("a") != task {
			t.Error("it has changed")
		}
	})
}
