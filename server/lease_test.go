package server_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/server"
)

func byTask(id string) *retryv1.NextAttemptRequest {
	return &retryv1.NextAttemptRequest{Target: &retryv1.NextAttemptRequest_TaskId{TaskId: id}}
}

func byQueue() *retryv1.NextAttemptRequest {
	return &retryv1.NextAttemptRequest{Target: &retryv1.NextAttemptRequest_Queue{Queue: "q"}}
}

func (s *site) next(r *retryv1.NextAttemptRequest) *retryv1.NextAttemptResponse {
	s.t.Helper()
	resp, err := s.retry.NextAttempt(s.t.Context(), r)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp
}

func TestNextAttemptTellsAndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := setup(t, server.Config{})
		s.policy("minute", time.Minute)
		if _, err := s.retry.NextAttempt(s.ctx(), byTask("x")); tell(err).reason != "TASK_NOT_FOUND" {
			t.Errorf("an unknown task: %v", err)
		}
		first := s.fail("", "x", "minute")
		got := s.next(byTask("x"))
		if got.GetState() != retryv1.Task_STATE_SCHEDULED || got.GetAttempt() != 2 || got.GetDue() || got.GetDueIn().AsDuration() != time.Minute ||
			got.GetLastDecision().String() != first.GetDecision().String() || got.GetLeased() != nil {
			t.Errorf("told: %v", got)
		}
		start := time.Now()
		r := byTask("x")
		r.Wait = durationpb.New(30 * time.Second)
		if got = s.next(r); got.GetDue() || time.Since(start) != 30*time.Second {
			t.Errorf("after %s: %v", time.Since(start), got)
		}
		r.Wait = durationpb.New(60 * time.Second)
		if got = s.next(r); !got.GetDue() || time.Since(start) != time.Minute || got.GetTime() == nil || got.GetDueIn().AsDuration() != 0 {
			t.Errorf("after %s: %v", time.Since(start), got)
		}
		r.LeaseDuration, r.WorkerId = durationpb.New(time.Minute), "cron"
		leased := s.next(r).GetLeased()
		if leased.GetAttempt() != 2 || leased.GetDelivery() != 1 || leased.GetLeaseToken() == "" {
			t.Fatalf("leased: %v", leased)
		}
		if again := s.next(r).GetLeased(); again.GetLeaseToken() != leased.GetLeaseToken() {
			t.Errorf("asked again: %v", again)
		}
		r.WorkerId = "another"
		r.Wait = nil
		if got := s.next(r); got.GetLeased() != nil || got.GetState() != retryv1.Task_STATE_LEASED || got.GetDue() {
			t.Errorf("asked by another: %v", got)
		}
		if _, err := s.retry.ReportSuccess(s.ctx(), &retryv1.ReportSuccessRequest{LeaseToken: leased.GetLeaseToken()}); err != nil {
			t.Fatal(err)
		}
		got = s.next(byTask("x"))
		if got.GetState() != retryv1.Task_STATE_SUCCEEDED || got.GetTime() != nil || got.GetDueIn() != nil || got.GetLastDecision().GetNextAttempt() != 2 {
			t.Errorf("in the end: %v", got)
		}
	})
}

func TestNextAttemptOfAQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := setup(t, server.Config{})
		s.policy("minute", time.Minute)
		got := s.next(byQueue())
		if got.GetState() != 0 || got.GetDue() || got.GetTime() != nil || got.GetLeased() != nil {
			t.Errorf("an empty queue: %v", got)
		}
		s.fail("q", "x", "minute")
		got = s.next(byQueue())
		if got.GetDue() || got.GetLeased() != nil || got.GetDueIn().AsDuration() != time.Minute || got.GetLastDecision() != nil {
			t.Errorf("nothing due: %v", got)
		}
		pass(time.Second)
		r := byQueue()
		r.Wait = durationpb.New(time.Minute)
		start := time.Now()
		got = s.next(r)
		a := got.GetLeased()
		if a.GetTaskId() != "x" || time.Since(start) != 59*time.Second || !got.GetDue() || got.GetState() != retryv1.Task_STATE_LEASED || got.GetLastDecision() == nil {
			t.Fatalf("after %s: %v", time.Since(start), got)
		}
		if d := time.Until(a.GetLeaseExpireTime().AsTime()); d < 29*time.Second || d > 31*time.Second {
			t.Errorf("the lease lasts %s", d)
		}
	})
}

func TestUnaryCallsHaveADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newHookedStore()
		s := setupOn(t, server.Config{}, store)
		s.policy("quick", time.Millisecond)
		var left time.Duration
		hook := func(ctx context.Context) {
			end, _ := ctx.Deadline()
			left = time.Until(end).Round(time.Second)
		}
		store.afterClaim.Store(&hook)
		for i, tc := range []struct {
			ctx, wait, want time.Duration
		}{
			{0, 0, 5 * time.Second},
			{0, 20 * time.Second, 25 * time.Second},
			{0, 60 * time.Second, 65 * time.Second},
			{3 * time.Second, 20 * time.Second, 3 * time.Second},
			{time.Hour, 0, 65 * time.Second},
		} {
			id := string(rune('a' + i))
			s.fail("", id, "quick")
			pass(time.Second)
			ctx, cancel := context.WithCancel(t.Context())
			if tc.ctx > 0 {
				ctx, cancel = context.WithTimeout(t.Context(), tc.ctx)
			}
			r := byTask(id)
			r.Wait, r.LeaseDuration = durationpb.New(tc.wait), durationpb.New(time.Minute)
			_, err := s.retry.NextAttempt(ctx, r)
			cancel()
			if err != nil {
				t.Fatal(err)
			}
			if left != tc.want {
				t.Errorf("with %s from its caller and a wait of %s, a call has %s, want %s", tc.ctx, tc.wait, left, tc.want)
			}
		}
	})
}

func TestLostAnswerGivesTheAttemptBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newHookedStore()
		s := setupOn(t, server.Config{}, store)
		s.policy("quick", time.Millisecond)
		s.fail("q", "x", "quick")
		pass(time.Second)
		// The caller goes away between the claim and its answer.
		ctx, cancel := context.WithCancel(t.Context())
		gone := func(ctx context.Context) { cancel(); <-ctx.Done() }
		store.afterClaim.Store(&gone)
		r := byTask("x")
		r.LeaseDuration = durationpb.New(time.Hour)
		if _, err := s.retry.NextAttempt(ctx, r); status.Code(err) != codes.Canceled {
			t.Fatal(err)
		}
		store.afterClaim.Store(nil)
		synctest.Wait()
		got := s.next(byQueue()).GetLeased()
		if got.GetTaskId() != "x" || got.GetDelivery() != 1 {
			t.Errorf("the next one gets %v", got)
		}
	})
}

func TestExtendAndRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := setup(t, server.Config{})
		s.policy("quick", time.Millisecond)
		s.fail("q", "x", "quick")
		pass(time.Second)
		a := s.next(byQueue()).GetLeased()
		got, err := s.retry.ExtendLease(s.ctx(), &retryv1.ExtendLeaseRequest{LeaseTokens: []string{"nonsense", a.GetLeaseToken()}, LeaseDuration: durationpb.New(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		if r := got.GetResults(); len(r) != 2 || r[0].GetError().GetReason() != "INVALID_REQUEST" || time.Until(r[1].GetLeaseExpireTime().AsTime()) != time.Hour {
			t.Errorf("extended: %v", got)
		}
		if _, err := s.retry.ExtendLease(s.ctx(), &retryv1.ExtendLeaseRequest{}); tell(err).reason != "INVALID_REQUEST" {
			t.Errorf("no tokens: %v", err)
		}
		release := &retryv1.ReleaseLeaseRequest{LeaseToken: a.GetLeaseToken(), Delay: durationpb.New(time.Minute + 1)}
		for range 2 {
			if _, err := s.retry.ReleaseLease(s.ctx(), release); err != nil {
				t.Errorf("release: %v", err)
			}
		}
		if got := s.next(byTask("x")); got.GetState() != retryv1.Task_STATE_SCHEDULED || got.GetDueIn().AsDuration() != time.Minute+time.Millisecond {
			t.Errorf("released: %v", got)
		}
		pass(2 * time.Minute)
		if again := s.next(byQueue()).GetLeased(); again.GetDelivery() != 2 || again.GetAttempt() != 2 {
			t.Errorf("again: %v", again)
		}
		if _, err := s.retry.ReleaseLease(s.ctx(), release); tell(err).reason != "LEASE_LOST" {
			t.Errorf("an old token: %v", err)
		}
	})
}
