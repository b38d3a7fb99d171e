package server_test

import (
	"testing"
	"testing/synctest"
	"time"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/server"
)

// TestGetHookSchedule takes a webhook through the whole of GetHook's schedule,
// as its worker and its clock see it: 30 s, 2 min, 10 min, 1 h, each give or take
// a fifth, then the dead letters. The connection grows old meanwhile, and the
// worker opens its stream anew when it is told to.
func TestGetHookSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := setup(t, server.Config{})
		for _, file := range loadConformance(t) {
			for _, p := range file.Policies {
				if p.ID != "gethook" {
					continue
				}
				if _, err := s.pol.CreatePolicy(s.ctx(), &retryv1.CreatePolicyRequest{Policy: decode[retryv1.Policy](t, p.JSON)}); err != nil {
					t.Fatal(err)
				}
			}
		}
		failed := time.Now()
		last := s.fail("hooks", "hook-1", "gethook").GetDecision()
		w := s.open(s.retry, &retryv1.Open{Queues: []string{"hooks"}})
		streams := 1
		next := func() *retryv1.Attempt {
			for {
				msg, err := w.stream.Recv()
				switch {
				case err != nil:
					w = s.open(s.retry, &retryv1.Open{Queues: []string{"hooks"}})
					streams++
				case msg.GetDrain() != nil:
					_ = w.stream.CloseSend()
				case msg.GetAttempt() != nil:
					return msg.GetAttempt()
				}
			}
		}
		for i, delay := range []time.Duration{30 * time.Second, 2 * time.Minute, 10 * time.Minute, time.Hour} {
			a := next()
			now := time.Now()
			waited := now.Sub(failed)
			if waited < delay*8/10 || waited > delay*12/10 {
				t.Errorf("attempt %d came after %s, want %s give or take a fifth", a.GetAttempt(), waited, delay)
			}
			if late := now.Sub(a.GetDueTime().AsTime()); late < 0 || late > time.Second {
				t.Errorf("attempt %d came %s after it fell due", a.GetAttempt(), late)
			}
			if !a.GetDueTime().AsTime().Equal(last.GetNextAttemptTime().AsTime()) || int(a.GetAttempt()) != i+2 || int(a.GetRetriesLeft()) != 3-i {
				t.Errorf("attempt %v after the decision %v", a, last)
			}
			pass(200 * time.Millisecond)
			failed = time.Now()
			w.fail(a.GetLeaseToken(), httpFailure(500))
			last = w.result().GetFailure().GetDecision()
		}
		if last.GetAction() != retryv1.Action_ACTION_DEAD_LETTER || last.GetReason() != retryv1.Reason_REASON_RETRIES_EXHAUSTED {
			t.Errorf("in the end: %v", last)
		}
		if streams < 2 {
			t.Error("the stream outlived its connection")
		}
		w.cancel()
	})
}
