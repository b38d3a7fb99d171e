package hostile_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
)

func streamAttacks() []attack {
	return []attack{
		{name: "12,000 streams of one queue", run: func(ctx context.Context, a *assailant) error {
			return a.manyStreams(ctx, func(int) string { return secret })
		}},
		{name: "12,000 streams of a queue each", run: func(ctx context.Context, a *assailant) error {
			return a.manyStreams(ctx, func(i int) string { return fmt.Sprintf("%s-%d", secret, i) })
		}},
		{name: "streams past the cap of a connection", run: pastTheCap},
		{name: "streams never opened", run: unopenedStreams},
		{name: "workers that read nothing", run: deafWorkers},
		{name: "600 streams that read no results", run: unreadResults, most: 200 * time.Millisecond},
		{name: "200 streams that observe 100 queues each", run: observers},
	}
}

// manyStreams subscribes over 12 connections with 1,000 streams each.
func (a *assailant) manyStreams(ctx context.Context, queue func(int) string) error {
	const conns, each = 12, 1000
	var open []*grpc.ClientConn
	defer func() { closeAll(open) }()
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range conns {
		conn, err := a.dial()
		if err != nil {
			return err
		}
		open = append(open, conn)
		wg.Go(func() {
			for j := range each {
				stream, err := retryv1.NewRetryServiceClient(conn).Subscribe(ctx)
				if err != nil {
					return
				}
				a.saw(1, "streams")
				open := &retryv1.Open{Queues: []string{queue(i*each + j)}, MaxInFlight: 1000, WorkerId: secret}
				// Recv tells what became of it.
				_ = stream.Send(&retryv1.SubscribeRequest{Message: &retryv1.SubscribeRequest_Open{Open: open}})
				wg.Go(func() {
					if _, err := stream.Recv(); !ended(ctx, err) {
						a.sawStatus(err)
					}
				})
			}
		})
	}
	hold(ctx)
	return nil
}

// pastTheCap opens more streams than a connection may have.
func pastTheCap(ctx context.Context, a *assailant) error {
	return a.openStreams(ctx, 4, 3000)
}

// openStreams begins streams on connections, as many on each.
func (a *assailant) openStreams(ctx context.Context, conns, each int) error {
	var open []*raw
	defer func() { closeAll(open) }()
	for range conns {
		c, _, err := a.raw(ctx)
		if err != nil {
			a.saw(1, "connections refused")
			continue
		}
		open = append(open, c)
		for range each {
			if err := c.open(retryv1.RetryService_Subscribe_FullMethodName); err != nil {
				break
			}
		}
	}
	hold(ctx)
	return nil
}

// unopenedStreams begins streams and never says what for.
func unopenedStreams(ctx context.Context, a *assailant) error {
	return a.openStreams(ctx, 10, 1000)
}

// deafTime is how long a stream may take no message, and some more.
const deafTime = 12 * time.Second

// deafWorkers take credit for far more work than a server may keep for them, and read none
// of it until they must have been cut.
func deafWorkers(_ context.Context, a *assailant) error {
	// The tasks alone may take a slow machine long.
	ctx, cancel := context.WithTimeout(context.Background(), 10*deafTime)
	defer cancel()
	conn, err := a.dial(grpc.WithInitialWindowSize(1<<16), grpc.WithInitialConnWindowSize(1<<20))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	service := retryv1.NewRetryServiceClient(conn)
	payload := []byte(strings.Repeat(secret, 100_000/len(secret)))
	for i := range 1500 {
		_, err := service.ReportFailure(ctx, &retryv1.ReportFailureRequest{
			Task:    &retryv1.TaskSpec{Id: fmt.Sprintf("deaf-%d-%d", i, time.Now().UnixNano()), Queue: "deaf", Policy: "soon", Payload: payload},
			Failure: &retryv1.Failure{Cause: &retryv1.Failure_Http{Http: &retryv1.HttpFailure{Status: 503}}},
		})
		if err != nil {
			return err
		}
	}
	var streams []retryv1.RetryService_SubscribeClient
	for range 3 {
		stream, err := service.Subscribe(ctx)
		if err != nil {
			return err
		}
		open := &retryv1.Open{Queues: []string{"deaf"}, MaxInFlight: 1000, LeaseDuration: durationpb.New(time.Minute)}
		if err := stream.Send(&retryv1.SubscribeRequest{Message: &retryv1.SubscribeRequest_Open{Open: open}}); err != nil {
			return err
		}
		streams = append(streams, stream)
	}
	<-time.After(deafTime)
	for _, stream := range streams {
		if err := a.cutOff(stream); err != nil {
			return err
		}
	}
	return nil
}

// cutOff reads what was sent before the server gave a stream up, and wants it to say why.
func (a *assailant) cutOff(stream retryv1.RetryService_SubscribeClient) error {
	for {
		_, err := stream.Recv()
		if err == nil {
			a.saw(1, "attempts sent in vain")
			continue
		}
		a.sawStatus(err)
		if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "nothing was read") {
			return fmt.Errorf("a worker that reads nothing was told: %w", err)
		}
		return nil
	}
}

// unreadResults asks for a thousand extensions at a time, and reads nothing of what
// becomes of them.
func unreadResults(ctx context.Context, a *assailant) error {
	tokens := make([]string, 1000)
	for i := range tokens {
		tokens[i] = strings.Repeat("x", 200)
	}
	extend := &retryv1.SubscribeRequest{Message: &retryv1.SubscribeRequest_Extend{Extend: &retryv1.Extend{LeaseTokens: tokens}}}
	return a.subscribe(ctx, 4, 150, &retryv1.Open{Queues: []string{secret}, MaxInFlight: 1}, func(stream retryv1.RetryService_SubscribeClient) {
		for stream.Send(extend) == nil {
			a.saw(1, "messages")
		}
	})
}

// observers look on at many queues each.
func observers(ctx context.Context, a *assailant) error {
	open := &retryv1.Open{Observe: true}
	for i := range 100 {
		open.Queues = append(open.Queues, fmt.Sprintf("%s-%d", secret, i))
	}
	return a.subscribe(ctx, 1, 200, open, func(stream retryv1.RetryService_SubscribeClient) {
		if _, err := stream.Recv(); !ended(ctx, err) {
			a.sawStatus(err)
		}
	})
}

// subscribe opens streams on connections, as many on each, and has use use each of them
// until ctx ends.
func (a *assailant) subscribe(ctx context.Context, conns, each int, open *retryv1.Open, use func(retryv1.RetryService_SubscribeClient)) error {
	var opened []*grpc.ClientConn
	defer func() { closeAll(opened) }()
	var wg sync.WaitGroup
	defer wg.Wait()
	for range conns {
		conn, err := a.dial(grpc.WithInitialWindowSize(1<<16), grpc.WithInitialConnWindowSize(1<<16))
		if err != nil {
			return err
		}
		opened = append(opened, conn)
		for range each {
			wg.Go(func() {
				stream, err := retryv1.NewRetryServiceClient(conn).Subscribe(ctx)
				if err != nil || stream.Send(&retryv1.SubscribeRequest{Message: &retryv1.SubscribeRequest_Open{Open: open}}) != nil {
					return
				}
				a.saw(1, "streams")
				use(stream)
			})
		}
	}
	hold(ctx)
	return nil
}
