package ledger

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"

	"github.com/retryd/retryd/client"
	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// Sink takes what a worker is told. Its methods may be called by several goroutines
// at a time.
type Sink interface {
	HandedOut(Handout)
	Extended(Extension)
	Settled(Outcome)
	Tried(Trial)
}

// Handout is one delivery of an attempt, from the worker that got it.
type Handout struct {
	At time.Time
	// Via names the worker.
	Via                string
	Task, Token        string
	Attempt, Delivery  int
	Due, Claimed, Ends time.Time
}

// Extension is the new end of a lease.
type Extension struct {
	At    time.Time
	Token string
	Ends  time.Time
}

// Outcome is what became of what a worker made of an attempt.
type Outcome struct {
	At    time.Time
	Token string
	// Decision answers a failure; Succeeded and Released say that those were taken.
	Decision            *client.Decision
	Succeeded, Released bool
	Duplicate           bool
	// Refused is why it was not taken, empty when it was; LeaseLost says that this is
	// since the lease was no longer the worker's.
	Refused   string
	LeaseLost bool
}

// Trial is something that was tried under a lease of which the worker had to know
// that it was lost.
type Trial struct {
	Token string
	// What was tried, such as "success"; Taken says that the server took it, and
	// Answer what it said instead.
	What   string
	Taken  bool
	Answer string
}

// took says whether the worker was told that its outcome has been taken.
func (o *Outcome) took() bool { return o.Refused == "" && !o.Released }

// HandoutOf is the entry for an attempt that came now, under a lease of that length.
func HandoutOf(via string, a *client.Attempt, lease time.Duration) Handout {
	return Handout{
		At: time.Now(), Via: via, Task: a.TaskID, Token: a.LeaseToken, Attempt: a.Number, Delivery: a.Delivery,
		Due: a.DueTime, Claimed: a.LeaseExpireTime.Add(-lease), Ends: a.LeaseExpireTime,
	}
}

// OutcomeOf is the entry for what the server has made of an attempt now.
func OutcomeOf(s client.Settled) Outcome {
	o := Outcome{At: time.Now(), Token: s.Attempt.LeaseToken, Decision: s.Decision, Succeeded: s.Completion != nil, Released: s.Released}
	switch {
	case s.Decision != nil:
		o.Duplicate = s.Decision.Duplicate
	case s.Completion != nil:
		o.Duplicate = s.Completion.Duplicate
	}
	if s.Refused != nil {
		o.Refused, o.LeaseLost = s.Refused.Error(), errors.Is(s.Refused, client.ErrLeaseLost)
	}
	return o
}

// Tap is an interceptor that enters what workers are told of their extensions, which
// they keep to themselves otherwise.
func Tap(sink Sink) grpc.StreamClientInterceptor {
	return func(
		ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption,
	) (grpc.ClientStream, error) {
		s, err := streamer(ctx, desc, cc, method, opts...)
		return &tapped{s, sink}, err
	}
}

type tapped struct {
	grpc.ClientStream
	sink Sink
}

// RecvMsg implements [grpc.ClientStream].
func (s *tapped) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if got, ok := m.(*retryv1.SubscribeResponse); ok && err == nil {
		for _, res := range got.GetExtendResult().GetResults() {
			if end := res.GetLeaseExpireTime(); end != nil {
				s.sink.Extended(Extension{At: time.Now(), Token: res.GetLeaseToken(), Ends: end.AsTime()})
			}
		}
	}
	return err
}
