package server_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/server"
)

// TestReportsInEachState takes the main rows of the contract's table over the
// wire; the scheduler's own tests take them all.
func TestReportsInEachState(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	s.policy("slow", time.Hour)
	s.policy("quick", time.Millisecond)
	hold := fixed("hold", time.Hour)
	hold.Rules = []*retryv1.Rule{{Match: &retryv1.Match{Statuses: []string{"4xx"}}, Action: retryv1.Action_ACTION_HOLD, HoldCondition: "approval"}}
	if _, err := s.pol.CreatePolicy(s.ctx(), &retryv1.CreatePolicyRequest{Policy: hold}); err != nil {
		t.Fatal(err)
	}
	fail := func(r *retryv1.ReportFailureRequest) (*retryv1.ReportFailureResponse, told) {
		if r.Failure == nil {
			r.Failure = httpFailure(503)
		}
		resp, err := s.retry.ReportFailure(s.ctx(), r)
		return resp, tell(err)
	}
	succeed := func(r *retryv1.ReportSuccessRequest) (*retryv1.ReportSuccessResponse, told) {
		resp, err := s.retry.ReportSuccess(s.ctx(), r)
		return resp, tell(err)
	}
	spec := func(id, policy string) *retryv1.TaskSpec {
		return &retryv1.TaskSpec{Id: id, Policy: policy, Queue: "q-" + id}
	}
	want := func(t *testing.T, got told, code codes.Code, reason string) {
		t.Helper()
		if got.code != code.String() || got.reason != reason {
			t.Errorf("got %+v, want %v %s", got, code, reason)
		}
	}

	t.Run("unknown", func(t *testing.T) {
		t.Parallel()
		_, got := fail(&retryv1.ReportFailureRequest{Task: spec("u1", "")})
		want(t, got, codes.InvalidArgument, "INVALID_REQUEST")
		if !slices.Equal(got.violations, []string{"task.policy"}) {
			t.Errorf("violations %q", got.violations)
		}
		_, got = fail(&retryv1.ReportFailureRequest{Task: spec("u1", "nope")})
		want(t, got, codes.NotFound, "POLICY_NOT_FOUND")
		_, got = fail(&retryv1.ReportFailureRequest{Task: &retryv1.TaskSpec{Id: "u1", Job: "nope"}})
		want(t, got, codes.NotFound, "JOB_NOT_FOUND")
		_, got = fail(&retryv1.ReportFailureRequest{Task: &retryv1.TaskSpec{Policy: "slow"}})
		want(t, got, codes.InvalidArgument, "INVALID_REQUEST")
		resp, _ := fail(&retryv1.ReportFailureRequest{Task: &retryv1.TaskSpec{Policy: "slow"}, IdempotencyKey: "k"})
		again, _ := fail(&retryv1.ReportFailureRequest{Task: &retryv1.TaskSpec{Policy: "slow"}, IdempotencyKey: "k"})
		if resp.GetTaskId() == "" || again.GetTaskId() != resp.GetTaskId() || !again.GetDuplicate() || !proto.Equal(again.GetDecision(), resp.GetDecision()) {
			t.Errorf("derived: %v then %v", resp, again)
		}
		resp, _ = fail(&retryv1.ReportFailureRequest{Task: spec("u2", "slow"), Attempt: 3})
		if d := resp.GetDecision(); d.GetAttempt() != 3 || d.GetNextAttempt() != 4 || d.GetDelay().AsDuration() != time.Hour || d.GetPolicyRevision() != 1 || len(d.GetExplanation()) == 0 {
			t.Errorf("migrated: %v", resp)
		}
	})
	t.Run("scheduled", func(t *testing.T) {
		t.Parallel()
		first, _ := fail(&retryv1.ReportFailureRequest{Task: spec("s1", "slow"), IdempotencyKey: "k"})
		for name, r := range map[string]*retryv1.ReportFailureRequest{
			"same key":        {Task: spec("s1", "slow"), IdempotencyKey: "k"},
			"same attempt":    {Task: &retryv1.TaskSpec{Id: "s1"}, Attempt: 1},
			"neither":         {Task: &retryv1.TaskSpec{Id: "s1"}},
			"another key":     {Task: &retryv1.TaskSpec{Id: "s1"}, IdempotencyKey: "other"},
			"at another time": {Task: spec("s1", "slow"), IdempotencyKey: "k"},
		} {
			resp, got := fail(r)
			if !resp.GetDuplicate() || !proto.Equal(resp.GetDecision(), first.GetDecision()) {
				t.Errorf("%s: %v %+v", name, resp, got)
			}
		}
		_, got := fail(&retryv1.ReportFailureRequest{Task: spec("s1", "slow"), IdempotencyKey: "k", Failure: httpFailure(500)})
		want(t, got, codes.AlreadyExists, "KEY_REUSED")
		_, got = fail(&retryv1.ReportFailureRequest{Task: &retryv1.TaskSpec{Id: "s1"}, Attempt: 3})
		want(t, got, codes.FailedPrecondition, "ATTEMPT_OUT_OF_ORDER")
		_, got = fail(&retryv1.ReportFailureRequest{Task: &retryv1.TaskSpec{Id: "s1", Queue: "other", Group: "g"}, Attempt: 2})
		if !slices.Equal(got.violations, []string{"task.queue", "task.group"}) {
			t.Errorf("another spec: %+v", got)
		}
		resp, _ := fail(&retryv1.ReportFailureRequest{Task: &retryv1.TaskSpec{Id: "s1"}, Attempt: 2})
		if resp.GetDecision().GetNextAttempt() != 3 {
			t.Errorf("run by its caller: %v", resp)
		}
		if done, _ := succeed(&retryv1.ReportSuccessRequest{Task: &retryv1.TaskSpec{Id: "s1"}}); done.GetAttempts() != 3 || done.GetDuplicate() {
			t.Errorf("late receipt: %v", done)
		}
		if done, _ := succeed(&retryv1.ReportSuccessRequest{Task: &retryv1.TaskSpec{Id: "s1"}}); done.GetAttempts() != 3 || !done.GetDuplicate() {
			t.Errorf("receipt again: %v", done)
		}
		_, got = fail(&retryv1.ReportFailureRequest{Task: &retryv1.TaskSpec{Id: "s1"}})
		want(t, got, codes.FailedPrecondition, "WRONG_STATE")
		if got.metadata["state"] != "SUCCEEDED" {
			t.Errorf("metadata %v", got.metadata)
		}
	})
	t.Run("leased", func(t *testing.T) {
		t.Parallel()
		s.fail("q-l1", "l1", "quick")
		w := s.open(s.retry, &retryv1.Open{Queues: []string{"q-l1"}, MaxInFlight: 1})
		a := w.attempt()
		_, got := fail(&retryv1.ReportFailureRequest{Task: &retryv1.TaskSpec{Id: "l1"}})
		want(t, got, codes.FailedPrecondition, "LEASE_REQUIRED")
		_, got = fail(&retryv1.ReportFailureRequest{LeaseToken: "nonsense"})
		want(t, got, codes.InvalidArgument, "INVALID_REQUEST")
		_, got = fail(&retryv1.ReportFailureRequest{Namespace: "other", LeaseToken: a.GetLeaseToken()})
		want(t, got, codes.InvalidArgument, "INVALID_REQUEST")
		_, got = fail(&retryv1.ReportFailureRequest{LeaseToken: a.GetLeaseToken(), Attempt: 5})
		want(t, got, codes.InvalidArgument, "INVALID_REQUEST")
		resp, _ := fail(&retryv1.ReportFailureRequest{LeaseToken: a.GetLeaseToken(), Attempt: 2})
		again, _ := fail(&retryv1.ReportFailureRequest{LeaseToken: a.GetLeaseToken()})
		if resp.GetDuplicate() || resp.GetDecision().GetNextAttempt() != 3 || !again.GetDuplicate() || !proto.Equal(resp.GetDecision(), again.GetDecision()) {
			t.Errorf("by token: %v then %v", resp, again)
		}
		_, got = succeed(&retryv1.ReportSuccessRequest{LeaseToken: a.GetLeaseToken()})
		want(t, got, codes.FailedPrecondition, "LEASE_LOST")
	})
	t.Run("held and dead", func(t *testing.T) {
		t.Parallel()
		resp, _ := fail(&retryv1.ReportFailureRequest{Task: spec("h1", "hold"), Failure: httpFailure(404)})
		if d := resp.GetDecision(); d.GetAction() != retryv1.Action_ACTION_HOLD || d.GetHoldCondition() != "approval" || d.GetDelay() != nil || d.GetNextAttemptTime() != nil {
			t.Errorf("held: %v", resp)
		}
		_, got := fail(&retryv1.ReportFailureRequest{Task: &retryv1.TaskSpec{Id: "h1"}, Attempt: 2})
		want(t, got, codes.FailedPrecondition, "WRONG_STATE")
		permanent := httpFailure(503)
		permanent.Permanent = true
		resp, _ = fail(&retryv1.ReportFailureRequest{Task: spec("d1", "slow"), Failure: permanent})
		if d := resp.GetDecision(); d.GetAction() != retryv1.Action_ACTION_DEAD_LETTER || d.GetReason() != retryv1.Reason_REASON_NON_RETRYABLE {
			t.Errorf("dead: %v", resp)
		}
		if done, _ := succeed(&retryv1.ReportSuccessRequest{Task: &retryv1.TaskSpec{Id: "d1"}}); done.GetAttempts() != 2 {
			t.Errorf("late receipt of a dead letter: %v", done)
		}
	})
	t.Run("namespaces do not see each other", func(t *testing.T) {
		t.Parallel()
		s.fail("q", "n1", "slow")
		_, got := fail(&retryv1.ReportFailureRequest{Namespace: "other", Task: spec("n1", "slow")})
		want(t, got, codes.NotFound, "POLICY_NOT_FOUND")
	})
}

func TestFiftyEqualReportsHaveOneEffect(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	s.policy("slow", time.Hour)
	const n = 50
	answers := make([]*retryv1.ReportFailureResponse, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	clients := []retryv1.RetryServiceClient{}
	for range 5 {
		clients = append(clients, retryv1.NewRetryServiceClient(s.dial()))
	}
	for i := range n {
		wg.Go(func() {
			<-start
			resp, err := clients[i%len(clients)].ReportFailure(s.ctx(), &retryv1.ReportFailureRequest{
				Task: &retryv1.TaskSpec{Id: "one", Queue: "q", Policy: "slow"}, Failure: httpFailure(503), IdempotencyKey: "key",
			})
			if err != nil {
				t.Error(err)
			}
			answers[i] = resp
		})
	}
	close(start)
	wg.Wait()
	duplicates := 0
	for _, a := range answers {
		if a.GetDuplicate() {
			duplicates++
		}
		if !proto.Equal(a.GetDecision(), answers[0].GetDecision()) || a.GetTaskId() != "one" {
			t.Errorf("got %v and %v", a, answers[0])
		}
	}
	if duplicates != n-1 {
		t.Errorf("%d duplicates of %d", duplicates, n)
	}
}

func TestBatch(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	s.policy("slow", time.Hour)
	failure := func(r *retryv1.ReportFailureRequest) *retryv1.Report {
		return &retryv1.Report{Report: &retryv1.Report_Failure{Failure: r}}
	}
	success := func(id string) *retryv1.Report {
		return &retryv1.Report{Report: &retryv1.Report_Success{Success: &retryv1.ReportSuccessRequest{Task: &retryv1.TaskSpec{Id: id}}}}
	}
	spec := &retryv1.TaskSpec{Id: "a", Policy: "slow"}
	resp, err := s.retry.BatchReport(s.ctx(), &retryv1.BatchReportRequest{Reports: []*retryv1.Report{
		failure(&retryv1.ReportFailureRequest{Task: spec, Failure: httpFailure(503), Attempt: 1}),
		{},
		failure(&retryv1.ReportFailureRequest{Task: &retryv1.TaskSpec{Id: "bad\n"}, Failure: &retryv1.Failure{}}),
		failure(&retryv1.ReportFailureRequest{Task: &retryv1.TaskSpec{Id: "a"}, Failure: httpFailure(503), Attempt: 2}),
		failure(&retryv1.ReportFailureRequest{Task: &retryv1.TaskSpec{Id: "b", Policy: "nope"}, Failure: httpFailure(503)}),
		failure(&retryv1.ReportFailureRequest{Task: &retryv1.TaskSpec{Id: "a"}, Failure: httpFailure(503), Attempt: 2}),
		success("a"),
		success("a"),
		failure(&retryv1.ReportFailureRequest{Task: &retryv1.TaskSpec{Id: "a"}, Failure: httpFailure(503)}),
		success("never-failed"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range resp.GetResults() {
		switch {
		case r.GetError() != nil:
			line := r.GetError().GetReason()
			for _, v := range r.GetError().GetViolations() {
				line += " " + v.GetField()
			}
			got = append(got, line)
		case r.GetFailure() != nil:
			got = append(got, fmt.Sprint("next ", r.GetFailure().GetDecision().GetNextAttempt(), r.GetFailure().GetDuplicate()))
		default:
			got = append(got, fmt.Sprint("done ", r.GetSuccess().GetAttempts(), r.GetSuccess().GetDuplicate()))
		}
	}
	want := []string{
		"next 2 false",
		"INVALID_REQUEST report",
		"INVALID_REQUEST task.id failure.cause",
		"next 3 false",
		"POLICY_NOT_FOUND",
		"next 3 true",
		"done 3 false",
		"done 3 true",
		"WRONG_STATE",
		"done 1 false",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
	if _, err := s.retry.BatchReport(s.ctx(), &retryv1.BatchReportRequest{Namespace: "?"}); !slices.Equal(tell(err).violations, []string{"namespace", "reports"}) {
		t.Errorf("an empty batch: %+v", tell(err))
	}
}

func TestBatchTakesReportsOfOneTaskInOrder(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	p := fixed("many", time.Hour)
	p.MaxRetries = 1000
	if _, err := s.pol.CreatePolicy(s.ctx(), &retryv1.CreatePolicyRequest{Policy: p}); err != nil {
		t.Fatal(err)
	}
	const n = 90
	req := &retryv1.BatchReportRequest{}
	for i := range n {
		for _, id := range []string{"x", "y"} {
			req.Reports = append(req.Reports, &retryv1.Report{Report: &retryv1.Report_Failure{Failure: &retryv1.ReportFailureRequest{
				Task: &retryv1.TaskSpec{Id: id, Policy: "many"}, Failure: httpFailure(503), Attempt: int32(i + 1),
			}}})
		}
	}
	resp, err := s.retry.BatchReport(s.ctx(), req)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range resp.GetResults() {
		if got := r.GetFailure().GetDecision().GetNextAttempt(); got != int32(i/2+2) || r.GetFailure().GetDuplicate() {
			t.Fatalf("report %d: %v", i, r)
		}
	}
}

func TestMessageIsCut(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	s.policy("quick", time.Millisecond)
	f := httpFailure(503)
	f.Message = string(slices.Repeat([]byte("é"), 1000))
	f.RetryAfter = durationpb.New(time.Nanosecond)
	if _, err := s.retry.ReportFailure(s.ctx(), &retryv1.ReportFailureRequest{Task: &retryv1.TaskSpec{Id: "x", Queue: "q", Policy: "quick"}, Failure: f}); err != nil {
		t.Fatal(err)
	}
	a := s.open(s.retry, &retryv1.Open{Queues: []string{"q"}}).attempt()
	if got := a.GetLastFailure(); len(got.GetMessage()) != 1024 || got.GetRetryAfter().AsDuration() != time.Millisecond {
		t.Errorf("kept %d bytes and %v", len(got.GetMessage()), got.GetRetryAfter())
	}
}

func TestWhatGRPCRefusesItself(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	_, err := s.retry.ReportFailure(s.ctx(), &retryv1.ReportFailureRequest{Task: &retryv1.TaskSpec{Payload: make([]byte, 600<<10)}})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("600 KiB: %v", err)
	}
	if got := s.srv.Counters(); got != (server.Counters{}) {
		t.Errorf("counted: %+v", got)
	}
}
