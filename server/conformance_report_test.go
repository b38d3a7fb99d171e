package server_test

import (
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/internal/conformance"
	"github.com/retryd/retryd/internal/teststore"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler/memstore"
	"github.com/retryd/retryd/server"
)

// TestConformanceByReports takes tasks through every case on a running service,
// whose clock starts at the case's start and runs through its hours and days in
// no time. Where there is jitter, it takes a thousand.
func TestConformanceByReports(t *testing.T) {
	t.Parallel()
	if teststore.OnRedis() {
		t.Skip("in virtual time all is in memory")
	}
	for _, file := range loadConformance(t) {
		for _, c := range file.Cases {
			t.Run(file.Name+"/"+c.Name, func(t *testing.T) {
				t.Parallel()
				p, _ := file.Policy(c.Policy)
				synctest.Test(t, func(t *testing.T) { playCase(t, p, c) })
			})
		}
	}
}

// TestCaseWithTimesOfItsOwn shows that a step is played at the time it names:
// before its attempt is due, when its caller makes it without waiting, and after.
func TestCaseWithTimesOfItsOwn(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(d time.Duration) *time.Time { return new(start.Add(d)) }
	retry := func(n int, due time.Duration) conformance.Expect {
		return conformance.Expect{Action: policy.ActionRetry, Reason: policy.ReasonRetryScheduled, NextAttempt: n, TimeMin: at(due), TimeMax: at(due)}
	}
	failure := conformance.Failure{JSON: []byte(`{"timeout": {}}`)}
	p := conformance.Policy{JSON: []byte(`{
		"id": "hourly", "display_name": "Hourly", "max_retries": 3, "fixed": {"delay": "3600s"}, "default_action": "ACTION_RETRY"
	}`)}
	p.ID = "hourly"
	c := conformance.Case{Policy: "hourly", Start: start, Steps: []conformance.Step{
		{Failure: failure, Expect: retry(2, time.Hour)},
		{Failure: failure, At: *at(30 * time.Minute), Expect: retry(3, 90*time.Minute)},
		{Failure: failure, At: *at(2 * time.Hour), Expect: retry(4, 3*time.Hour)},
		{Failure: failure, Expect: conformance.Expect{Action: policy.ActionDeadLetter, Reason: policy.ReasonRetriesExhausted}},
	}}
	synctest.Test(t, func(t *testing.T) { playCase(t, p, c) })
}

// play is a case under way on a running service.
type play struct {
	*site
	c conformance.Case
	// ahead is how far the service's clock is ahead of the bubble's.
	ahead time.Duration

	mu sync.Mutex
	// last holds the last decision of each task that is under way.
	last map[string]*retryv1.Decision
	// under counts those tasks.
	under sync.WaitGroup
}

// playCase takes tasks through a case, each from its first failure on: every
// attempt is handed out when it is due, and fails at once or when the step says.
func playCase(t *testing.T, p conformance.Policy, c conformance.Case) {
	t.Helper()
	ahead := time.Until(c.Start)
	store := memstore.New(memstore.Config{NowMS: func() int64 { return time.Now().Add(ahead).UnixMilli() }})
	y := &play{
		// The connection is to last for days, and what it does is not what this is about.
		site: setupOn(t, server.Config{Log: slog.New(slog.DiscardHandler), MaxConnectionAge: 1000 * 24 * time.Hour}, store),
		c:    c, ahead: ahead, last: make(map[string]*retryv1.Decision),
	}
	if _, err := y.pol.CreatePolicy(y.ctx(), &retryv1.CreatePolicyRequest{Policy: decode[retryv1.Policy](t, p.JSON)}); err != nil {
		t.Fatal(err)
	}
	w := y.open(y.retry, &retryv1.Open{Queues: []string{"cases"}, MaxInFlight: 1000, LeaseDuration: durationpb.New(12 * time.Hour)})
	synctest.Wait()
	tasks := 1
	if p.Jitter.Kind != policy.JitterNone {
		tasks = 1000
	}
	y.under.Add(tasks)
	for i := range tasks {
		go y.fail(fmt.Sprintf("task-%d", i), 0, "")
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		for {
			msg, err := w.stream.Recv()
			if err != nil {
				return
			}
			go y.handedOut(msg.GetAttempt())
		}
	}()
	y.under.Wait()
	w.cancel()
	<-over
}

// now is what the service's clock shows.
func (y *play) now() time.Time { return time.Now().Add(y.ahead).UTC() }

// handedOut fails an attempt that has come.
func (y *play) handedOut(a *retryv1.Attempt) {
	id, i := a.GetTaskId(), int(a.GetAttempt())-1
	y.mu.Lock()
	d, under := y.last[id]
	y.mu.Unlock()
	if !under {
		return // the case has ended, and the task goes on
	}
	if due := a.GetDueTime().AsTime(); !y.now().Equal(due) || !due.Equal(d.GetNextAttemptTime().AsTime()) || a.GetAttempt() != d.GetNextAttempt() {
		y.t.Errorf("%s: at %s came %v, after %v", id, y.now(), a, d)
	}
	if at := y.c.Steps[i].At; !at.IsZero() {
		pass(at.Sub(y.now()))
	}
	y.fail(id, i, a.GetLeaseToken())
}

// fail reports the failure of a step, under a lease or without one, and makes the
// next one when the step after it does not wait for its attempt to fall due.
func (y *play) fail(id string, i int, token string) {
	step := y.c.Steps[i]
	req := &retryv1.ReportFailureRequest{LeaseToken: token, Attempt: int32(i + 1), Failure: decode[retryv1.Failure](y.t, step.Failure.JSON)}
	if token == "" {
		req.Task = &retryv1.TaskSpec{Id: id, Queue: "cases", Policy: y.c.Policy}
		if !y.c.Deadline.IsZero() {
			req.Task.Deadline = timestamppb.New(y.c.Deadline)
		}
	}
	resp, err := y.retry.ReportFailure(y.t.Context(), req)
	if err != nil {
		y.t.Errorf("%s, step %d: %v", id, i+1, err)
		y.leave(id)
		return
	}
	d := resp.GetDecision()
	holdTo(y.t, i, d, step.Expect)
	next := d.GetNextAttemptTime().AsTime()
	if wait := d.GetDelay().AsDuration(); d.GetAction() == retryv1.Action_ACTION_RETRY && !next.Equal(y.now().Add(wait)) {
		y.t.Errorf("%s, step %d: at %s, the next attempt is due in %s, at %s", id, i+1, y.now(), wait, next)
	}
	if i+1 == len(y.c.Steps) || d.GetAction() != retryv1.Action_ACTION_RETRY {
		y.standsAs(id, d)
		y.leave(id)
		return
	}
	y.mu.Lock()
	y.last[id] = d
	y.mu.Unlock()
	if at := y.c.Steps[i+1].At; !at.IsZero() && at.Before(next) {
		pass(at.Sub(y.now()))
		y.fail(id, i+1, "")
	}
}

// leave ends the case for a task.
func (y *play) leave(id string) {
	y.mu.Lock()
	delete(y.last, id)
	y.mu.Unlock()
	y.under.Done()
}

// standsAs holds a task's state to the last decision.
func (y *play) standsAs(id string, d *retryv1.Decision) {
	want := map[retryv1.Action]retryv1.Task_State{
		retryv1.Action_ACTION_RETRY:       retryv1.Task_STATE_SCHEDULED,
		retryv1.Action_ACTION_HOLD:        retryv1.Task_STATE_HELD,
		retryv1.Action_ACTION_DEAD_LETTER: retryv1.Task_STATE_DEAD,
	}[d.GetAction()]
	resp, err := y.retry.NextAttempt(y.t.Context(), &retryv1.NextAttemptRequest{Target: &retryv1.NextAttemptRequest_TaskId{TaskId: id}})
	if err != nil || resp.GetState() != want {
		y.t.Errorf("%s stands as %v, %v; want %v", id, resp.GetState(), err, want)
	}
}
