package server_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/server"
)

// task is a task as GetTask tells it.
func (s *site) task(id string) *retryv1.Task {
	s.t.Helper()
	resp, err := s.tasks.GetTask(s.ctx(), &retryv1.GetTaskRequest{TaskId: id})
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.GetTask()
}

// die reports a failure that makes a task of policy p a dead letter.
func (s *site) die(queue, id, group, message string) {
	s.t.Helper()
	f := httpFailure(503)
	f.Permanent, f.Message = true, message
	_, err := s.retry.ReportFailure(s.ctx(), &retryv1.ReportFailureRequest{
		Task:    &retryv1.TaskSpec{Id: id, Queue: queue, Policy: "p", Group: group, Payload: []byte("payload of " + id), Attributes: map[string]string{"a": "b"}},
		Failure: f,
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// TestGetTaskTellsTheWholeStory takes a task through a retry that is delivered
// twice, a dead letter, a replay and a success.
func TestGetTaskTellsTheWholeStory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := setup(t, server.Config{})
		p := fixed("p", time.Minute)
		p.MaxRetries = 1
		if _, err := s.pol.CreatePolicy(s.ctx(), &retryv1.CreatePolicyRequest{Policy: p}); err != nil {
			t.Fatal(err)
		}
		s.fail("q", "x", "p")
		got := s.task("x")
		first := got.GetAttempts()[0]
		switch {
		case got.GetState() != retryv1.Task_STATE_SCHEDULED, got.GetQueue() != "q", got.GetPolicy() != "p", got.GetAttempt() != 2, got.GetGeneration() != 1, got.GetDelivery() != 0,
			string(got.GetPayload()) != "payload of x", got.GetEndTime() != nil, got.GetFingerprint() != "", len(got.GetAttempts()) != 1,
			!got.GetNextAttemptTime().AsTime().Equal(got.GetFirstFailureTime().AsTime().Add(time.Minute)):
			t.Errorf("after the first failure: %v", got)
		case first.GetAttempt() != 1, first.GetTrigger() != retryv1.Trigger_TRIGGER_UNSPECIFIED, first.GetFailure().GetHttp().GetStatus() != 503, first.GetSincePrevious() != nil,
			first.GetDecision().GetAction() != retryv1.Action_ACTION_RETRY, len(first.GetDecision().GetExplanation()) == 0, first.GetDeliveries() != 0, first.GetWorkerId() != "":
			t.Errorf("the first attempt: %v", first)
		}

		w := s.open(s.retry, &retryv1.Open{Queues: []string{"q"}, WorkerId: "w", LeaseDuration: durationpb.New(10 * time.Second)})
		w.attempt()
		if got := s.task("x"); got.GetState() != retryv1.Task_STATE_LEASED || got.GetDelivery() != 1 {
			t.Errorf("handed out: %v", got)
		}
		w.fail(w.attempt().GetLeaseToken(), httpFailure(500)) // the lease of the first delivery is over
		w.result()
		got = s.task("x")
		second := got.GetAttempts()[1]
		switch {
		case got.GetState() != retryv1.Task_STATE_DEAD, got.GetDeadReason() != retryv1.Reason_REASON_RETRIES_EXHAUSTED, got.GetEndTime() == nil, len(got.GetFingerprint()) != 16,
			got.GetNextAttemptTime() != nil, string(got.GetPayload()) == "":
			t.Errorf("dead: %v", got)
		case second.GetAttempt() != 2, second.GetTrigger() != retryv1.Trigger_TRIGGER_RETRY, second.GetWorkerId() != "w", second.GetDeliveries() != 2,
			second.GetSincePrevious().AsDuration() != second.GetTime().AsTime().Sub(first.GetTime().AsTime()), second.GetSincePrevious().AsDuration() < 70*time.Second:
			t.Errorf("the second attempt: %v", second)
		}

		if _, err := s.tasks.ReplayTask(s.ctx(), &retryv1.ReplayTaskRequest{TaskId: "x"}); err != nil {
			t.Fatal(err)
		}
		a := w.attempt()
		if a.GetAttempt() != 3 || a.GetGeneration() != 2 || a.GetTrigger() != retryv1.Trigger_TRIGGER_REPLAY || a.GetRetriesLeft() != 1 || string(a.GetPayload()) != "payload of x" {
			t.Errorf("replayed: %v", a)
		}
		w.succeed(a.GetLeaseToken())
		w.result()
		got = s.task("x")
		last := got.GetAttempts()[2]
		switch {
		case got.GetState() != retryv1.Task_STATE_SUCCEEDED, got.GetGeneration() != 2, len(got.GetPayload()) != 0, got.GetEndTime() == nil, got.GetDeadReason() != 0, got.GetFingerprint() != "":
			t.Errorf("ended: %v", got)
		case last.GetFailure() != nil, last.GetDecision() != nil, last.GetGeneration() != 2, last.GetTrigger() != retryv1.Trigger_TRIGGER_REPLAY:
			t.Errorf("the last attempt: %v", last)
		}
		w.cancel()
	})
}

// operations are the calls on one task that take no more than its name.
func (s *site) operations() map[string]func(ctx context.Context, namespace, id string) (*retryv1.Task, error) {
	return map[string]func(ctx context.Context, namespace, id string) (*retryv1.Task, error){
		"get": func(ctx context.Context, namespace, id string) (*retryv1.Task, error) {
			resp, err := s.tasks.GetTask(ctx, &retryv1.GetTaskRequest{Namespace: namespace, TaskId: id})
			return resp.GetTask(), err
		},
		"cancel": func(ctx context.Context, namespace, id string) (*retryv1.Task, error) {
			resp, err := s.tasks.CancelTask(ctx, &retryv1.CancelTaskRequest{Namespace: namespace, TaskId: id})
			return resp.GetTask(), err
		},
		"retry now": func(ctx context.Context, namespace, id string) (*retryv1.Task, error) {
			resp, err := s.tasks.RetryNow(ctx, &retryv1.RetryNowRequest{Namespace: namespace, TaskId: id})
			return resp.GetTask(), err
		},
		"reschedule": func(ctx context.Context, namespace, id string) (*retryv1.Task, error) {
			resp, err := s.tasks.Reschedule(ctx, &retryv1.RescheduleRequest{Namespace: namespace, TaskId: id, Time: timestamppb.New(time.Now().Add(time.Hour))})
			return resp.GetTask(), err
		},
		"replay": func(ctx context.Context, namespace, id string) (*retryv1.Task, error) {
			resp, err := s.tasks.ReplayTask(ctx, &retryv1.ReplayTaskRequest{Namespace: namespace, TaskId: id})
			return resp.GetTask(), err
		},
		"discard": func(ctx context.Context, namespace, id string) (*retryv1.Task, error) {
			resp, err := s.tasks.DiscardTask(ctx, &retryv1.DiscardTaskRequest{Namespace: namespace, TaskId: id})
			return resp.GetTask(), err
		},
	}
}

// TestOperations has each operation on a scheduled task and on a dead letter.
func TestOperations(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	s.policy("p", 24*time.Hour)
	for name, want := range map[string]struct{ scheduled, dead retryv1.Task_State }{
		"get":        {retryv1.Task_STATE_SCHEDULED, retryv1.Task_STATE_DEAD},
		"cancel":     {retryv1.Task_STATE_CANCELLED, 0},
		"retry now":  {retryv1.Task_STATE_SCHEDULED, 0},
		"reschedule": {retryv1.Task_STATE_SCHEDULED, 0},
		"replay":     {0, retryv1.Task_STATE_SCHEDULED},
		"discard":    {0, retryv1.Task_STATE_DISCARDED},
	} {
		operate := s.operations()[name]
		s.fail("", name+" scheduled", "p")
		s.die("", name+" dead", "", "")
		for id, want := range map[string]retryv1.Task_State{name + " scheduled": want.scheduled, name + " dead": want.dead} {
			got, err := operate(s.ctx(), "", id)
			if want != 0 {
				if err != nil || got.GetState() != want || len(got.GetAttempts()) != 1 {
					t.Errorf("%s: %v, %v", id, got, err)
				}
				continue
			}
			state := map[bool]string{true: "DEAD", false: "SCHEDULED"}[id == name+" dead"]
			if got := tell(err); got.code != "FailedPrecondition" || got.reason != "WRONG_STATE" || got.metadata["state"] != state || got.metadata["task_id"] != id {
				t.Errorf("%s: %+v", id, got)
			}
		}
		_, err := operate(s.ctx(), "", "unknown")
		if got := tell(err); got.code != "NotFound" || got.reason != "TASK_NOT_FOUND" {
			t.Errorf("%s of an unknown task: %+v", name, got)
		}
		_, err = operate(s.ctx(), "other", name+" scheduled")
		if got := tell(err); got.reason != "TASK_NOT_FOUND" {
			t.Errorf("%s from another namespace: %+v", name, got)
		}
		_, err = operate(s.ctx(), "?", "\n")
		if got := tell(err); !slices.Equal(got.violations, []string{"namespace", "task_id"}) {
			t.Errorf("%s, all bad: %+v", name, got)
		}
	}
	// Those that say so may be repeated.
	for _, name := range []string{"cancel", "discard"} {
		id := map[string]string{"cancel": "cancel scheduled", "discard": "discard dead"}[name]
		if _, err := s.operations()[name](s.ctx(), "", id); err != nil {
			t.Errorf("%s once more: %v", name, err)
		}
	}
}

func TestTimesOfOperations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := setup(t, server.Config{})
		s.policy("p", 24*time.Hour)
		s.fail("", "x", "p")
		reschedule := func(id string, at time.Time) (*retryv1.Task, error) {
			resp, err := s.tasks.Reschedule(s.ctx(), &retryv1.RescheduleRequest{TaskId: id, Time: timestamppb.New(at)})
			return resp.GetTask(), err
		}
		for _, at := range []time.Duration{time.Hour, 100 * time.Hour, -time.Hour} {
			got, err := reschedule("x", time.Now().Add(at))
			if err != nil || !got.GetNextAttemptTime().AsTime().Equal(time.Now().Add(max(0, at)).Truncate(time.Millisecond)) {
				t.Errorf("rescheduled by %s: %v, %v", at, got, err)
			}
		}
		if _, err := reschedule("x", time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		resp, err := s.tasks.RetryNow(s.ctx(), &retryv1.RetryNowRequest{TaskId: "x"})
		if err != nil || !resp.GetTask().GetNextAttemptTime().AsTime().Equal(time.Now().Truncate(time.Millisecond)) {
			t.Errorf("now: %v, %v", resp, err)
		}
		if _, err := s.tasks.Reschedule(s.ctx(), &retryv1.RescheduleRequest{Namespace: "?"}); !slices.Equal(tell(err).violations, []string{"namespace", "task_id", "time"}) {
			t.Errorf("all bad: %+v", tell(err))
		}
		_, err = s.retry.ReportFailure(s.ctx(), &retryv1.ReportFailureRequest{
			Task: &retryv1.TaskSpec{Id: "bound", Policy: "p", Deadline: timestamppb.New(time.Now().Add(48 * time.Hour))}, Failure: httpFailure(503),
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := reschedule("bound", time.Now().Add(49*time.Hour)); tell(err).reason != "INVALID_REQUEST" || !slices.Equal(tell(err).violations, []string{"time"}) {
			t.Errorf("after the deadline: %+v", tell(err))
		}
	})
}

// TestCancelTakesTheLease has a worker hold a task that is cancelled.
func TestCancelTakesTheLease(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	s.policy("quick", time.Millisecond)
	s.fail("q", "x", "quick")
	w := s.open(s.retry, &retryv1.Open{Queues: []string{"q"}})
	a := w.attempt()
	if _, err := s.tasks.CancelTask(s.ctx(), &retryv1.CancelTaskRequest{TaskId: "x"}); err != nil {
		t.Fatal(err)
	}
	if r := w.extend(time.Minute, a.GetLeaseToken()).GetResults(); r[0].GetError().GetReason() != "LEASE_LOST" {
		t.Errorf("extended: %v", r)
	}
	w.succeed(a.GetLeaseToken())
	if got := w.result(); got.GetError().GetReason() != "LEASE_LOST" {
		t.Errorf("settled: %v", got)
	}
	if got := s.task("x"); got.GetState() != retryv1.Task_STATE_CANCELLED || len(got.GetPayload()) != 0 {
		t.Errorf("in the end: %v", got)
	}
}
