package server_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/durationpb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/server"
)

const (
	aTrace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	bTrace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
)

func inTrace(ctx context.Context, parent, state string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "traceparent", parent, "tracestate", state)
}

func wantTrace(t *testing.T, a *retryv1.Attempt, parent, state string) {
	t.Helper()
	if a.GetTraceparent() != parent || a.GetTracestate() != state {
		t.Errorf("attempt %d came with %q and %q, want %q and %q", a.GetAttempt(), a.GetTraceparent(), a.GetTracestate(), parent, state)
	}
}

func failed(a *retryv1.Attempt, parent, state string) *retryv1.SubscribeRequest {
	return &retryv1.SubscribeRequest{Message: &retryv1.SubscribeRequest_Outcome{Outcome: &retryv1.Outcome{
		LeaseToken: a.GetLeaseToken(), Result: &retryv1.Outcome_Failure{Failure: httpFailure(500)},
		Traceparent: parent, Tracestate: state,
	}}}
}

func TestTraceContextTravelsWithTheTask(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	s.policy("quick", time.Millisecond)
	report := &retryv1.ReportFailureRequest{
		Task: &retryv1.TaskSpec{Id: "a", Queue: "q", Policy: "quick"}, Failure: httpFailure(503), IdempotencyKey: "once",
	}
	if _, err := s.retry.ReportFailure(inTrace(s.ctx(), aTrace, "a=1"), report); err != nil {
		t.Fatal(err)
	}
	again, err := s.retry.ReportFailure(inTrace(s.ctx(), bTrace, "b=2"), report)
	if err != nil || !again.GetDuplicate() {
		t.Fatalf("the same report in another trace got %v, %v, want it taken for a duplicate", again, err)
	}
	w := s.open(s.retry, &retryv1.Open{Queues: []string{"q"}})
	a := w.attempt()
	wantTrace(t, a, aTrace, "a=1")

	w.send(failed(a, "", ""))
	w.result()
	a = w.attempt()
	wantTrace(t, a, aTrace, "a=1") // an outcome in no trace changes nothing

	w.send(failed(a, "nonsense", "b=2"))
	w.result()
	a = w.attempt()
	wantTrace(t, a, aTrace, "a=1")

	w.send(failed(a, bTrace, ""))
	w.result()
	// It was the last retry: a replay goes on from where the task has died.
	if _, err := s.tasks.ReplayTask(s.ctx(), &retryv1.ReplayTaskRequest{TaskId: "a"}); err != nil {
		t.Fatal(err)
	}
	wantTrace(t, w.attempt(), bTrace, "")
}

func TestTraceContextOfBatchesAndCalls(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	s.policy("quick", time.Millisecond)
	batch := &retryv1.BatchReportRequest{}
	for _, id := range []string{"a", "b"} {
		batch.Reports = append(batch.Reports, &retryv1.Report{Report: &retryv1.Report_Failure{Failure: &retryv1.ReportFailureRequest{
			Task: &retryv1.TaskSpec{Id: id, Queue: id, Policy: "quick"}, Failure: httpFailure(503),
		}}})
	}
	if _, err := s.retry.BatchReport(inTrace(s.ctx(), aTrace, "a=1"), batch); err != nil {
		t.Fatal(err)
	}
	for _, next := range []*retryv1.NextAttemptRequest{
		{Target: &retryv1.NextAttemptRequest_TaskId{TaskId: "a"}, LeaseDuration: durationpb.New(time.Minute), Wait: durationpb.New(10 * time.Second)},
		{Target: &retryv1.NextAttemptRequest_Queue{Queue: "b"}, Wait: durationpb.New(10 * time.Second)},
	} {
		got, err := s.retry.NextAttempt(s.ctx(), next)
		if err != nil {
			t.Fatal(err)
		}
		wantTrace(t, got.GetLeased(), aTrace, "a=1")
	}
	s.fail("none", "c", "quick")
	wantTrace(t, s.open(s.retry, &retryv1.Open{Queues: []string{"none"}, Observe: true}).attempt(), "", "")
}
