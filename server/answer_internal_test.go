package server

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/tap"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/policy"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/scheduler/memstore"
)

// asking is a stream of one request, whose answer is written or is not.
type asking struct {
	grpc.ServerStream
	ctx    context.Context //nolint:containedctx // as every stream's
	req    proto.Message
	lost   error
	answer *retryv1.NextAttemptResponse
}

func (a *asking) Context() context.Context { return a.ctx }

func (a *asking) RecvMsg(m any) error {
	proto.Merge(m.(proto.Message), a.req) //nolint:forcetypeassert // it is one
	return nil
}

func (a *asking) SendMsg(m any) error {
	a.answer = m.(*retryv1.NextAttemptResponse) //nolint:forcetypeassert // it is one
	return a.lost
}

// TestAnswerThatIsNotWritten plays gRPC's part: the handler has answered, and
// then the answer is written or it is not.
func TestAnswerThatIsNotWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sched, err := scheduler.New(memstore.New(memstore.Config{}), scheduler.Config{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		s, err := New(Config{Log: slog.New(slog.DiscardHandler)}, sched)
		if err != nil {
			t.Fatal(err)
		}
		defer s.grpc.Stop()
		if _, err := sched.CreatePolicy(t.Context(), "default", policy.Policy{
			ID: "p", DisplayName: "p", MaxRetries: 3, DefaultAction: policy.ActionRetry,
			Schedule: policy.Schedule{Fixed: &policy.FixedDelay{Delay: time.Millisecond}},
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := sched.Report(t.Context(), scheduler.Report{
			Namespace: "default", ID: "x", Spec: scheduler.Spec{Policy: "p"}, Failure: &policy.Failure{Cause: policy.CauseTimeout},
		}); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Second)
		var handle grpc.MethodHandler
		for _, m := range retryv1.RetryService_ServiceDesc.Methods {
			if m.MethodName == "NextAttempt" {
				handle = m.Handler
			}
		}
		serve := s.unaryHandler("", handle, s.unary())
		call := func(lost error) *retryv1.NextAttemptResponse {
			t.Helper()
			ctx, err := s.boundArrival(t.Context(), &tap.Info{FullMethodName: retryv1.RetryService_NextAttempt_FullMethodName})
			if err != nil {
				t.Fatal(err)
			}
			stream := &asking{ctx: ctx, lost: lost, req: &retryv1.NextAttemptRequest{
				Target: &retryv1.NextAttemptRequest_TaskId{TaskId: "x"}, LeaseDuration: durationpb.New(time.Minute), WorkerId: "w",
			}}
			if err := serve(&retryService{s: s}, stream); !errors.Is(err, lost) {
				t.Fatalf("answered with %v; want %v", err, lost)
			}
			return stream.answer
		}
		lost := call(context.Canceled).GetLeased()
		got := call(nil).GetLeased()
		if lost == nil || got.GetLeaseToken() == lost.GetLeaseToken() || got.GetDelivery() != 1 {
			t.Fatalf("after a lost answer: %v", got)
		}
		// The same worker asks again and this answer is lost: the first one was not.
		if again := call(context.Canceled).GetLeased(); again.GetLeaseToken() != got.GetLeaseToken() {
			t.Fatalf("asked again: %v", again)
		}
		if again := call(context.Canceled).GetLeased(); again.GetLeaseToken() != got.GetLeaseToken() {
			t.Errorf("a lease that was known was given back: %v", again)
		}
	})
}

func TestDrainMoments(t *testing.T) {
	t.Parallel()
	const most = 30 * time.Minute
	for range 1000 {
		if at := drainAfter(0, most); at < 25*time.Minute || at > most {
			t.Fatalf("a new connection's stream leaves after %s", at)
		}
		if at := drainAfter(10*time.Minute, most); at < 15*time.Minute || at > 20*time.Minute {
			t.Fatalf("a stream on a connection of 10 min leaves after %s", at)
		}
		for _, age := range []time.Duration{28 * time.Minute, 33 * time.Minute} {
			if at := drainAfter(age, most); at < time.Minute || at > 4*time.Minute {
				t.Fatalf("a stream on a connection of %s leaves after %s", age, at)
			}
		}
	}
	if at := drainAfter(0, 1); at < 0 {
		t.Errorf("drains at %s", at)
	}
}
