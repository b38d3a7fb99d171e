package client_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/retryd/retryd/client"
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

func TestReportFailureThenSuccess(t *testing.T) {
	t.Parallel()
	c := newSite(t).client(t)
	policy(t, c, time.Minute, 3)
	task := client.Task{
		ID: "order-1", Queue: "webhooks", Policy: "p", Payload: []byte("x"),
		Attributes: map[string]string{"a": "b"}, Group: "g", Deadline: time.Now().Add(time.Hour), TimeZone: "UTC",
	}
	d, err := c.ReportFailure(t.Context(), task, client.HTTPFailure(503, ""))
	if err != nil {
		t.Fatal(err)
	}
	if d.Action != client.ActionRetry || d.Reason != client.ReasonRetryScheduled || d.Attempt != 1 || d.NextAttempt != 2 ||
		d.Delay != time.Minute || d.NextAttemptTime.Before(time.Now()) || d.RetriesLeft != 2 || d.Policy != "p" ||
		d.PolicyRevision != 1 || d.TaskID != "order-1" || d.Duplicate || len(d.Explanation) == 0 {
		t.Errorf("decision is %+v", d)
	}
	if got := d.String(); got != "attempt 2 in 1m0s" {
		t.Errorf("decision reads %q", got)
	}
	again, err := c.ReportFailure(t.Context(), client.Task{ID: "order-1"}, client.HTTPFailure(503, ""), client.WithAttempt(1))
	if err != nil {
		t.Fatal(err)
	}
	if !again.Duplicate || !again.NextAttemptTime.Equal(d.NextAttemptTime) {
		t.Errorf("the repeat was decided as %+v, want a duplicate of %+v", again, d)
	}
	done, err := c.ReportSuccess(t.Context(), client.Task{ID: "order-1"})
	if err != nil {
		t.Fatal(err)
	}
	if done.Attempts != 2 || done.TaskID != "order-1" {
		t.Errorf("completion is %+v", done)
	}
	if n := stateOf(t, c, "order-1"); n.State != client.StateSucceeded {
		t.Errorf("state is %s", n.State)
	}
}

func TestReportsAreRefusedWithReasons(t *testing.T) {
	t.Parallel()
	c := newSite(t).client(t)
	policy(t, c, time.Minute, 3)

	_, err := c.ReportFailure(t.Context(), client.Task{ID: "t", Policy: "none"}, errors.New("boom"))
	if !errors.Is(err, client.ErrPolicyNotFound) || errors.Is(err, client.ErrTaskNotFound) {
		t.Errorf("error is %v, want %v", err, client.ErrPolicyNotFound)
	}
	if client.ReasonOf(err) != "POLICY_NOT_FOUND" || status.Code(err) != codes.NotFound {
		t.Errorf("reason and code are %q and %s", client.ReasonOf(err), status.Code(err))
	}
	_, err = c.ReportFailure(t.Context(), client.Task{ID: "t", Queue: "no such name", Policy: "p"}, errors.New("boom"))
	var e *client.Error
	if !errors.As(err, &e) || !errors.Is(err, client.ErrInvalidRequest) {
		t.Fatalf("error is %v, want %v", err, client.ErrInvalidRequest)
	}
	if len(e.Violations) != 1 || e.Violations[0].Field != "task.queue" {
		t.Errorf("violations are %+v", e.Violations)
	}
	if s, ok := status.FromError(err); !ok || s.Code() != codes.InvalidArgument || len(s.Details()) == 0 {
		t.Errorf("as a status it is %v", s)
	}
	// Without an id and a key of the caller's own there would be another task
	// with every call.
	if _, err = c.ReportFailure(t.Context(), client.Task{Policy: "p"}, errors.New("boom")); !errors.Is(err, client.ErrInvalidRequest) {
		t.Errorf("error is %v, want %v", err, client.ErrInvalidRequest)
	}
	if _, err = c.ReportFailure(t.Context(), client.Task{ID: "t", Policy: "p"}, nil); err == nil {
		t.Error("a failure without an error was taken")
	}
	if got := client.ReasonOf(errors.New("another")); got != "" {
		t.Errorf("reason of another error is %q", got)
	}
}

func TestTaskIDIsDerivedFromTheCallersKey(t *testing.T) {
	t.Parallel()
	c := newSite(t).client(t)
	policy(t, c, time.Minute, 3)
	var ids []string
	for range 2 {
		d, err := c.ReportFailure(t.Context(), client.Task{Queue: "q", Policy: "p"}, errors.New("boom"),
			client.WithIdempotencyKey("event-1"))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, d.TaskID)
	}
	if ids[0] == "" || ids[0] != ids[1] {
		t.Errorf("ids are %q", ids)
	}
}

func TestReportBatch(t *testing.T) {
	t.Parallel()
	c := newSite(t).client(t)
	policy(t, c, time.Minute, 3)
	res, err := c.ReportBatch(t.Context(), []client.Report{
		{Task: client.Task{ID: "a", Queue: "q", Policy: "p"}, Err: client.TimeoutFailure()},
		{Task: client.Task{ID: "b", Queue: "q"}},
		{Task: client.Task{ID: "c", Policy: "none"}, Err: client.TimeoutFailure()},
		{Task: client.Task{ID: "a"}, Attempt: 2},
	})
	if err != nil {
		t.Fatal(err)
	}
	if res[0].Decision == nil || res[0].Decision.TaskID != "a" {
		t.Errorf("first is %+v", res[0])
	}
	if res[1].Completion == nil || res[1].Completion.Attempts != 1 {
		t.Errorf("second is %+v", res[1])
	}
	if !errors.Is(res[2].Err, client.ErrPolicyNotFound) {
		t.Errorf("third is %+v", res[2])
	}
	if res[3].Completion == nil || res[3].Completion.Attempts != 2 {
		t.Errorf("fourth is %+v", res[3])
	}
}

func TestNextAttemptTakesExtendsAndReleases(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newSite(t).client(t)
		policy(t, c, 20*time.Second, 3)
		fail(t, c, "", "t") // its owner makes the attempts

		n := stateOf(t, c, "t")
		if n.State != client.StateScheduled || n.Attempt != 2 || n.Due || n.DueIn != 20*time.Second || n.LastDecision == nil {
			t.Errorf("before it is due: %+v", n)
		}
		n, err := c.NextAttempt(t.Context(), client.Next{TaskID: "t", Wait: time.Minute, Lease: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if n.Leased == nil || n.Leased.Number != 2 || string(n.Leased.Payload) != "payload of t" || n.Leased.Trigger != client.TriggerRetry ||
			n.Leased.LastFailure.Cause != (client.HTTPCause{Status: 503}) {
			t.Fatalf("leased is %+v", n.Leased)
		}
		end, err := c.ExtendLease(t.Context(), n.Leased.LeaseToken, time.Minute)
		if err != nil || !end.Equal(time.Now().Add(time.Minute)) {
			t.Errorf("the lease ends at %s, %v", end, err)
		}
		if err := c.ReleaseLease(t.Context(), n.Leased.LeaseToken, time.Second); err != nil {
			t.Error(err)
		}
		if _, err := c.ExtendLease(t.Context(), n.Leased.LeaseToken, 0); !errors.Is(err, client.ErrLeaseLost) {
			t.Errorf("error is %v, want %v", err, client.ErrLeaseLost)
		}
		n, err = c.NextAttempt(t.Context(), client.Next{TaskID: "t", Wait: time.Minute, Lease: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		done, err := c.ReportSuccess(t.Context(), client.Task{}, client.WithLeaseToken(n.Leased.LeaseToken))
		if err != nil || done.TaskID != "t" {
			t.Errorf("completion is %+v, %v", done, err)
		}
	})
}

func TestNamespaceOfRawStubs(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	c := s.client(t, client.WithNamespace("mine"))
	policy(t, c, time.Minute, 1)
	req := &retryv1.GetPolicyRequest{Id: "p"}
	if _, err := c.Policies().GetPolicy(t.Context(), req); err != nil {
		t.Error(err)
	}
	other := &retryv1.GetPolicyRequest{Namespace: "other", Id: "p"}
	if _, err := c.Policies().GetPolicy(t.Context(), other); !errors.Is(err, client.ErrPolicyNotFound) {
		t.Errorf("a namespace that is given is not kept: %v", err)
	}
	if req.GetNamespace() != "" {
		t.Error("the caller's request was changed")
	}
	if _, err := s.client(t).Policies().GetPolicy(t.Context(), req); !errors.Is(err, client.ErrPolicyNotFound) {
		t.Errorf("in another namespace the policy is found: %v", err)
	}
}

func TestEndOfTheCallersContext(t *testing.T) {
	t.Parallel()
	c := newSite(t).client(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.ReportSuccess(ctx, client.Task{ID: "t"}); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}
