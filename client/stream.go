package client

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

// steadyAfter is how long a stream must have lasted, if it brought nothing, for
// the next to be opened without a growing pause.
const steadyAfter = 10 * time.Second

// maxTokens is how many leases one message extends.
const maxTokens = 1000

type subscribeStream = grpc.BidiStreamingClient[retryv1.SubscribeRequest, retryv1.SubscribeResponse]

// subscribe keeps a stream open until ctx ends, each in place of the one that
// ended or was asked to leave. It gives up only on a subscription that the
// server calls invalid.
func (s *shift) subscribe(ctx, net context.Context) error {
	var pause backoff
	for ctx.Err() == nil {
		l := newLine()
		s.lines.Go(func() { s.lineEnded(l, s.stream(ctx, net, l)) })
		select {
		case <-ctx.Done():
			return nil
		case <-l.leaving:
		case <-l.ended:
		}
		steady, err := s.partingOf(l)
		e := asError(err)
		if e != nil && e.Code == codes.InvalidArgument {
			return e
		}
		if steady {
			pause = backoff{}
		}
		var asked time.Duration
		if e != nil {
			asked = e.RetryDelay
		}
		d := pause.next(asked)
		if err != nil {
			s.log.WarnContext(ctx, "subscription ended", "error", err, "retry_in_ms", d.Milliseconds())
		} else {
			s.log.InfoContext(ctx, "server asked to subscribe anew", "retry_in_ms", d.Milliseconds())
		}
		if !sleep(ctx, d) {
			return nil
		}
	}
	return nil
}

// partingOf tells how a line was that ended or is to be left.
func (s *shift) partingOf(l *line) (steady bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return l.heard || !l.beganAt.IsZero() && time.Since(l.beganAt) >= steadyAfter, l.err
}

// stream is one stream from Open to its end. Its own goroutine is the only one
// to send.
func (s *shift) stream(intake, net context.Context, l *line) error {
	ctx, cancel := context.WithCancel(net)
	defer cancel()
	defer context.AfterFunc(intake, func() {
		if !s.isAlive(l) {
			cancel() // it is not to connect any more
		}
	})()
	stream, err := s.w.c.retry.Subscribe(ctx)
	if err != nil {
		return err
	}
	if !s.lineBegan(l) {
		return nil
	}
	received := make(chan error, 1)
	go func() {
		received <- s.receive(stream, l)
		cancel()
	}()
	sent := s.send(ctx, stream, l)
	cancel()
	ended := <-received
	switch {
	case errors.Is(sent, errDone):
		return nil
	case errors.Is(sent, io.EOF), errors.Is(sent, context.Canceled):
		return ended // which says why
	default:
		return sent
	}
}

// errDone ends a stream on which nothing is left to say.
var errDone = errors.New("done")

func (s *shift) send(ctx context.Context, stream subscribeStream, l *line) error {
	if err := stream.Send(s.openMessage(l)); err != nil {
		return err
	}
	for {
		ld := s.take(l)
		for _, m := range ld.messages() {
			if err := stream.Send(m); err != nil {
				return err
			}
		}
		if ld.done {
			return errDone
		}
		if !l.rest(ctx, ld.next) {
			return ctx.Err()
		}
	}
}

// rest waits until the line is woken or next has come; false when ctx ended.
func (l *line) rest(ctx context.Context, next time.Time) bool {
	var due <-chan time.Time
	if !next.IsZero() {
		t := time.NewTimer(time.Until(next))
		defer t.Stop()
		due = t.C
	}
	select {
	case <-l.wake:
	case <-due:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

func (s *shift) openMessage(l *line) *retryv1.SubscribeRequest {
	s.mu.Lock()
	// Credit 0 would mean the default; Flow can say it.
	l.credit = max(1, s.wantCredit(l))
	credit := l.credit
	s.mu.Unlock()
	return &retryv1.SubscribeRequest{Message: &retryv1.SubscribeRequest_Open{Open: &retryv1.Open{
		Namespace:     s.w.c.namespace,
		Queues:        s.w.queues,
		MaxInFlight:   number(credit),
		LeaseDuration: durationpb.New(s.w.cfg.lease),
		WorkerId:      s.w.cfg.id,
	}}}
}

// messages are those of a load. Flow goes first: nothing that an outcome makes
// room for should be dealt to a worker that is leaving.
func (ld *load) messages() []*retryv1.SubscribeRequest {
	var ms []*retryv1.SubscribeRequest
	if ld.flow >= 0 {
		ms = append(ms, &retryv1.SubscribeRequest{Message: &retryv1.SubscribeRequest_Flow{
			Flow: &retryv1.Flow{MaxInFlight: number(ld.flow)},
		}})
	}
	for _, o := range ld.outcomes {
		ms = append(ms, &retryv1.SubscribeRequest{Message: &retryv1.SubscribeRequest_Outcome{Outcome: o}})
	}
	for tokens := range slices.Chunk(ld.extend, maxTokens) {
		ms = append(ms, &retryv1.SubscribeRequest{Message: &retryv1.SubscribeRequest_Extend{
			Extend: &retryv1.Extend{LeaseTokens: tokens},
		}})
	}
	return ms
}

func (s *shift) receive(stream subscribeStream, l *line) error {
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		switch x := m.GetMessage().(type) {
		case *retryv1.SubscribeResponse_Attempt:
			s.hear(l)
			s.deal(l, x.Attempt)
		case *retryv1.SubscribeResponse_OutcomeResult:
			s.hear(l)
			s.settled(x.OutcomeResult)
		case *retryv1.SubscribeResponse_ExtendResult:
			s.hear(l)
			s.extended(l, x.ExtendResult.GetResults())
		case *retryv1.SubscribeResponse_Drain:
			s.drained(l)
		}
	}
}

func (s *shift) hear(l *line) {
	s.mu.Lock()
	l.heard = true
	s.mu.Unlock()
}

// drained notes that the server is going away. The line carries what its jobs
// have to say as long as it lives, since the next may not be there yet.
func (s *shift) drained(l *line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !l.draining {
		l.draining = true
		close(l.leaving)
		l.look()
	}
}
