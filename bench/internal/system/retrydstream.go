package system

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/retryd/retryd/bench/internal/work"
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// retrydStream takes work by a bare Subscribe stream, one goroutine to receive
// and one to send: what the server can do whatever its client takes.
type retrydStream struct {
	*retryd
}

func openRetrydStream(ctx context.Context, job *work.Job) (work.Driver, error) {
	r, err := newRetryd(ctx, job)
	if err != nil {
		return nil, err
	}
	return &retrydStream{r}, nil
}

// Consume implements [work.Driver].
func (r *retrydStream) Consume(ctx context.Context, inFlight int, handle work.Handler, settled func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := r.retry.Subscribe(ctx)
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	open := &retryv1.Open{Queues: []string{queue}, MaxInFlight: int32(inFlight)}
	if err := stream.Send(&retryv1.SubscribeRequest{Message: &retryv1.SubscribeRequest_Open{Open: open}}); err != nil {
		return fmt.Errorf("open the subscription: %w", err)
	}
	// The server has no more out than this, so the receiver never waits here.
	outcomes := make(chan *retryv1.Outcome, inFlight)
	var sender sync.WaitGroup
	sender.Go(func() { sendOutcomes(ctx, stream, outcomes) })
	err = receive(stream, handle, settled, outcomes)
	cancel()
	sender.Wait()
	if ended(err) {
		return nil
	}
	return err
}

// sendOutcomes sends until ctx ends or the stream is broken, and then the
// receiver gets the reason.
func sendOutcomes(ctx context.Context, stream retryv1.RetryService_SubscribeClient, outcomes <-chan *retryv1.Outcome) {
	for {
		select {
		case <-ctx.Done():
			return
		case o := <-outcomes:
			if stream.Send(&retryv1.SubscribeRequest{Message: &retryv1.SubscribeRequest_Outcome{Outcome: o}}) != nil {
				return
			}
		}
	}
}

func receive(stream retryv1.RetryService_SubscribeClient, handle work.Handler, settled func(), outcomes chan<- *retryv1.Outcome) error {
	for {
		resp, err := stream.Recv()
		if err != nil {
			return err
		}
		switch m := resp.GetMessage().(type) {
		case *retryv1.SubscribeResponse_Attempt:
			d, err := work.ParseDelivery(string(m.Attempt.GetPayload()))
			if err != nil {
				return err
			}
			d.Due = m.Attempt.GetDueTime().AsTime()
			o := &retryv1.Outcome{LeaseToken: m.Attempt.GetLeaseToken()}
			if handle(d) {
				o.Result = &retryv1.Outcome_Failure{Failure: &retryv1.Failure{
					Cause: &retryv1.Failure_Http{Http: &retryv1.HttpFailure{Status: 503}},
				}}
			} else {
				o.Result = &retryv1.Outcome_Success{Success: &retryv1.Success{}}
			}
			outcomes <- o
		case *retryv1.SubscribeResponse_OutcomeResult:
			if e := m.OutcomeResult.GetError(); e != nil {
				return fmt.Errorf("outcome refused: %s: %s", e.GetReason(), e.GetMessage())
			}
			if m.OutcomeResult.GetSuccess() != nil {
				settled()
			}
		}
	}
}

// ended says that a stream ended because its caller wanted it to.
func ended(err error) bool {
	return err == nil || errors.Is(err, io.EOF) || status.Code(err) == codes.Canceled
}
