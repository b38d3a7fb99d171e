package server

import (
	"testing"
	"testing/synctest"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

func TestResultsAreBoundedByBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &subscription{
			results: make(chan *retryv1.SubscribeResponse, resultsSize),
			over:    make(chan struct{}), unsent: newBudget(nil, 1),
		}
		msg := &retryv1.SubscribeResponse{Message: &retryv1.SubscribeResponse_ExtendResult{ExtendResult: &retryv1.ExtendResult{
			Results: []*retryv1.LeaseResult{{LeaseToken: string(make([]byte, 300_000))}},
		}}}
		go func() {
			defer close(st.results)
			for range 20 {
				st.answer(msg)
			}
		}()
		synctest.Wait()
		if n := len(st.results); n != 4 {
			t.Errorf("%d results of 300 kB wait to be sent", n)
		}
		<-st.results
		st.unsent.free(300_000)
		synctest.Wait()
		if n := len(st.results); n != 4 {
			t.Errorf("%d results wait after one was sent", n)
		}
		// Nobody waits for them once the stream is over.
		close(st.over)
		synctest.Wait()
	})
}

func TestTrimKeepsNothingAlive(t *testing.T) {
	t.Parallel()
	long := string(make([]byte, 400_000))
	for _, msg := range []*retryv1.SubscribeRequest{
		{},
		{Message: &retryv1.SubscribeRequest_Outcome{}},
		{Message: &retryv1.SubscribeRequest_Extend{}},
		{Message: &retryv1.SubscribeRequest_Outcome{Outcome: &retryv1.Outcome{LeaseToken: long, Result: &retryv1.Outcome_Failure{}}}},
		{Message: &retryv1.SubscribeRequest_Outcome{Outcome: &retryv1.Outcome{Result: &retryv1.Outcome_Success{}}}},
		{Message: &retryv1.SubscribeRequest_Outcome{Outcome: &retryv1.Outcome{Result: &retryv1.Outcome_Success{Success: &retryv1.Success{Message: long}}}}},
		{Message: &retryv1.SubscribeRequest_Outcome{Outcome: &retryv1.Outcome{Result: &retryv1.Outcome_Failure{Failure: &retryv1.Failure{Message: long}}}}},
		{Message: &retryv1.SubscribeRequest_Extend{Extend: &retryv1.Extend{LeaseTokens: []string{long, "x"}}}},
	} {
		trim(msg)
		if n := heldBy(msg); n > 2000 {
			t.Errorf("%d bytes are kept of %v", n, msg.ProtoReflect().Descriptor().Name())
		}
	}
	if n := heldBy(&retryv1.SubscribeRequest{Message: &retryv1.SubscribeRequest_Extend{Extend: &retryv1.Extend{LeaseTokens: make([]string, 200_000)}}}); n < 16*200_000 {
		t.Errorf("200,000 empty tokens count as %d bytes", n)
	}
}
