package scheduler_test

import (
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
)

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

// The rows of the table "What a report means in each state", from the top.

func TestLeasedTakesItsToken(t *testing.T) {
	inWorld(t, func(w *world) {
		sub := w.worker(1)
		w.report(failure("a"))
		d := w.next(sub)
		a := w.report(failure("", with(d), keyed("beside the token")))
		equal(t, "next attempt", a.Record.Decision.NextAttempt, 3)
		equal(t, "worker and deliveries", []any{a.Record.Worker, a.Record.Deliveries}, []any{"w", 1})
		w.wantState("a", scheduler.StateScheduled)
	})
}

func TestTokenNamesItsAttempt(t *testing.T) {
	inWorld(t, func(w *world) {
		sub := w.worker(1)
		w.report(failure("a"))
		d := w.next(sub)
		w.refused(failure("", with(d), attempt(1)), scheduler.KindInvalid)
		w.refused(failure("", with(d), attempt(3)), scheduler.KindInvalid)
		first := w.report(success("", with(d), attempt(2)))
		equal(t, "attempts", first.Attempts, 2)
		w.refused(success("", with(d), attempt(1)), scheduler.KindInvalid)
		w.sameAnswer(first, w.report(success("", with(d), attempt(2))))
	})
}

func TestTokenOfAnotherTaskOrNamespaceIsInvalid(t *testing.T) {
	inWorld(t, func(w *world) {
		sub := w.worker(1)
		w.report(failure("a"))
		d := w.next(sub)
		w.refused(failure("b", func(r *scheduler.Report) { r.Token = d.Token }), scheduler.KindInvalid)
		w.refused(failure("", with(d), func(r *scheduler.Report) { r.Namespace = "other" }), scheduler.KindInvalid)
		w.refused(failure("", with(d), func(r *scheduler.Report) { r.Token = "x" + d.Token }), scheduler.KindInvalid)
		w.wantState("a", scheduler.StateLeased)
	})
}

func TestSettledTokenGivesItsFirstAnswer(t *testing.T) {
	inWorld(t, func(w *world) {
		sub := w.worker(1)
		w.report(failure("a"))
		d := w.next(sub)
		first := w.report(failure("", with(d)))
		w.sameAnswer(first, w.report(failure("", with(d))))
		w.refused(success("", with(d)), scheduler.KindLeaseLost)
		again := w.next(sub)
		w.sameAnswer(first, w.report(failure("", with(d))))
		done := w.report(success("", with(again)))
		w.sameAnswer(done, w.report(success("", with(again))))
		w.refused(failure("", with(again)), scheduler.KindLeaseLost)
	})
}

func TestStaleTokenChangesNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		sub := w.worker(2)
		w.report(failure("a"))
		first := w.next(sub)
		second := w.next(sub) // the first lease has expired
		equal(t, "delivery", second.Task.Delivery, 2)
		w.refused(failure("", with(first)), scheduler.KindLeaseLost)
		w.refused(success("", with(first)), scheduler.KindLeaseLost)
		w.wantState("a", scheduler.StateLeased)
		w.report(success("", with(second)))
		w.refused(success("", with(first)), scheduler.KindLeaseLost)
		unknown, _ := scheduler.ParseLeaseToken(first.Token)
		unknown.Key.ID = "nobody"
		w.refused(success("", func(r *scheduler.Report) { r.ID, r.Token = "", unknown.String() }), scheduler.KindLeaseLost)
	})
}

func TestLateTokenIsGoodUntilTheAttemptIsTaken(t *testing.T) {
	inWorld(t, func(w *world) {
		sub := w.worker(1)
		w.report(failure("a"))
		d := w.next(sub)
		sub.SetMaxInFlight(0)
		w.pass(time.Hour)
		w.report(success("", with(d)))
		w.wantState("a", scheduler.StateSucceeded)
	})
}

func TestFirstReportNeedsTheWholeSpec(t *testing.T) {
	inWorld(t, func(w *world) {
		e := w.refused(failure("a", bare), scheduler.KindInvalid)
		equal(t, "field", e.Violations[0].Field, "task.policy")
		e = w.refused(failure("", bare), scheduler.KindInvalid)
		equal(t, "field", e.Violations[0].Field, "task.id")
		w.refused(failure("a", by("nobody")), scheduler.KindPolicyNotFound)
		w.refused(failure("a", func(r *scheduler.Report) { r.Spec.Policy, r.Spec.Job = "", "j" }), scheduler.KindJobNotFound)
		if _, err := w.s.DeletePolicy(w.ctx, "ns", "never", ""); err != nil {
			t.Fatal(err)
		}
		w.refused(failure("a", by("never")), scheduler.KindPolicyDeleted)
		if w.load("a") != nil {
			t.Error("there is a task now")
		}
	})
}

func TestFirstReportStartsAtTheAttemptTold(t *testing.T) {
	inWorld(t, func(w *world) {
		a := w.report(failure("a"))
		equal(t, "attempts", []int{a.Record.Decision.Attempt, a.Record.Decision.NextAttempt}, []int{1, 2})
		b := w.report(failure("b", attempt(3)))
		equal(t, "attempts", []int{b.Record.Decision.Attempt, b.Record.Decision.NextAttempt}, []int{3, 4})
		equal(t, "retries left", b.Record.Decision.RetriesLeft, 0)
		c := w.report(failure("c", attempt(4)))
		equal(t, "reason", c.Record.Decision.Reason, policy.ReasonRetriesExhausted)
	})
}

func TestTaskIDIsDerivedFromTheKey(t *testing.T) {
	inWorld(t, func(w *world) {
		a := w.report(failure("", keyed("k")))
		b := w.report(failure("", keyed("k")))
		w.sameAnswer(a, b)
		c := w.report(failure("", keyed("other")))
		d := w.report(failure("", keyed("k"), func(r *scheduler.Report) { r.Spec.Queue = "q2" }))
		if a.TaskID == c.TaskID || a.TaskID == d.TaskID || c.TaskID == d.TaskID {
			t.Errorf("ids %s, %s, %s should differ", a.TaskID, c.TaskID, d.TaskID)
		}
	})
}

func TestRecordedKeyGivesTheFirstAnswer(t *testing.T) {
	inWorld(t, func(w *world) {
		first := w.report(failure("a", keyed("k"), attempt(1)))
		w.sameAnswer(first, w.report(failure("a", keyed("k"), attempt(1))))
		w.sameAnswer(first, w.report(failure("a", keyed("k")))) // 0 is the newest under the key
		stamped := failure("a", keyed("k"))
		stamped.Failure = &policy.Failure{Cause: policy.CauseHTTP, HTTPStatus: 500, TimeMS: 5}
		w.sameAnswer(first, w.report(stamped))
		w.refused(failure("a", keyed("k"), outcome("other")), scheduler.KindKeyReused)
		w.refused(failure("a", keyed("k"), func(r *scheduler.Report) { r.Spec.Payload = []byte("other") }), scheduler.KindKeyReused)
		w.pass(time.Hour)
		w.sameAnswer(first, w.report(failure("a", keyed("k"))))
		w.sameAnswer(first, w.report(failure("a", keyed("k"), attempt(1))))
	})
}

func TestOneKeyMayServeAllAttempts(t *testing.T) {
	inWorld(t, func(w *world) {
		first := w.report(failure("a", keyed("send"), attempt(1)))
		second := w.report(failure("a", keyed("send"), attempt(2)))
		equal(t, "next attempt", second.Record.Decision.NextAttempt, 3)
		w.sameAnswer(first, w.report(failure("a", keyed("send"), attempt(1))))
		w.sameAnswer(second, w.report(failure("a", keyed("send"), attempt(2))))
		w.sameAnswer(second, w.report(failure("a", keyed("send"))))
		done := w.report(success("a", keyed("send"), attempt(3)))
		w.sameAnswer(done, w.report(success("a", keyed("send"), attempt(3))))
		w.sameAnswer(second, w.report(failure("a", keyed("send"), attempt(2))))
	})
}

func TestKeyOutlivesTheTaskUntilItsRetention(t *testing.T) {
	inWorld(t, func(w *world) {
		first := w.report(failure("a", keyed("k"), by("never")))
		w.report(success("a", bare))
		w.pass(24*time.Hour - time.Minute)
		w.sameAnswer(first, w.report(failure("a", keyed("k"), by("never"))))
		w.pass(time.Minute)
		if again := w.report(failure("a", keyed("k"), by("never"))); again.Duplicate {
			t.Error("after its retention the id is a new task")
		}
	})
}

func TestRecordedAttemptGivesItsAnswer(t *testing.T) {
	inWorld(t, func(w *world) {
		first := w.report(failure("a", attempt(1)))
		w.sameAnswer(first, w.report(failure("a", attempt(1))))
		w.sameAnswer(first, w.report(failure("a", attempt(1), keyed("new"), outcome("other"))))
		sub := w.worker(1)
		w.next(sub)
		w.sameAnswer(first, w.report(failure("a", attempt(1))))
	})
}

func TestAheadIsOutOfOrder(t *testing.T) {
	inWorld(t, func(w *world) {
		w.report(failure("a"))
		for _, r := range []scheduler.Report{failure("a", attempt(3)), success("a", attempt(3)), failure("a", attempt(99), keyed("k"))} {
			e := w.refused(r, scheduler.KindOutOfOrder)
			equal(t, "in turn", e.Metadata["attempt_in_turn"], "2")
		}
		sub := w.worker(1)
		w.next(sub)
		w.refused(failure("a", attempt(3)), scheduler.KindOutOfOrder)
	})
}

func TestLeasedNeedsAToken(t *testing.T) {
	inWorld(t, func(w *world) {
		sub := w.worker(1)
		w.report(failure("a"))
		w.next(sub)
		for _, r := range []scheduler.Report{failure("a"), failure("a", attempt(2)), success("a"), success("a", attempt(1)), failure("a", keyed("k"))} {
			w.refused(r, scheduler.KindLeaseRequired)
		}
	})
}

func TestLateReceiptIsTaken(t *testing.T) {
	inWorld(t, func(w *world) {
		w.report(failure("scheduled"))
		w.report(failure("held", by("holds"), outcome("hold")))
		w.report(failure("dead", by("never")))
		for _, id := range []string{"scheduled", "held", "dead"} {
			a := w.report(success(id, bare, attempt(1)))
			equal(t, "attempts of "+id, a.Attempts, 1)
			task := w.wantState(id, scheduler.StateSucceeded)
			if task.Spec.Payload != nil {
				t.Errorf("%s has kept its payload", id)
			}
			w.sameAnswer(a, w.report(success(id, bare)))
		}
		w.report(failure("in turn"))
		equal(t, "attempts", w.report(success("in turn", bare)).Attempts, 2)
	})
}

func TestCallerMayRunTheAttemptItself(t *testing.T) {
	inWorld(t, func(w *world) {
		w.report(failure("a"))
		w.pass(10 * time.Second)
		a := w.report(failure("a", attempt(2)))
		equal(t, "next attempt", a.Record.Decision.NextAttempt, 3)
		task := w.wantState("a", scheduler.StateScheduled)
		equal(t, "due in", task.DueMS-time.Now().UnixMilli(), int64(60_000))
		sub := w.worker(5)
		equal(t, "delivered", w.next(sub).Task.Attempt, 3)
	})
}

func TestResendBurnsNoRetry(t *testing.T) {
	inWorld(t, func(w *world) {
		first := w.report(failure("a"))
		w.pass(59*time.Second + 999*time.Millisecond)
		task := w.load("a")
		w.sameAnswer(first, w.report(failure("a")))
		w.sameAnswer(first, w.report(failure("a", keyed("new"))))
		w.sameAnswer(first, w.report(failure("a", bare)))
		if w.load("a") != task {
			t.Error("a resend has written something")
		}
		w.pass(time.Millisecond)
		equal(t, "next attempt", w.report(failure("a")).Record.Decision.NextAttempt, 3)
	})
}

func TestParkedTasksAnswerOrRefuse(t *testing.T) {
	inWorld(t, func(w *world) {
		held := w.report(failure("held", by("holds"), outcome("hold")))
		dead := w.report(failure("dead", by("never")))
		w.sameAnswer(held, w.report(failure("held", bare)))
		w.sameAnswer(dead, w.report(failure("dead", bare, keyed("new"))))
		w.sameAnswer(dead, w.report(failure("dead", bare, attempt(1))))
		equal(t, "state", w.refused(failure("held", bare, attempt(2)), scheduler.KindWrongState).Metadata["state"], "HELD")
		equal(t, "state", w.refused(failure("dead", bare, attempt(2)), scheduler.KindWrongState).Metadata["state"], "DEAD")
		w.refused(failure("dead", bare, attempt(3)), scheduler.KindOutOfOrder)
	})
}

func TestTaskDeadWithoutAReportRefusesFailures(t *testing.T) {
	inWorld(t, func(w *world) {
		w.report(failure("a", func(r *scheduler.Report) { r.Spec.DeadlineMS = time.Now().Add(2 * time.Minute).UnixMilli() }))
		w.pass(10 * time.Minute)
		task := w.wantState("a", scheduler.StateDead)
		equal(t, "reason", task.DeadReason, policy.ReasonDeadline)
		w.refused(failure("a", bare), scheduler.KindWrongState)
		w.refused(failure("a", bare, attempt(2)), scheduler.KindWrongState)
		w.report(success("a", bare))
	})
}

func TestEndedTasksRefuseTheRest(t *testing.T) {
	inWorld(t, func(w *world) {
		first := w.report(success("a", keyed("k")))
		w.sameAnswer(first, w.report(success("a", keyed("k"))))
		w.sameAnswer(first, w.report(success("a")))
		w.sameAnswer(first, w.report(success("a", attempt(7))))
		equal(t, "state", w.refused(failure("a"), scheduler.KindWrongState).Metadata["state"], "SUCCEEDED")
		w.refused(failure("a", attempt(1)), scheduler.KindWrongState)
		w.refused(success("a", keyed("k"), func(r *scheduler.Report) { r.Spec.Group = "g" }), scheduler.KindKeyReused)
	})
}

func TestFirstSuccessIsRememberedForItsRetention(t *testing.T) {
	inWorld(t, func(w *world) {
		w.report(success("a", by("nobody knows")))
		task := w.wantState("a", scheduler.StateSucceeded)
		if task.Spec.Payload != nil {
			t.Error("it has kept its payload")
		}
		w.pass(10*time.Minute - time.Millisecond)
		w.wantState("a", scheduler.StateSucceeded)
		w.pass(time.Millisecond)
		if w.load("a") != nil {
			t.Error("it is remembered too long")
		}
	})
}

func TestContradictionsAreAllNamed(t *testing.T) {
	inWorld(t, func(w *world) {
		full := func(r *scheduler.Report) {
			r.Spec = scheduler.Spec{
				Queue: "q", Policy: "minute", Payload: []byte("p"), Attributes: map[string]string{"a": "1"},
				Group: "g", DeadlineMS: time.Now().Add(time.Hour).UnixMilli(), TimeZone: "UTC",
			}
		}
		w.report(failure("a", full))
		w.report(failure("a", full, attempt(2)))
		other := scheduler.Spec{
			Queue: "q2", Policy: "night", Job: "j", Environment: "e", Payload: []byte("p2"), Attributes: map[string]string{"a": "2"},
			Group: "g2", DeadlineMS: 5, TimeZone: "Europe/Berlin",
		}
		e := w.refused(failure("a", attempt(3), func(r *scheduler.Report) { r.Spec = other }), scheduler.KindInvalid)
		var fields []string
		for _, v := range e.Violations {
			fields = append(fields, strings.TrimPrefix(v.Field, "task."))
		}
		equal(t, "fields", fields, []string{"queue", "policy", "job", "environment", "group", "time_zone", "deadline", "payload", "attributes"})
	})
}

func TestAtOnceFromManyHasOneEffect(t *testing.T) {
	inWorld(t, func(w *world) {
		other := w.another()
		answers := make([]scheduler.Answer, 50)
		var wg sync.WaitGroup
		for i := range answers {
			s := w.s
			if i%2 == 0 {
				s = other
			}
			wg.Go(func() {
				var err error
				if answers[i], err = s.Report(w.ctx, failure("a", keyed("k"))); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		duplicates := 0
		for _, a := range answers {
			if a.Duplicate {
				duplicates++
			}
			a.Duplicate = answers[0].Duplicate
			equal(t, "answer", a, answers[0])
		}
		equal(t, "duplicates", duplicates, 49)
		equal(t, "records", len(w.load("a").History), 1)
	})
}

func TestBatchTakesOneTaskInOrder(t *testing.T) {
	inWorld(t, func(w *world) {
		got := w.s.ReportBatch(w.ctx, []scheduler.Report{
			failure("a", attempt(1)),
			failure("bad", by("nobody")),
			failure("a", attempt(2)),
			failure("b"),
			failure("a", attempt(2)),
			success("a", attempt(3)),
		})
		kindOf(t, got[1].Err, scheduler.KindPolicyNotFound)
		var next []int
		for _, i := range []int{0, 2, 3, 4} {
			if got[i].Err != nil {
				t.Fatal(got[i].Err)
			}
			next = append(next, got[i].Answer.Record.Decision.NextAttempt)
		}
		equal(t, "next attempts", next, []int{2, 3, 2, 3})
		equal(t, "duplicate", got[4].Answer.Duplicate, true)
		equal(t, "attempts", got[5].Answer.Attempts, 3)
		w.wantState("a", scheduler.StateSucceeded)
	})
}

func TestHistoryKeepsTheFirstAndTheLast(t *testing.T) {
	inWorld(t, func(w *world) {
		var first scheduler.Answer
		for i := 1; i <= 150; i++ {
			a := w.report(failure("a", by("now"), attempt(i), keyed("k")))
			if i == 20 {
				first = a
			}
		}
		task := w.load("a")
		equal(t, "records and dropped", []int{len(task.History), task.Dropped}, []int{100, 50})
		equal(t, "around the gap", []int{task.History[19].Attempt, task.History[20].Attempt}, []int{20, 71})
		w.sameAnswer(first, w.report(failure("a", by("now"), attempt(20), keyed("k"))))
		w.refused(failure("a", by("now"), attempt(50)), scheduler.KindOutOfOrder)
	})
}

func TestPolicyUpdateHoldsFromTheNextFailureOn(t *testing.T) {
	inWorld(t, func(w *world) {
		w.report(failure("a"))
		rec, err := w.s.Policy(w.ctx, "ns", "minute")
		if err != nil {
			t.Fatal(err)
		}
		p := rec.Policy
		p.Schedule = policy.Schedule{Fixed: &policy.FixedDelay{Delay: time.Hour}}
		if _, err := w.s.UpdatePolicy(w.ctx, "ns", p, rec.Etag()); err != nil {
			t.Fatal(err)
		}
		if _, err := w.s.DeletePolicy(w.ctx, "ns", "minute", ""); err != nil {
			t.Fatal(err)
		}
		equal(t, "due in", w.load("a").DueMS-time.Now().UnixMilli(), int64(60_000))
		a := w.report(failure("a", attempt(2)))
		equal(t, "delay and revision", []int64{a.Record.Decision.DelayMS, a.Record.PolicyRevision}, []int64{3_600_000, 3})
	})
}
