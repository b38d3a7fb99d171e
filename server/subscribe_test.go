package server_test

import (
	"testing"
	"time"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/server"
)

func TestSubscribeHandsOutAndSettles(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	s.policy("quick", time.Millisecond)
	d := s.fail("mail", "task-1", "quick").GetDecision()
	if d.GetAction() != retryv1.Action_ACTION_RETRY || d.GetNextAttempt() != 2 || d.GetNextAttemptTime() == nil || d.GetDelay() == nil {
		t.Fatalf("decision: %v", d)
	}
	w := s.open(s.retry, &retryv1.Open{Queues: []string{"mail"}, WorkerId: "w1"})
	a := w.attempt()
	if a.GetTaskId() != "task-1" || string(a.GetPayload()) != "payload of task-1" || a.GetAttempt() != 2 || a.GetDelivery() != 1 {
		t.Fatalf("attempt: %v", a)
	}
	w.fail(a.GetLeaseToken(), httpFailure(500))
	if got := w.result().GetFailure(); got.GetDecision().GetNextAttempt() != 3 || got.GetTaskId() != "task-1" {
		t.Fatalf("result: %v", got)
	}
	a = w.attempt()
	w.succeed(a.GetLeaseToken())
	if got := w.result().GetSuccess(); got.GetAttempts() != 3 || got.GetDuplicate() {
		t.Fatalf("result: %v", got)
	}
}
