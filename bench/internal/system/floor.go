package system

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	retryv1 "github.com/retryd/retryd/gen/retry/v1"
	"github.com/retryd/retryd/internal/heap"
)

// floor serves ReportFailure and nothing else.
type floor struct {
	retryv1.UnimplementedRetryServiceServer
	// keep is what it does with a report, nil for nothing.
	keep func(ctx context.Context, t *retryv1.TaskSpec, due time.Time) error
}

// floorDelay is when what is reported to a floor falls due.
const floorDelay = time.Minute

// ServeFloor serves one of the floors of gRPC on lis until ctx ends. redisAddr is
// where those keep tasks that do.
func ServeFloor(ctx context.Context, name, redisAddr string, lis net.Listener) error {
	defer heap.Tune(slog.Default())() // as the product does
	f := &floor{}
	switch name {
	case Echo:
	case GRPCAsynq:
		// A pool of the default size, which is 10 a CPU, would be the limit at 256
		// callers.
		client := redis.NewClient(&redis.Options{Addr: redisAddr, PoolSize: floorPool})
		defer func() { _ = client.Close() }()
		queue := asynq.NewClientFromRedisClient(client)
		f.keep = func(ctx context.Context, t *retryv1.TaskSpec, due time.Time) error {
			return enqueue(ctx, queue, t.GetId(), t.GetPayload(), due)
		}
	case GRPCScript:
		client := redis.NewClient(&redis.Options{Addr: redisAddr, PoolSize: floorPool})
		defer func() { _ = client.Close() }()
		f.keep = func(ctx context.Context, t *retryv1.TaskSpec, due time.Time) error {
			return putScript.Run(ctx, client, []string{scriptsDue}, t.GetId(), due.UnixMilli(), record(string(t.GetPayload()))).Err()
		}
	default:
		return fmt.Errorf("%q is no floor: it must be %s, %s or %s", name, Echo, GRPCAsynq, GRPCScript)
	}
	server := grpc.NewServer(floorOptions()...)
	retryv1.RegisterRetryServiceServer(server, f)
	stop := context.AfterFunc(ctx, server.Stop)
	defer stop()
	if err := server.Serve(lis); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve %s: %w", name, err)
	}
	return nil
}

const floorPool = 128

// floorOptions are those of the product's server.
func floorOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxConcurrentStreams(1000),
		grpc.MaxRecvMsgSize(512 << 10),
		grpc.MaxHeaderListSize(16 << 10),
		grpc.ConnectionTimeout(10 * time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: 30 * time.Second, Timeout: 10 * time.Second,
			MaxConnectionAge: 30 * time.Minute, MaxConnectionAgeGrace: 5 * time.Minute,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 15 * time.Second, PermitWithoutStream: true}),
		grpc.WaitForHandlers(true),
		grpc.NumStreamWorkers(256),
	}
}

// ReportFailure keeps a task and answers as the product would.
func (f *floor) ReportFailure(ctx context.Context, req *retryv1.ReportFailureRequest) (*retryv1.ReportFailureResponse, error) {
	due := time.Now().Add(floorDelay)
	if f.keep != nil {
		if err := f.keep(ctx, req.GetTask(), due); err != nil {
			return nil, err
		}
	}
	return &retryv1.ReportFailureResponse{
		TaskId: req.GetTask().GetId(),
		Decision: &retryv1.Decision{
			Action: retryv1.Action_ACTION_RETRY, Reason: retryv1.Reason_REASON_RETRY_SCHEDULED, Attempt: 1, NextAttempt: 2,
			NextAttemptTime: timestamppb.New(due), Delay: durationpb.New(floorDelay), RetriesLeft: 2,
			Policy: req.GetTask().GetPolicy(), PolicyRevision: 1,
			Explanation: []string{
				"fixed delay: 1m0s", "retry 1 of 3, attempt 2, is due at " + due.UTC().Format(time.RFC3339Nano) + ", in 1m0s",
			},
		},
	}, nil
}
