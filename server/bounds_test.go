package server_test

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server"
)

func (w *worker) extend(d time.Duration, tokens ...string) *retryv1.ExtendResult {
	w.t.Helper()
	w.send(&retryv1.SubscribeRequest{Message: &retryv1.SubscribeRequest_Extend{Extend: &retryv1.Extend{LeaseTokens: tokens, LeaseDuration: durationpb.New(d)}}})
	msg := w.recv()
	if msg.GetExtendResult() == nil {
		w.t.Fatalf("got %v, want the result of an extension", msg)
	}
	return msg.GetExtendResult()
}

func TestExtendOfTooManyHasOneAnswer(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	w := s.open(s.retry, &retryv1.Open{Queues: []string{"q"}})
	for _, n := range []int{0, 1001, 200_000} {
		tokens := make([]string, n)
		got := w.extend(13*time.Hour, tokens...)
		if r := got.GetResults(); len(r) != 1 || r[0].GetLeaseToken() != "" || len(r[0].GetError().GetViolations()) != 2 || proto.Size(got) > 1000 {
			t.Errorf("%d tokens: %d bytes, %d results", n, proto.Size(got), len(r))
		}
		_, err := s.retry.ExtendLease(s.ctx(), &retryv1.ExtendLeaseRequest{LeaseTokens: tokens})
		if got := tell(err); got.code != "InvalidArgument" || len(got.violations) != 1 {
			t.Errorf("%d tokens in a call: %+v", n, got)
		}
	}
	// All that go together are answered one by one, however many there have been.
	most := slices.Repeat([]string{"x"}, 1000)
	for range 20 {
		if r := w.extend(0, most...).GetResults(); len(r) != 1000 || r[999].GetLeaseToken() != "x" {
			t.Errorf("after that: %d results", len(r))
		}
	}
}

func TestLongTokensAreCut(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	s.policy("quick", time.Millisecond)
	w := s.open(s.retry, &retryv1.Open{Queues: []string{"q"}})
	s.fail("q", "x", "quick")
	good := w.attempt().GetLeaseToken()
	long := good + strings.Repeat("A", 400_000)
	refused := func(what, token string, err *retryv1.ReportError) {
		t.Helper()
		if len(token) > 500 || !strings.HasPrefix(token, good) || err.GetReason() != "INVALID_REQUEST" || err.GetViolations()[0].GetField() != "lease_token" {
			t.Errorf("%s: a token of %d bytes, %v", what, len(token), err)
		}
	}
	w.succeed(long)
	got := w.result()
	refused("success", got.GetLeaseToken(), got.GetError())
	w.outcome(&retryv1.Outcome{LeaseToken: long, Result: &retryv1.Outcome_Release{}})
	got = w.result()
	refused("release", got.GetLeaseToken(), got.GetError())
	r := w.extend(time.Hour, long, good).GetResults()
	refused("extend", r[0].GetLeaseToken(), r[0].GetError())
	if r[1].GetLeaseToken() != good || r[1].GetLeaseExpireTime() == nil {
		t.Errorf("the good one is not extended: %v", r[1])
	}
	resp, err := s.retry.ExtendLease(s.ctx(), &retryv1.ExtendLeaseRequest{LeaseTokens: []string{long}})
	if err != nil {
		t.Fatal(err)
	}
	refused("call", resp.GetResults()[0].GetLeaseToken(), resp.GetResults()[0].GetError())
	if _, err := s.retry.ReleaseLease(s.ctx(), &retryv1.ReleaseLeaseRequest{LeaseToken: long, Delay: durationpb.New(-1)}); len(tell(err).violations) != 2 {
		t.Errorf("released in a call: %+v", tell(err))
	}
	w.succeed(good)
	if got := w.result(); got.GetSuccess() == nil {
		t.Errorf("settled: %v", got)
	}
}

// TestMadeUpTokenLeavesTheStreamOpen has a token whose task's id is no text, and
// could not be told again.
func TestMadeUpTokenLeavesTheStreamOpen(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	w := s.open(s.retry, &retryv1.Open{Queues: []string{"q"}})
	token := scheduler.LeaseToken{Key: scheduler.TaskKey{Namespace: "default", ID: "\xff"}}.String()
	for range 2 {
		w.succeed(token)
		if got := w.result(); got.GetError().GetReason() != "INVALID_REQUEST" {
			t.Errorf("success: %v", got)
		}
		if r := w.extend(0, token).GetResults(); len(r) != 1 || r[0].GetError().GetReason() != "INVALID_REQUEST" {
			t.Errorf("extended: %v", r)
		}
	}
}

// TestInboxIsBoundedByBytes has outcomes wait behind one that is not settled:
// little of what is long is read, unless it can be cut.
func TestInboxIsBoundedByBytes(t *testing.T) {
	long := strings.Repeat("o", 400_000)
	success := func(token string, s *retryv1.Success) *retryv1.Outcome {
		return &retryv1.Outcome{LeaseToken: token, Result: &retryv1.Outcome_Success{Success: s}}
	}
	for name, tc := range map[string]struct {
		o           *retryv1.Outcome
		least, most int64
	}{
		"outcome": {success("x", &retryv1.Success{Outcome: long}), 1, 10},
		"token":   {success(long, nil), 100, 100},
		"message": {success("x", &retryv1.Success{Message: long}), 100, 100},
	} {
		t.Run(name, func(t *testing.T) { inboxIsBounded(t, tc.o, tc.least, tc.most) })
	}
}

// inboxIsBounded sends the outcome 100 times.
func inboxIsBounded(t *testing.T, o *retryv1.Outcome, least, most int64) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store := newHookedStore()
		s := setupOn(t, server.Config{}, store)
		s.policy("quick", time.Millisecond)
		s.fail("q", "x", "quick")
		w := s.open(s.retry, &retryv1.Open{Queues: []string{"q"}})
		a := w.attempt()
		stuck := make(chan struct{})
		hook := func(ctx context.Context, _ []scheduler.Change) error { <-stuck; return ctx.Err() }
		store.onCommit.Store(&hook)
		w.succeed(a.GetLeaseToken())
		const n = 100
		var sent atomic.Int64
		go func() {
			for range n {
				w.outcome(o)
				sent.Add(1)
			}
		}()
		synctest.Wait()
		if got := sent.Load(); got < least || got > most {
			t.Errorf("%d outcomes of 400 kB were read before one was settled, want %d to %d", got, least, most)
		}
		store.onCommit.Store(nil)
		close(stuck)
		if got := w.result(); got.GetSuccess() == nil {
			t.Errorf("settled: %v", got)
		}
		for range n {
			if got := w.result(); got.GetError().GetViolations()[0].GetField() != "lease_token" {
				t.Fatalf("settled: %v", got)
			}
		}
	})
}

func TestViolationsOfAPolicyAreBounded(t *testing.T) {
	t.Parallel()
	s := setup(t, server.Config{})
	p := fixed("p", time.Second)
	for range 120_000 {
		p.Rules = append(p.Rules, &retryv1.Rule{})
	}
	_, err := s.pol.CreatePolicy(s.ctx(), &retryv1.CreatePolicyRequest{Policy: p})
	if got := tell(err); status.Code(err) != codes.InvalidArgument || len(got.violations) != 101 || got.violations[100] != "" || proto.Size(status.Convert(err).Proto()) > 50_000 {
		t.Errorf("%d violations in %d bytes", len(got.violations), proto.Size(status.Convert(err).Proto()))
	}
}
