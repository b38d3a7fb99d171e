package server_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/scheduler"
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
	if a.GetTaskId() != "task-1" || string(a.GetPayload()) != "payload of task-1" || a.GetAttempt() != 2 || a.GetDelivery() != 1 || a.GetRetriesLeft() != 2 {
		t.Fatalf("attempt: %v", a)
	}
	if until := a.GetLeaseExpireTime().AsTime().Sub(a.GetDueTime().AsTime()); until < 30*time.Second {
		t.Errorf("the lease ends %s after the attempt fell due", until)
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
	w.succeed(a.GetLeaseToken())
	if got := w.result().GetSuccess(); got.GetAttempts() != 3 || !got.GetDuplicate() {
		t.Fatalf("result again: %v", got)
	}
}

func TestStreamEndsForMisuse(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	open := &retryv1.SubscribeRequest{Message: &retryv1.SubscribeRequest_Open{Open: &retryv1.Open{Queues: []string{"q"}}}}
	flow := func(n int32) *retryv1.SubscribeRequest {
		return &retryv1.SubscribeRequest{Message: &retryv1.SubscribeRequest_Flow{Flow: &retryv1.Flow{MaxInFlight: n}}}
	}
	for name, tc := range map[string]struct {
		send []*retryv1.SubscribeRequest
		want []string
	}{
		"nothing":      {nil, []string{"open"}},
		"no Open":      {[]*retryv1.SubscribeRequest{flow(1)}, []string{"open"}},
		"empty":        {[]*retryv1.SubscribeRequest{{}}, []string{"open"}},
		"bad Open":     {[]*retryv1.SubscribeRequest{{Message: &retryv1.SubscribeRequest_Open{Open: &retryv1.Open{MaxInFlight: -1}}}}, []string{"open.queues", "open.max_in_flight"}},
		"second Open":  {[]*retryv1.SubscribeRequest{open, open}, []string{"open"}},
		"bad Flow":     {[]*retryv1.SubscribeRequest{open, flow(1001)}, []string{"flow.max_in_flight"}},
		"empty, later": {[]*retryv1.SubscribeRequest{open, {}}, []string{"message"}},
	} {
		stream, err := s.retry.Subscribe(s.ctx())
		if err != nil {
			t.Fatal(err)
		}
		for _, msg := range tc.send {
			if err := stream.Send(msg); err != nil {
				t.Fatal(err)
			}
		}
		if len(tc.send) == 0 {
			_ = stream.CloseSend()
		}
		_, err = stream.Recv()
		if got := tell(err); got.reason != "INVALID_REQUEST" || got.code != "InvalidArgument" || !slices.Equal(got.violations, tc.want) {
			t.Errorf("%s: got %+v, want %q", name, got, tc.want)
		}
	}
}

func TestRefusedOutcomesLeaveTheStreamOpen(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	s.policy("quick", time.Millisecond)
	w := s.open(s.retry, &retryv1.Open{Queues: []string{"q"}, MaxInFlight: 1})
	s.fail("q", "x", "quick")
	a := w.attempt()
	token := a.GetLeaseToken()
	for name, tc := range map[string]struct {
		o      *retryv1.Outcome
		reason string
		fields []string
	}{
		"no result":    {&retryv1.Outcome{LeaseToken: token}, "INVALID_REQUEST", []string{"result"}},
		"no token":     {&retryv1.Outcome{Result: &retryv1.Outcome_Success{}}, "INVALID_REQUEST", []string{"lease_token"}},
		"nonsense":     {&retryv1.Outcome{LeaseToken: "x", Result: &retryv1.Outcome_Success{}}, "INVALID_REQUEST", []string{"lease_token"}},
		"no cause":     {&retryv1.Outcome{LeaseToken: token, Result: &retryv1.Outcome_Failure{Failure: &retryv1.Failure{}}}, "INVALID_REQUEST", []string{"failure.cause"}},
		"back in time": {&retryv1.Outcome{LeaseToken: token, Result: &retryv1.Outcome_Release{Release: &retryv1.Release{Delay: durationpb.New(-1)}}}, "INVALID_REQUEST", []string{"release.delay"}},
	} {
		w.outcome(tc.o)
		got := w.result()
		var fields []string
		for _, v := range got.GetError().GetViolations() {
			fields = append(fields, v.GetField())
		}
		if got.GetLeaseToken() != tc.o.GetLeaseToken() || got.GetError().GetReason() != tc.reason || !slices.Equal(fields, tc.fields) {
			t.Errorf("%s: %v", name, got)
		}
	}
	w.outcome(&retryv1.Outcome{LeaseToken: token, Result: &retryv1.Outcome_Release{Release: &retryv1.Release{}}})
	if got := w.result(); got.GetRelease() == nil {
		t.Fatalf("released: %v", got)
	}
	again := w.attempt()
	if again.GetAttempt() != 2 || again.GetDelivery() != 2 {
		t.Errorf("after a release: %v", again)
	}
	w.succeed(token)
	if got := w.result().GetError(); got.GetReason() != "LEASE_LOST" || got.GetCode() != int32(codes.FailedPrecondition) || got.GetRetryDelay() != nil {
		t.Errorf("an old token: %v", got)
	}
}

func TestExtendOnAStream(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	s.policy("quick", time.Millisecond)
	w := s.open(s.retry, &retryv1.Open{Queues: []string{"q"}})
	s.fail("q", "x", "quick")
	a := w.attempt()
	extend := func(d time.Duration, tokens ...string) []*retryv1.LeaseResult {
		t.Helper()
		w.send(&retryv1.SubscribeRequest{Message: &retryv1.SubscribeRequest_Extend{Extend: &retryv1.Extend{LeaseTokens: tokens, LeaseDuration: durationpb.New(d)}}})
		return w.recv().GetExtendResult().GetResults()
	}
	got := extend(time.Hour, a.GetLeaseToken(), "nonsense")
	if len(got) != 2 || got[0].GetLeaseToken() != a.GetLeaseToken() || got[1].GetError().GetReason() != "INVALID_REQUEST" {
		t.Fatalf("extended: %v", got)
	}
	if by := got[0].GetLeaseExpireTime().AsTime().Sub(a.GetLeaseExpireTime().AsTime()); by < 50*time.Minute {
		t.Errorf("extended by %s", by)
	}
	for _, refused := range [][]*retryv1.LeaseResult{extend(13*time.Hour, "a", "b"), extend(0)} {
		for _, r := range refused {
			if r.GetError().GetReason() != "INVALID_REQUEST" || len(r.GetError().GetViolations()) != 1 {
				t.Errorf("refused: %v", r)
			}
		}
		if len(refused) == 0 {
			t.Error("a refused Extend has no result")
		}
	}
}

func TestHalfClosedStreamGoesOn(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	s.policy("quick", time.Millisecond)
	w := s.open(s.retry, &retryv1.Open{Queues: []string{"q"}})
	if err := w.stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		s.fail("q", fmt.Sprint(i), "quick")
		a := w.attempt()
		if _, err := s.retry.ReportSuccess(s.ctx(), &retryv1.ReportSuccessRequest{LeaseToken: a.GetLeaseToken()}); err != nil {
			t.Fatal(err)
		}
	}
	w.cancel()
	if err := w.end(); status.Code(err) != codes.Canceled {
		t.Errorf("ended with %v", err)
	}
}

func TestHalfClosedStreamIsAnsweredFirst(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	s.policy("quick", time.Millisecond)
	w := s.open(s.retry, &retryv1.Open{Queues: []string{"q"}})
	s.fail("q", "x", "quick")
	a := w.attempt()
	w.succeed(a.GetLeaseToken())
	w.flow(-1)
	if got := w.result().GetSuccess(); got.GetAttempts() != 2 {
		t.Errorf("result: %v", got)
	}
	if got := tell(w.end()); got.reason != "INVALID_REQUEST" {
		t.Errorf("ended with %+v", got)
	}
}

// receiveAll reads the stream to its end; what it returns are the attempts so
// far.
func TestObserverTakesNothing(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	s.policy("quick", time.Millisecond)
	o := s.open(s.retry, &retryv1.Open{Queues: []string{"q"}, Observe: true})
	o.flow(0)
	s.fail("q", "x", "quick")
	seen := o.attempt()
	if seen.GetTaskId() != "x" || seen.GetDelivery() != 0 || seen.GetLeaseToken() != "" || seen.GetLeaseExpireTime() != nil {
		t.Fatalf("seen: %v", seen)
	}
	w := s.open(s.retry, &retryv1.Open{Queues: []string{"q"}})
	a := w.attempt()
	if a.GetDelivery() != 1 {
		t.Errorf("taken: %v", a)
	}
	// A token is good on any stream, also on one that only looks on.
	o.succeed(a.GetLeaseToken())
	if got := o.result().GetSuccess(); got.GetAttempts() != 2 {
		t.Errorf("result: %v", got)
	}
}

func TestOutcomesOfAStreamThatIsGoneAreTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newHookedStore()
		s := setupOn(t, server.Config{}, store)
		s.policy("quick", time.Millisecond)
		s.fail("q", "x", "quick")
		w := s.open(s.retry, &retryv1.Open{Queues: []string{"q"}})
		a := w.attempt()
		// The client goes while its outcome is being written.
		entered, leave := make(chan struct{}), make(chan struct{})
		hook := func(ctx context.Context, _ []scheduler.Change) error {
			close(entered)
			<-leave
			return ctx.Err()
		}
		store.onCommit.Store(&hook)
		w.succeed(a.GetLeaseToken())
		<-entered
		store.onCommit.Store(nil)
		w.cancel()
		synctest.Wait()
		close(leave)
		synctest.Wait()
		resp, err := s.retry.NextAttempt(s.ctx(), &retryv1.NextAttemptRequest{Target: &retryv1.NextAttemptRequest_TaskId{TaskId: "x"}})
		if err != nil || resp.GetState() != retryv1.Task_STATE_SUCCEEDED {
			t.Errorf("the task is %v, %v", resp.GetState(), err)
		}
	})
}

func TestStoreAwayIsToldInResults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newHookedStore()
		s := setupOn(t, server.Config{}, store)
		s.policy("quick", time.Millisecond)
		s.fail("q", "x", "quick")
		w := s.open(s.retry, &retryv1.Open{Queues: []string{"q"}, LeaseDuration: durationpb.New(time.Hour)})
		token := w.attempt().GetLeaseToken()
		away := func(context.Context, []scheduler.Change) error {
			return &scheduler.Error{Kind: scheduler.KindUnavailable, Message: "dial tcp 10.0.0.1:6379", Cause: errors.New("redis is away")}
		}
		store.onCommit.Store(&away)
		w.succeed(token)
		got := w.result().GetError()
		if got.GetReason() != "STORE_UNAVAILABLE" || got.GetCode() != int32(codes.Unavailable) || got.GetRetryDelay().AsDuration() <= 0 {
			t.Errorf("on the stream: %v", got)
		}
		_, err := s.retry.ReportSuccess(s.ctx(), &retryv1.ReportSuccessRequest{LeaseToken: token})
		if got := tell(err); got.reason != "STORE_UNAVAILABLE" || !got.retry {
			t.Errorf("by a call: %v", err)
		}
		for _, text := range []string{got.String(), status.Convert(err).Proto().String()} {
			if strings.Contains(text, "10.0.0.1") {
				t.Errorf("the store's text reaches the client: %s", text)
			}
		}
		store.onCommit.Store(nil)
		w.succeed(token)
		if got := w.result().GetSuccess(); got.GetAttempts() != 2 {
			t.Errorf("once it is back: %v", got)
		}
	})
}

func TestResultsComeInOrder(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	s.policy("quick", time.Millisecond)
	w := s.open(s.retry, &retryv1.Open{Queues: []string{"q"}, MaxInFlight: 200})
	const n = 200
	var tokens []string
	for i := range n {
		s.fail("q", fmt.Sprint(i), "quick")
	}
	for range n {
		tokens = append(tokens, w.attempt().GetLeaseToken())
	}
	go func() {
		for i, token := range tokens {
			o := &retryv1.Outcome{LeaseToken: token}
			switch i % 3 {
			case 0:
				o.Result = &retryv1.Outcome_Success{Success: &retryv1.Success{}}
			case 1:
				o.Result = &retryv1.Outcome_Failure{Failure: &retryv1.Failure{Cause: httpFailure(503).Cause, Permanent: true}}
			case 2:
				o.Result = &retryv1.Outcome_Release{Release: &retryv1.Release{Delay: durationpb.New(time.Hour)}}
			}
			_ = w.stream.Send(&retryv1.SubscribeRequest{Message: &retryv1.SubscribeRequest_Outcome{Outcome: o}})
		}
		_ = w.stream.CloseSend()
	}()
	for i, token := range tokens {
		got := w.result()
		if got.GetLeaseToken() != token || got.GetError() != nil {
			t.Fatalf("result %d: %v", i, got)
		}
	}
}
