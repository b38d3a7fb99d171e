package client

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// Attempt is an attempt as it is handed out, with all that is needed to make it.
// Work is handed out at least once: after a crash, or a lease that expired, the
// same attempt is delivered again.
type Attempt struct {
	TaskID string
	Queue  string
	// Payload and Attributes are as given with the task. They must not be
	// changed.
	Payload    []byte
	Attributes map[string]string
	Group      string
	// Number is that of the attempt: 2 or more, since the first is the caller's
	// own.
	Number int
	// Delivery is how often this attempt was handed out, from 1.
	Delivery int
	// Generation is 1, and one more with every replay out of the dead letters.
	Generation int
	Trigger    Trigger
	DueTime    time.Time
	// FirstFailureTime is zero in a generation that has had no failure.
	FirstFailureTime time.Time
	// LastFailure is how the attempt before failed.
	LastFailure *Failure
	// RetriesLeft is how many retries the policy allows after this one.
	RetriesLeft int
	// LeaseToken settles, extends and releases this delivery. It is a secret of
	// its holder.
	LeaseToken string
	// LeaseExpireTime is when the lease ends unless it is extended, by the
	// server's clock.
	LeaseExpireTime time.Time
	// Traceparent and Tracestate say where the attempt belongs in the traces of
	// those who reported the task, as W3C Trace Context has it; both are empty when
	// no report came with a context. With [WithPropagator] the context of a
	// worker's handler has them already.
	Traceparent, Tracestate string
}

// Trigger says what led to an attempt.
type Trigger string

// The triggers.
const (
	TriggerRetry    Trigger = "RETRY"
	TriggerReplay   Trigger = "REPLAY"
	TriggerRetryNow Trigger = "RETRY_NOW"
	TriggerRelease  Trigger = "RELEASE"
)

// State is where a task stands.
type State string

// The states. The first four are live, the others ended.
const (
	StateScheduled State = "SCHEDULED"
	StateLeased    State = "LEASED"
	StateHeld      State = "HELD"
	StateDead      State = "DEAD"
	StateSucceeded State = "SUCCEEDED"
	StateCancelled State = "CANCELLED"
	StateDiscarded State = "DISCARDED"
)

// Next asks for one task's next attempt, or for any due attempt of a queue.
type Next struct {
	// TaskID or Queue is what to ask about: one of them.
	TaskID, Queue string
	// Wait is how long the call may wait for something to tell, at most 60 s.
	// Zero means that it answers at once.
	Wait time.Duration
	// Lease is for how long to lease a due attempt, from 1 s to 12 h. Zero means,
	// by task, that the call only tells, and by queue 30 s.
	Lease time.Duration
	// WorkerID names the holder of the lease. By task id, who asks again under
	// the same name while it holds the lease is given the same lease. Default:
	// a name for this call only.
	WorkerID string
}

// NextAttempt tells where a task stands, and holds the attempt that was leased.
type NextAttempt struct {
	// State is empty when a queue was asked and nothing was leased.
	State State
	// Attempt is the number of the attempt in turn.
	Attempt int
	// Time is when it falls due, DueIn from now by the server's clock. Zero when
	// none is to come.
	Time  time.Time
	DueIn time.Duration
	// Due means that the attempt may be made now.
	Due bool
	// LastDecision is that after the task's last failure, if any.
	LastDecision *Decision
	// Leased is the attempt that was leased to the caller, who reports with
	// [WithLeaseToken]. Nil when the call leased nothing.
	Leased *Attempt
}

// NextAttempt tells when an attempt falls due, waits for it, or takes it under a
// lease: the way for programs without a [Worker]. A queue with nothing due is
// no error.
//
// When an answer is lost on the way, a call by task id is repeated and gets the
// same lease. One by queue is not, and ends in an error: what it had been given
// is handed out again when its lease is over.
func (c *Client) NextAttempt(ctx context.Context, next Next) (*NextAttempt, error) {
	req := &retryv1.NextAttemptRequest{Namespace: c.namespace, WorkerId: next.WorkerID}
	switch {
	case next.TaskID != "":
		req.Target = &retryv1.NextAttemptRequest_TaskId{TaskId: next.TaskID}
	case next.Queue != "":
		req.Target = &retryv1.NextAttemptRequest_Queue{Queue: next.Queue}
	}
	if next.Wait != 0 {
		req.Wait = durationpb.New(next.Wait)
	}
	if next.Lease != 0 {
		req.LeaseDuration = durationpb.New(next.Lease)
	}
	if req.GetWorkerId() == "" {
		req.WorkerId = newWorkerID()
	}
	resp, err := c.retry.NextAttempt(ctx, req)
	if err != nil {
		return nil, err
	}
	return &NextAttempt{
		State:        State(enumName(resp.GetState(), "STATE_")),
		Attempt:      int(resp.GetAttempt()),
		Time:         timeOf(resp.GetTime()),
		DueIn:        resp.GetDueIn().AsDuration(),
		Due:          resp.GetDue(),
		LastDecision: decisionOf(resp.GetLastDecision()),
		Leased:       attemptOf(resp.GetLeased()),
	}, nil
}

// ExtendLease makes a lease last for d from now on, and gives back its new end.
// Zero means the duration that it was given with.
func (c *Client) ExtendLease(ctx context.Context, token string, d time.Duration) (time.Time, error) {
	req := &retryv1.ExtendLeaseRequest{Namespace: c.namespace, LeaseTokens: []string{token}}
	if d != 0 {
		req.LeaseDuration = durationpb.New(d)
	}
	resp, err := c.retry.ExtendLease(ctx, req)
	if err != nil {
		return time.Time{}, err
	}
	if len(resp.GetResults()) != 1 {
		return time.Time{}, errNoAnswer
	}
	r := resp.GetResults()[0]
	if r.GetLeaseExpireTime() == nil {
		return time.Time{}, itemError(r.GetError())
	}
	return timeOf(r.GetLeaseExpireTime()), nil
}

// ReleaseLease hands an attempt back unfinished. It falls due again after the
// delay, at once when that is zero, and burns no retry.
func (c *Client) ReleaseLease(ctx context.Context, token string, delay time.Duration) error {
	req := &retryv1.ReleaseLeaseRequest{Namespace: c.namespace, LeaseToken: token}
	if delay != 0 {
		req.Delay = durationpb.New(delay)
	}
	_, err := c.retry.ReleaseLease(ctx, req)
	return err
}

func attemptOf(a *retryv1.Attempt) *Attempt {
	if a == nil {
		return nil
	}
	return &Attempt{
		TaskID:           a.GetTaskId(),
		Queue:            a.GetQueue(),
		Payload:          a.GetPayload(),
		Attributes:       a.GetAttributes(),
		Group:            a.GetGroup(),
		Number:           int(a.GetAttempt()),
		Delivery:         int(a.GetDelivery()),
		Generation:       int(a.GetGeneration()),
		Trigger:          Trigger(enumName(a.GetTrigger(), "TRIGGER_")),
		DueTime:          timeOf(a.GetDueTime()),
		FirstFailureTime: timeOf(a.GetFirstFailureTime()),
		LastFailure:      failureOf(a.GetLastFailure()),
		RetriesLeft:      int(a.GetRetriesLeft()),
		LeaseToken:       a.GetLeaseToken(),
		LeaseExpireTime:  timeOf(a.GetLeaseExpireTime()),
		Traceparent:      a.GetTraceparent(),
		Tracestate:       a.GetTracestate(),
	}
}
