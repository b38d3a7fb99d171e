package server

import (
	"context"
	"errors"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/scheduler"
	"github.com/retryd/retryd/server/wire"
)

const (
	// batchTimeout bounds how long the outcomes that are settled together may take.
	batchTimeout = time.Second
	// batchRepeats is for how long what the store has not answered is tried again while
	// the others wait for their results, and their worker for its credit.
	batchRepeats = 250 * time.Millisecond
)

// settle carries out outcomes and extensions in the order in which they came,
// until the receiver has ended, or, once the stream is over, until nothing is
// left.
func (st *subscription) settle() error {
	batch := make([]*retryv1.SubscribeRequest, 0, maxBatch)
	for {
		batch = st.gather(batch[:0])
		if len(batch) == 0 {
			return nil
		}
		if connOf(st.ctx).wasExpelled() {
			// A client that was cut for what it keeps here is not to go on keeping it.
			return context.Canceled
		}
		st.settleBatch(batch)
		for _, msg := range batch {
			st.unsettled.free(heldBy(msg))
		}
		clear(batch)
	}
}

// gather waits for one message and takes with it what has queued up behind it:
// a store settles many at little more than the price of one. It adds nothing
// when there is no more to come.
func (st *subscription) gather(batch []*retryv1.SubscribeRequest) []*retryv1.SubscribeRequest {
	select {
	case msg, ok := <-st.inbox:
		if !ok {
			return batch
		}
		batch = append(batch, msg)
	case <-st.over:
	}
	for len(batch) < maxBatch {
		select {
		case msg, ok := <-st.inbox:
			if !ok {
				return batch
			}
			batch = append(batch, msg)
		default:
			return batch
		}
	}
	return batch
}

// settleBatch carries out messages: runs of reports together, everything else
// alone, since a release before a report must have been made before it.
func (st *subscription) settleBatch(batch []*retryv1.SubscribeRequest) {
	// One outcome that the store cannot take just now must not hold up all that
	// come behind it: a Cluster's other nodes may be well. Its worker is told to
	// send it again.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(st.ctx), batchTimeout)
	defer cancel()
	ctx = scheduler.WithRepeats(ctx, batchRepeats)
	for len(batch) > 0 {
		// No result is made for which there is no room. What is to be settled is settled
		// also for whom there is none any more.
		_ = st.unsent.wait(st.over)
		n := 0
		for n < len(batch) && isReport(batch[n]) {
			n++
		}
		if n > 0 {
			st.settleReports(ctx, batch[:n])
			batch = batch[n:]
			continue
		}
		switch m := batch[0].GetMessage().(type) {
		case *retryv1.SubscribeRequest_Outcome:
			st.release(ctx, m.Outcome)
		case *retryv1.SubscribeRequest_Extend:
			st.answer(st.extend(ctx, m.Extend))
		}
		batch = batch[1:]
	}
}

// isReport says whether the message is an outcome that is no release.
func isReport(msg *retryv1.SubscribeRequest) bool {
	o := msg.GetOutcome()
	return o != nil && o.GetRelease() == nil
}

func (st *subscription) settleReports(ctx context.Context, batch []*retryv1.SubscribeRequest) {
	b := newReportBatch(st.s.sched, len(batch))
	for _, msg := range batch {
		var c checker
		b.add(ctx, c.outcomeReport(st.namespace, msg.GetOutcome()), c.err())
	}
	for i, got := range b.take(ctx) {
		res := &retryv1.OutcomeResult{LeaseToken: cutToken(batch[i].GetOutcome().GetLeaseToken())}
		switch {
		case got.Err != nil:
			res.Result = &retryv1.OutcomeResult_Error{Error: st.s.failures.item(ctx, outOfTime(got.Err))}
		case got.Answer.Record.Success:
			res.Result = &retryv1.OutcomeResult_Success{Success: wire.SuccessAnswer(&got.Answer)}
		default:
			res.Result = &retryv1.OutcomeResult_Failure{Failure: wire.FailureAnswer(&got.Answer)}
		}
		st.answer(&retryv1.SubscribeResponse{Message: &retryv1.SubscribeResponse_OutcomeResult{OutcomeResult: res}})
	}
}

func (st *subscription) release(ctx context.Context, o *retryv1.Outcome) {
	res := &retryv1.OutcomeResult{
		LeaseToken: cutToken(o.GetLeaseToken()),
		Result:     &retryv1.OutcomeResult_Release{Release: &retryv1.ReleaseLeaseResponse{}},
	}
	if err := st.releaseLease(ctx, o); err != nil {
		res.Result = &retryv1.OutcomeResult_Error{Error: st.s.failures.item(ctx, outOfTime(err))}
	}
	st.answer(&retryv1.SubscribeResponse{Message: &retryv1.SubscribeResponse_OutcomeResult{OutcomeResult: res}})
}

func (st *subscription) releaseLease(ctx context.Context, o *retryv1.Outcome) error {
	var c checker
	c.token(st.namespace, o.GetLeaseToken())
	c.at = "release."
	delay := c.release(o.GetRelease().GetDelay())
	if err := c.err(); err != nil {
		return err
	}
	return st.s.sched.Release(ctx, st.namespace, o.GetLeaseToken(), delay)
}

// extend answers each token in its place. Where their number is at fault there is
// one answer, without a token.
func (st *subscription) extend(ctx context.Context, e *retryv1.Extend) *retryv1.SubscribeResponse {
	// Thousands of streams may ask for a thousand results each, which take memory before
	// anybody waits for them to be read.
	leave, err := connOf(st.ctx).enter(context.WithoutCancel(ctx), len(e.GetLeaseTokens()))
	if err == nil {
		defer leave()
	}
	var c checker
	tokens := e.GetLeaseTokens()
	d := c.extend(tokens, e.GetLeaseDuration())
	var got []scheduler.Extended
	if err := c.err(); err != nil {
		if !countable(tokens) {
			tokens = []string{""}
		}
		got = slices.Repeat([]scheduler.Extended{{Err: err}}, len(tokens))
	} else {
		got = st.s.extendLeases(ctx, st.namespace, tokens, d)
	}
	for i := range got {
		got[i].Err = outOfTime(got[i].Err)
	}
	return &retryv1.SubscribeResponse{Message: &retryv1.SubscribeResponse_ExtendResult{
		ExtendResult: &retryv1.ExtendResult{Results: st.s.leaseResults(ctx, tokens, got)},
	}}
}

// answer gives a result to the sender. Once the stream is over nobody waits for
// it.
func (st *subscription) answer(r *retryv1.SubscribeResponse) {
	if !st.unsent.wait(st.over) {
		return
	}
	st.unsent.take(proto.Size(r))
	select {
	case st.results <- r:
	case <-st.over:
	}
}

// outOfTime says of an error what the client may do about it: the time that was
// run out of was the server's own, so that it is the store's fault, and the
// message may be sent again.
func outOfTime(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return &scheduler.Error{Kind: scheduler.KindUnavailable, Cause: err}
	}
	return err
}
