package wire_test

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server/wire"
)

func TestTaskInEachState(t *testing.T) {
	t.Parallel()
	in := func(state scheduler.State) *scheduler.Task {
		return &scheduler.Task{
			Key: scheduler.TaskKey{Namespace: "n", ID: "x"}, State: state,
			Spec: scheduler.Spec{
				Queue: "q", Policy: "p", Job: "j", Environment: "e", Group: "g", Payload: []byte("payload"), Attributes: map[string]string{"a": "b"}, DeadlineMS: 9000,
			},
			Attempt: 3, Generation: 2, Delivery: 4, DueMS: 1000, FirstFailureMS: 500,
			HoldCondition: "c", HoldMS: 2000, DeadReason: policy.ReasonDeadline, Fingerprint: 255, EndMS: 3000,
		}
	}
	base := &retryv1.Task{
		TaskId: "x", Queue: "q", Policy: "p", Job: "j", Environment: "e", Group: "g", Attributes: map[string]string{"a": "b"}, Deadline: wire.Time(9000),
		Attempt: 3, Generation: 2, Delivery: 4, FirstFailureTime: wire.Time(500),
	}
	for state, set := range map[scheduler.State]func(m *retryv1.Task){
		scheduler.StateScheduled: func(m *retryv1.Task) { m.NextAttemptTime = wire.Time(1000) },
		scheduler.StateLeased:    func(m *retryv1.Task) { m.NextAttemptTime = wire.Time(1000) },
		scheduler.StateHeld:      func(m *retryv1.Task) { m.HoldCondition, m.HoldTime = "c", wire.Time(2000) },
		scheduler.StateDead: func(m *retryv1.Task) {
			m.DeadReason, m.EndTime, m.Fingerprint = retryv1.Reason_REASON_DEADLINE, wire.Time(3000), "00000000000000ff"
		},
		scheduler.StateSucceeded: func(m *retryv1.Task) { m.EndTime = wire.Time(3000) },
		scheduler.StateCancelled: func(m *retryv1.Task) { m.EndTime = wire.Time(3000) },
		scheduler.StateDiscarded: func(m *retryv1.Task) { m.EndTime = wire.Time(3000) },
	} {
		want := proto.CloneOf(base)
		want.State = retryv1.Task_State(state)
		set(want)
		if want.GetState().String() != "STATE_"+state.String() {
			t.Errorf("%s is told as %s", state, want.GetState())
		}
		if got := wire.ListedTask(in(state)); !proto.Equal(got, want) {
			t.Errorf("listed %v\nwant %v", got, want)
		}
		want.Payload = []byte("payload")
		if got := wire.Task(in(state)); !proto.Equal(got, want) {
			t.Errorf("told %v\nwant %v", got, want)
		}
	}
	dead := in(scheduler.StateDead)
	dead.Fingerprint = 0
	if got := wire.ListedTask(dead).GetFingerprint(); got != "" {
		t.Errorf("no fingerprint is told as %q", got)
	}
}

// TestAttemptsAreToldWithTheTimeBetween has a task of 103 attempts, of which three
// are no longer kept.
func TestAttemptsAreToldWithTheTimeBetween(t *testing.T) {
	t.Parallel()
	task := &scheduler.Task{Dropped: 3}
	for i := range 103 {
		if i < 20 || i > 22 {
			task.History = append(task.History, scheduler.AttemptRecord{
				Attempt: i + 1, Generation: 1, Trigger: scheduler.TriggerRetry, TimeMS: int64(i*i) * 1000, Worker: "w", Deliveries: 2,
				Failure:  policy.Failure{Cause: policy.CauseHTTP, HTTPStatus: 503, Message: fmt.Sprint("failure ", i)},
				Decision: policy.Decision{Action: policy.ActionRetry, Reason: policy.ReasonRetryScheduled, Attempt: i + 1},
				Policy:   "p", PolicyRevision: 7,
			})
		}
	}
	task.History[99].Success = true
	got := wire.Task(task)
	if len(got.GetAttempts()) != 100 || got.GetAttemptsDropped() != 3 {
		t.Fatalf("%d attempts, %d dropped", len(got.GetAttempts()), got.GetAttemptsDropped())
	}
	for i, a := range got.GetAttempts() {
		n := int64(a.GetAttempt() - 1)
		since := time.Duration(2*n-1) * time.Second
		switch {
		case (i == 0 || i == 20) != (a.GetSincePrevious() == nil), i != 0 && i != 20 && a.GetSincePrevious().AsDuration() != since:
			t.Errorf("attempt %d comes %v after the one before", n+1, a.GetSincePrevious())
		case i == 99:
			if a.GetFailure() != nil || a.GetDecision() != nil {
				t.Errorf("the success: %v", a)
			}
		case a.GetFailure().GetMessage() != fmt.Sprint("failure ", n), a.GetDecision().GetPolicyRevision() != 7, a.GetWorkerId() != "w", a.GetDeliveries() != 2,
			a.GetTrigger() != retryv1.Trigger_TRIGGER_RETRY, a.GetGeneration() != 1, wire.MS(a.GetTime()) != n*n*1000:
			t.Errorf("attempt %d: %v", n+1, a)
		}
	}
	sample := wire.SampleTask(task)
	if len(sample.GetPayload()) != 0 || len(sample.GetAttempts()) != 1 || !proto.Equal(sample.GetAttempts()[0], got.GetAttempts()[99]) {
		t.Errorf("the sample: %v", sample)
	}
}

func TestQueueAndGroup(t *testing.T) {
	t.Parallel()
	view := scheduler.QueueView{
		Key: scheduler.QueueKey{Namespace: "n", Name: "q"}, Scheduled: 1, Due: 2, Leased: 3, Held: 4, Dead: 5, OldestDueAgeMS: 1500, Paused: true, PausedUntilMS: 9000,
		Health: []scheduler.HealthMetric{{Name: "m", Value: 0.5, Range: "< 1", State: scheduler.HealthAlert}},
	}
	want := &retryv1.Queue{
		Queue: "q", Scheduled: 1, Due: 2, Leased: 3, Held: 4, Dead: 5, OldestDueAge: wire.Milliseconds(1500), Paused: true, PausedUntil: wire.Time(9000),
		Health: []*retryv1.HealthMetric{{Name: "m", Value: 0.5, HealthyRange: "< 1", State: retryv1.HealthMetric_STATE_ALERT}},
	}
	if got := wire.Queue(&view); !proto.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	view.Due, view.PausedUntilMS = 0, 0
	if got := wire.Queue(&view); got.GetOldestDueAge() != nil || got.GetPausedUntil() != nil || !got.GetPaused() {
		t.Errorf("with nothing due, paused for good: %v", got)
	}
	for state := scheduler.HealthUnspecified; state <= scheduler.HealthNoData; state++ {
		if retryv1.HealthMetric_State_name[int32(state)] == "" {
			t.Errorf("health %d has no name", state)
		}
	}
	group := wire.Group("g", scheduler.GroupCount{Total: 10, Completed: 1, Failed: 2, InProgress: 3})
	if !proto.Equal(group, &retryv1.Group{Group: "g", Total: 10, Completed: 1, Failed: 2, Pending: 4, InProgress: 3}) {
		t.Errorf("the group: %v", group)
	}
}

func TestJobs(t *testing.T) {
	t.Parallel()
	rec := &scheduler.JobRecord{
		Job:      scheduler.Job{ID: "j", DisplayName: "J", Policy: "p", Environments: map[string]string{"prod": "q", "test": ""}},
		Revision: 3, CreateMS: 1000, UpdateMS: 2000,
	}
	got := wire.JobRecord(rec)
	want := &retryv1.Job{
		Id: "j", DisplayName: "J", Policy: "p", Environments: map[string]*retryv1.JobEnvironment{"prod": {Policy: "q"}, "test": {}},
		Revision: 3, Etag: rec.Etag(), CreateTime: wire.Time(1000), UpdateTime: wire.Time(2000),
	}
	if !proto.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	back := wire.Job(got)
	if back.ID != "j" || back.DisplayName != "J" || back.Policy != "p" || len(back.Environments) != 2 || back.Environments["prod"] != "q" {
		t.Errorf("read back as %+v", back)
	}
	// A client that sends no value for a key sends a nil message.
	if got := wire.Job(&retryv1.Job{Environments: map[string]*retryv1.JobEnvironment{"x": nil}}); got.Environments["x"] != "" {
		t.Errorf("read as %+v", got)
	}
}
